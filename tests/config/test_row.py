"""Rows: what is declared for an option, and how its values are read, checked and written."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from twamp.config.readers import flag, one_of, seconds
from twamp.config.row import (
    Config,
    Given,
    default_text,
    field_of,
    key_of,
    option,
    rows,
    settle,
    toml_text,
    written,
)
from twamp.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample(Config):
    first_number: int = option(5, "a number", group="numbers", range="1-10", restart=True)
    wait: Decimal = option(2, "a time", range="0.000000001-3600", read=seconds)
    words: tuple[str, ...] = option(
        (), "words", group="words", read=one_of("a", "b"), entries=2, flags=("-w",)
    )
    loud: bool = option(False, "a flag", read=flag)
    name: str | None = option(None, "a word", read=one_of("a", "b"))

    def contradictions(self) -> Any:
        if self.loud and self.name:
            yield "name: not with loud"


ROWS = dict(rows(Sample))


def test_config_without_rows_checks_nothing() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Nothing(Config):
        plain: int = 5

    assert rows(Nothing) == []
    assert Nothing(plain=-1).plain == -1


def test_a_group_goes_on_until_the_next() -> None:
    groups = [row.group for row in ROWS.values()]
    assert groups == ["numbers", "numbers", "words", "words", "words"]


def test_limits_are_range_and_entries_in_words() -> None:
    limits = [row.limits for row in ROWS.values()]
    assert limits == ["1-10", "0.000000001-3600", "at most 2 values", "", ""]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"first_number": 11}, "first-number: 11 is out of range; it goes from 1 to 10"),
        ({"first_number": "x"}, "first-number: 'x' is not a whole number from 1 to 10"),
        ({"wait": 0}, "wait: 0 is out of range; it goes from 0.000000001 to 3600"),
        ({"words": "abc"}, "words: 'abc' is not one of a, b"),
        ({"words": ("a", "b", "a")}, "words: 3 values are too many; give at most 2"),
        ({"loud": 1}, "loud: 1 is not true or false"),
        ({"loud": True, "name": "a"}, "name: not with loud"),
    ],
)
def test_a_wrong_value_is_refused_by_key(values: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Sample(**values)
    assert str(caught.value).startswith(error)


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(ConfigError) as caught:
        Sample(name=1000 * "x")
    assert len(str(caught.value)) < 130


def test_values_are_written_as_they_are_read() -> None:
    config = Sample(words=("a", "b"), wait=Decimal("0.5"), name="a")
    texts = {
        field: (written(row, getattr(config, field)), toml_text(row, getattr(config, field)))
        for field, row in ROWS.items()
    }
    assert texts == {
        "first_number": ("5", "5"),
        "wait": ("0.5", "0.5"),
        "words": ("a, b", '["a", "b"]'),
        "loud": ("false", "false"),
        "name": ("a", '"a"'),
    }


def test_a_default_is_a_text_or_none() -> None:
    texts = [default_text(default) for default in (None, (), False, (1, 2), Decimal("0.1"), "x")]
    assert texts == ["", "", "", "1-2", "0.1", "x"]


def test_a_key_is_a_field_with_dashes() -> None:
    assert key_of("first_number") == "first-number"
    assert field_of(Sample, "first-number") == "first_number"
    with pytest.raises(ConfigError, match=r"'frist-number' is no option; did you mean 'first-num"):
        field_of(Sample, "frist-number")
    with pytest.raises(ConfigError, match="known are first-number, wait"):
        field_of(Sample, "zzz")


def test_all_wrong_values_are_told_with_their_origin() -> None:
    with pytest.raises(ConfigError) as caught:
        settle(
            Sample,
            {"first_number": Given(0, "file, line 1"), "loud": Given(3, "file, line 2")},
            {"loud": Given(4, "command line")},
            errors=["file, line 3: 'x' is no option"],
        )
    lines = str(caught.value).splitlines()
    assert [line.partition(" is ")[0] for line in lines] == [
        "file, line 3: 'x'",
        "file, line 1: first-number: 0",
        "command line: loud: 4",
    ]


def test_a_contradiction_blames_the_value_that_is_to_change() -> None:
    with pytest.raises(ConfigError) as caught:
        settle(Sample, {"name": Given("a", "here"), "loud": Given(True, "there")})
    assert str(caught.value) == "here: name: not with loud"
