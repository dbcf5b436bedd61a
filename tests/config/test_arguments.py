"""Command lines are made from the rows."""

import argparse
import dataclasses

import pytest

from twamp.config.arguments import (
    WIDTH,
    Parser,
    RaisingParser,
    add_arguments,
    from_arguments,
    given_fields,
    spelled_out,
)
from twamp.config.ping import PingConfig
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Config, rows
from twamp.errors import ConfigError


def test_each_row_has_help_and_an_option_of_its_name() -> None:
    programs: list[type[Config]] = [ReflectorConfig, PingConfig]
    for config_class in programs:
        parser = argparse.ArgumentParser()
        add_arguments(parser, config_class)
        text = parser.format_help()
        for field, row in rows(config_class):
            assert f"--{field.replace('_', '-')}" in text
            assert row.help
        fields = {field.name for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
        assert fields - {field for field, _ in rows(config_class)} <= {"classes"}  # of files alone


def test_help_shows_default_and_range() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ReflectorConfig)
    text = " ".join(parser.format_help().split())
    assert "(default 18760-19960; 1-65535)" in text
    assert "(default 900; 1-3600)" in text


@pytest.mark.parametrize(
    ("arguments", "value"),
    [([], True), (["--t3-correction"], True), (["--no-t3-correction"], False)],
)
def test_a_flag_that_is_set_by_default_has_a_no_form(arguments: list[str], value: bool) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ReflectorConfig)
    assert from_arguments(ReflectorConfig, parser.parse_args(arguments)).t3_correction is value
    with pytest.raises(SystemExit):
        parser.parse_args(["--no-light"])


def program(kind: type[Parser] = Parser) -> Parser:
    return kind(
        "demo",
        usage="[OPTION]... HOST",
        description="A demonstration.",
        version="1.2.3",
        examples=[("demo --fail 'loss>1%' host", "ends with 3"), ("demo", "does nothing")],
        notes="100 % plain.",
    )


def test_help_has_usage_headings_and_examples() -> None:
    parser = program()
    add_arguments(parser, PingConfig)
    lines = parser.format_help().splitlines()
    assert lines[0] == "usage: demo [OPTION]... HOST"
    headings = [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "options",
        *dict.fromkeys(row.group for _, row in rows(PingConfig)),
        "examples",
    ]
    assert max(map(len, lines)) <= WIDTH


def test_examples_and_notes_end_the_help() -> None:
    text = program().format_help()
    assert text.endswith(
        "examples:\n  demo --fail 'loss>1%' host\n      ends with 3\n  demo\n      does nothing\n"
        "\n100 % plain.\n"
    )


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program().parse_args(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == "demo 1.2.3\n"


def test_a_wrong_command_line_ends_the_program_or_is_an_error() -> None:
    with pytest.raises(SystemExit):
        program().parse_args(["--nonsense"])
    with pytest.raises(ConfigError, match="--nonsense; demo --help lists the options"):
        program(RaisingParser).parse_args(["--nonsense"])


def test_an_option_that_stands_alone_never_takes_the_next_word() -> None:
    assert spelled_out(PingConfig, ["--plot", "host", "--plot=x.png", "--hwtstamp"]) == [
        *("--plot=terminal", "host", "--plot=x.png", "--hwtstamp=yes"),
    ]


def test_only_what_is_given_is_among_the_fields() -> None:
    parser = program()
    add_arguments(parser, PingConfig)
    options = parser.parse_args(["-c", "5", "--fail", "loss>1%", "--fail", "rtt.p99>5ms"])
    assert given_fields(PingConfig, options) == {"count": "5", "fail": ["loss>1%", "rtt.p99>5ms"]}
    config = from_arguments(PingConfig, options)
    assert (config.count, len(config.fail)) == (5, 2)
