"""NTP and PTP time across eras, intervals, and the Error Estimate; C beside Python."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.vectors import VECTORS
from twamp._native import lib
from twamp.protocol.timestamps import (
    NS,
    ErrorEstimate,
    difference_ns,
    interval_from_ns,
    ns_from_interval,
    ntp_from_unix_ns,
    ptp_from_unix_ns,
    unix_ns_from_ntp,
    unix_ns_from_ptp,
)

SCALARS = VECTORS["scalars"]
ERA_1 = 2_085_978_496 * NS  # 2036-02-07T06:28:16Z
# Any time that a program of ours may meet: 1970 to 2106, in ns.
TIMES = st.integers(0, 136 * 31_556_952 * NS)


@pytest.mark.parametrize("vector", SCALARS["ntp"], ids=lambda v: v["wire"])
def test_ntp_vectors(vector: dict[str, Any]) -> None:
    unix_ns = vector["unix"] * NS + vector["nsec"]
    wire = int(vector["wire"], 16)
    assert ntp_from_unix_ns(unix_ns) == wire
    assert lib.tw_clock_ntp(unix_ns) == wire
    assert unix_ns_from_ntp(wire, near_unix_ns=unix_ns) == unix_ns


@pytest.mark.parametrize("vector", SCALARS["ptp"], ids=lambda v: v["wire"])
def test_ptp_vectors(vector: dict[str, Any]) -> None:
    unix_ns = vector["unix"] * NS + vector["nsec"]
    wire = int(vector["wire"], 16)
    assert ptp_from_unix_ns(unix_ns) == wire
    assert unix_ns_from_ptp(wire, near_unix_ns=unix_ns) == unix_ns


@given(TIMES)
def test_ntp_there_and_back_is_exact(unix_ns: int) -> None:
    assert unix_ns_from_ntp(ntp_from_unix_ns(unix_ns), near_unix_ns=unix_ns) == unix_ns


@given(TIMES)
def test_c_and_python_agree_on_ntp(unix_ns: int) -> None:
    assert lib.tw_clock_ntp(unix_ns) == ntp_from_unix_ns(unix_ns)


@given(TIMES, st.integers(-60 * 31_556_952 * NS, 60 * 31_556_952 * NS))
def test_the_era_is_the_one_nearest_to_the_hint(unix_ns: int, offset: int) -> None:
    assert unix_ns_from_ntp(ntp_from_unix_ns(unix_ns), near_unix_ns=unix_ns + offset) == unix_ns
    assert unix_ns_from_ptp(ptp_from_unix_ns(unix_ns), near_unix_ns=unix_ns + offset) == unix_ns


@pytest.mark.parametrize("offset", [(2**31 - 1) * NS, (1 - 2**31) * NS], ids=["later", "earlier"])
def test_a_hint_may_be_off_by_just_under_half_an_era(offset: int) -> None:
    for unix_ns in (1_500_000_000 * NS, ERA_1):
        assert unix_ns_from_ntp(ntp_from_unix_ns(unix_ns), near_unix_ns=unix_ns + offset) == unix_ns
        assert unix_ns_from_ptp(ptp_from_unix_ns(unix_ns), near_unix_ns=unix_ns + offset) == unix_ns


def test_without_a_hint_times_of_this_century_on_both_sides_of_2036_are_right() -> None:
    for unix_ns in (1_500_000_000 * NS, ERA_1 - 1, ERA_1, 3_000_000_000 * NS):
        assert unix_ns_from_ntp(ntp_from_unix_ns(unix_ns)) == unix_ns


@pytest.mark.parametrize(
    ("later", "earlier", "ns"),
    [
        (1 << 32, 0, NS),
        (0, 1 << 32, -NS),
        (1 << 31, 0, NS // 2),
        (2, 0, 0),  # 0.47 ns, and so on: to the nearest
        (3, 0, 1),
        (0, 2, 0),
        (0, 3, -1),
        (1, (1 << 64) - 2, 1),  # across the end of an era
        ((1 << 64) - 2, 1, -1),
        ((1 << 63) - (1 << 32), 0, ((1 << 31) - 1) * NS),
        (1 << 63, 0, -(1 << 31) * NS),  # 68 years: now the other one is the later
    ],
)
def test_known_differences(later: int, earlier: int, ns: int) -> None:
    assert difference_ns(later, earlier) == ns


@given(TIMES, st.integers(-(10**15), 10**15))
def test_differences_are_right_across_eras(unix_ns: int, delta: int) -> None:
    earlier = ntp_from_unix_ns(unix_ns)
    assert abs(difference_ns(ntp_from_unix_ns(unix_ns + delta), earlier) - delta) <= 1


def test_tai_offset_is_taken_out() -> None:
    assert unix_ns_from_ptp(ptp_from_unix_ns(ERA_1, 37), ERA_1, 37) == ERA_1


@pytest.mark.parametrize("vector", SCALARS["timeout"], ids=lambda v: v["wire"])
def test_interval_vectors(vector: dict[str, Any]) -> None:
    ns = int(vector["seconds"] * NS)
    assert interval_from_ns(ns) == int(vector["wire"], 16)
    assert ns_from_interval(int(vector["wire"], 16)) == ns


def test_intervals_are_to_the_nearest_and_end_at_the_longest() -> None:
    assert [interval_from_ns(ns) for ns in (0, 1, 2, 3)] == [0, 4, 9, 13]  # times 4.29
    longest = (1 << 64) - 1
    assert interval_from_ns(10**30) == interval_from_ns(ns_from_interval(longest) + 1) == longest


@given(st.integers(0, 2**62))
def test_intervals_there_and_back(ns: int) -> None:
    assert ns_from_interval(interval_from_ns(ns)) == min(ns, ns_from_interval(2**64 - 1))


@pytest.mark.parametrize("vector", SCALARS["error_estimate"], ids=lambda v: v["wire"])
def test_error_estimate_vectors(vector: dict[str, Any]) -> None:
    estimate = ErrorEstimate.from_int(int(vector["wire"], 16))
    expected = ErrorEstimate(bool(vector["s"]), bool(vector["z"]), vector["scale"], vector["mult"])
    assert estimate == expected
    assert int(estimate) == int(vector["wire"], 16)
    assert 0 <= estimate.error_ns - vector["seconds"] * NS < max(1, vector["seconds"] * 1e-6)


@given(st.integers(0, 0xFFFF))
def test_error_estimates_there_and_back(value: int) -> None:
    assert int(ErrorEstimate.from_int(value)) == value


ERRORS = st.integers(0, 64).flatmap(lambda bits: st.integers(0, 2**bits))


@given(ERRORS, st.booleans())
def test_the_estimate_covers_the_error_closely_and_is_never_zero(error: int, sync: bool) -> None:
    estimate = ErrorEstimate.covering(error, synchronized=sync)
    assert 1 <= estimate.multiplier <= 255
    assert estimate.synchronized is sync
    largest = ErrorEstimate(sync, False, 63, 255).error_ns
    assert estimate.error_ns >= min(error, largest)
    assert estimate.error_ns <= error + error // 127 + 2


LARGEST = ErrorEstimate(False, False, 63, 255)


@st.composite
def errors_at_the_edges(draw: st.DrawFn) -> int:
    """Errors where one estimate ends to do and the next begins."""
    scale, multiplier = draw(st.integers(0, 63)), draw(st.integers(1, 256))
    return max(0, ((multiplier << scale) * NS >> 32) + draw(st.integers(-2, 2)))


@given(errors_at_the_edges() | ERRORS)
@example(LARGEST.error_ns - 1)
@example(LARGEST.error_ns + 1)
@example((300 << 63) * NS >> 32)
@example(1 << 100)
def test_the_estimate_is_the_smallest_of_all_that_cover_the_error(error: int) -> None:
    found = ErrorEstimate.covering(error, synchronized=False)
    enough = [
        (multiplier << scale, scale)
        for scale in range(64)
        if 0 < (multiplier := max(1, -(-(error << 32) // (NS << scale)))) <= 255
    ]
    units = min(enough, default=(255 << 63, 63))[0]
    assert found.multiplier << found.scale == units
    assert 1 <= found.multiplier <= 255
    assert 0 <= found.scale <= 63


@given(st.integers(0, 63), st.integers(1, 255))
def test_no_smaller_estimate_would_do(scale: int, multiplier: int) -> None:
    """What covers an error that fits exactly is no larger than that."""
    exact = ErrorEstimate(True, False, scale, multiplier)
    error = (multiplier << scale) * NS >> 32  # rounded down: never above the exact value
    assert ErrorEstimate.covering(error, synchronized=True).error_ns <= exact.error_ns


@given(st.integers(0, 2**63 - 1), st.booleans())
def test_c_and_python_agree_on_error_estimates(error: int, sync: bool) -> None:
    expected = int(ErrorEstimate.covering(error, synchronized=sync))
    assert lib.tw_clock_encode_error(error, sync) == expected
