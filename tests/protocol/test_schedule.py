"""Schedules: what ``-i`` means, and the send times that come of it."""

from array import array
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from twamp.errors import ConfigError
from twamp.protocol.schedule import Slot, make_schedule, parse_intervals


def exponential(seed: int) -> Callable[[], float]:
    """Draws that come again from the same seed."""
    return partial(Random(seed).expovariate, 1.0)


@pytest.mark.parametrize(
    ("text", "intervals"),
    [
        ("0.1e", [(100_000_000, True)]),
        ("0.1", [(100_000_000, True)]),
        ("1f", [(1_000_000_000, False)]),
        ("0f", [(0, False)]),
        (".000001f", [(1_000, False)]),
        ("1.e", [(1_000_000_000, True)]),
        ("0.000000001f", [(1, False)]),
        ("1f,0.05e, 2", [(10**9, False), (50_000_000, True), (2 * 10**9, True)]),
        ("86400f", [(86400 * 10**9, False)]),
    ],
)
def test_intervals_are_read_as_twping_reads_them(
    text: str, intervals: list[tuple[int, bool]]
) -> None:
    assert list(parse_intervals(text)) == intervals


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "1f,",
        "f",
        "-1f",
        "+1f",
        "1g",
        "1e+",
        "1ee5",
        "0x1f",
        "nan",
        "inf",
        "1_0f",
        "１f",
    ],
)
def test_an_interval_of_another_form_is_refused_with_an_example(text: str) -> None:
    form = r"of the form VALUE\[e\|f\].*for example 0\.1e,2f"
    with pytest.raises(ConfigError, match=form) as caught:
        parse_intervals(text)
    assert repr(text) in str(caught.value)


def test_an_interval_of_more_than_a_day_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'86400\.1f' is more than 86400 seconds"):
        parse_intervals("1f,86400.1f")


def test_a_fixed_schedule_waits_before_each_packet() -> None:
    schedule = make_schedule(parse_intervals("0.5f"), 3, exponential(1))
    assert schedule == array("Q", [500_000_000, 1_000_000_000, 1_500_000_000])


def test_slots_are_cycled() -> None:
    schedule = make_schedule(parse_intervals("1f,0f,0.25f"), 7, exponential(1))
    assert [due_ns / 10**9 for due_ns in schedule] == [1, 1, 1.25, 2.25, 2.25, 2.5, 3.5]


def test_exponential_waits_have_their_mean_and_their_spread() -> None:
    schedule = make_schedule([Slot(1_000_000, True)], 20_000, exponential(7))
    waits = [after - before for before, after in zip([0, *schedule], schedule, strict=False)]
    mean = sum(waits) / len(waits)
    deviation = (sum((wait - mean) ** 2 for wait in waits) / len(waits)) ** 0.5
    # Five standard errors of the mean of 20,000 exponential draws are 3.5 %.
    assert mean == pytest.approx(1_000_000, rel=0.035)
    assert deviation == pytest.approx(1_000_000, rel=0.1)
    assert min(waits) >= 0


def test_a_schedule_comes_again_from_the_same_seed_only() -> None:
    intervals = parse_intervals("0.1e,0.1f")
    again = make_schedule(intervals, 50, exponential(3))
    assert make_schedule(intervals, 50, exponential(3)) == again
    assert make_schedule(intervals, 50, exponential(4)) != again


def test_an_exponential_wait_is_so_many_means() -> None:
    draws = iter([0.5, 2.0, 0.0])
    schedule = make_schedule(parse_intervals("1e,0.25f"), 5, lambda: next(draws))
    assert [due_ns / 10**9 for due_ns in schedule] == [0.5, 0.75, 2.75, 3.0, 3.0]


def test_a_draw_has_an_end() -> None:
    assert make_schedule([Slot(1000, True)], 1, lambda: 36.7)[0] == 30_000


def test_no_packets_make_an_empty_schedule() -> None:
    assert make_schedule(parse_intervals("1f"), 0, exponential(1)) == array("Q")
