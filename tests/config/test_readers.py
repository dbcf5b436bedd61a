"""Readers: every spelling of a value gives the same value, anything else is refused."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twamp.config.readers import (
    DSCP_NAMES,
    dscp,
    interface_name,
    port_range,
    seconds,
    threshold,
    user_name,
)


def test_dscp_names_are_the_registered_code_points() -> None:
    # IANA's registry of DSCP values: class selectors, AF11..AF43, EF, VOICE-ADMIT, LE.
    known = {"CS0": 0, "CS7": 56, "AF11": 10, "AF23": 22, "AF43": 38, "EF": 46, "VA": 44, "LE": 1}
    assert known.items() <= DSCP_NAMES.items()
    # and perfSONAR's further names of CS0
    also = {"DF": 0, "DEFAULT": 0, "NONE": 0}
    assert also.items() <= DSCP_NAMES.items()
    assert len(DSCP_NAMES) == 8 + 12 + 4 + len(also)
    assert all(dscp(name.lower()) == value for name, value in DSCP_NAMES.items())


@given(st.integers(0, 63))
def test_dscp_numbers_read_alike_in_every_notation(value: int) -> None:
    assert dscp(value) == dscp(str(value)) == dscp(hex(value)) == value


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_port_range_reads_what_is_written(low: int, high: int) -> None:
    assert port_range(f"{low}-{high}") == port_range([low, high]) == (low, high)


@pytest.mark.parametrize(
    ("value", "number"), [("0.1", "0.1"), (2, "2"), (0.1, "0.1"), ("1e-3", "0.001")]
)
def test_seconds_are_exact(value: object, number: str) -> None:
    assert seconds(value) == Decimal(number)


@pytest.mark.parametrize("value", ["nan", "inf", "", "two", True, None, "1e400"])
def test_seconds_refuses_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        seconds(value)


@pytest.mark.parametrize("read", [interface_name, user_name])
def test_octets_that_are_no_text_are_no_name(read: Callable[[object], str]) -> None:
    with pytest.raises(ValueError, match="name"):
        read("\udcff")


@pytest.mark.parametrize(
    ("text", "share"),
    [("loss>0.05", "loss>5%"), ("duplicates.forward >= .5", "duplicates.forward>=50%")],
)
def test_a_fraction_of_a_packet_is_a_share_without_its_sign(text: str, share: str) -> None:
    with pytest.raises(ValueError, match=f"write {share} for a share, or a whole number"):
        threshold(text)


@pytest.mark.parametrize("text", ["loss>5", "loss>5.0", "loss>0.5%", "rtt.max>0.5ms"])
def test_other_thresholds_are_as_they_are_written(text: str) -> None:
    assert str(threshold(text)) == text
