"""The table of limits in twampd(8): each row is the default of its option, and a client meets it."""

import re

import pytest

from tests.documents.blocks import MAN
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import field_of, rows
from twamp.control.requests import MAXIMUM_PADDING, MAXIMUM_PADDING_SECURED

PAGE = (MAN / "twampd.8").read_text().replace("\\-", "-")
ROWS = re.findall(r"^(.+)\|(no limit|\d+)\|([a-z-]+)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("what", "how_much", "option"), ROWS, ids=lambda text: text)
def test_a_row_is_the_default_of_its_option(what: str, how_much: str, option: str) -> None:
    default = getattr(ReflectorConfig(), field_of(ReflectorConfig, option))
    assert default == (0 if how_much == "no limit" else int(how_much)), what


def test_every_limit_has_a_row() -> None:
    limits = {
        field.replace("_", "-")
        for field, _ in rows(ReflectorConfig)
        if field.startswith("maximum_")
        or field.endswith(("_rate_limit", "_inactivity_timeout"))
        or field in ("rate_limit", "handshake_timeout")
    }
    assert limits == {option for _, _, option in ROWS}


def test_the_padding_is_that_of_the_modes() -> None:
    assert f"up to {MAXIMUM_PADDING} octets, or {MAXIMUM_PADDING_SECURED} in" in PAGE
