"""Metrics: what follows from its figures, and those of several sessions together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions import (
    FREE_RUNNING,
    NEXT_ERA,
    Fate,
    a_measurement,
    a_sample,
    any_fate,
    carry,
    exact,
    metrics_of,
)
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import measure
from twamp.protocol.timestamps import ntp_from_unix_ns


@pytest.mark.parametrize("times_ns", [(9, 8, 8, 20), (1, 20, 20, 9)])
def test_negative_one_way_delay_tells_of_clocks_apart(times_ns: tuple[int, int, int, int]) -> None:
    assert metrics_of(a_sample(0, times_ns)).clocks_apart
    assert not metrics_of(a_sample(0, (0, 1, 1, 2))).clocks_apart


def test_first_and_last_are_right_across_an_era() -> None:
    found = metrics_of(
        a_sample(0, (0, 1, 2, 3), base_ns=NEXT_ERA - 2), a_sample(1, (5, 6, 7, 8), base_ns=NEXT_ERA)
    )
    assert (found.first, found.last) == (
        ntp_from_unix_ns(NEXT_ERA - 2),
        ntp_from_unix_ns(NEXT_ERA + 5),
    )


@given(st.lists(st.lists(any_fate, max_size=8), min_size=2, max_size=3))
def test_sessions_together_are_the_sum_of_each(fates_of_each: list[list[Fate]]) -> None:
    measurements = [a_measurement(*carry(fates), drops={"short": 1}) for fates in fates_of_each]
    together = measure(*measurements)
    each = [measure(measurement) for measurement in measurements]
    for count in ("sent", "received", "lost", "send_duplicates", "reflect_duplicates"):
        assert getattr(together, count) == sum(getattr(one, count) for one in each)
    for place in range(4):
        assert together.loss[place] == sum(one.loss[place] for one in each)
    for place in range(3):
        assert together.reordering[place] == sum(one.reordering[place] for one in each)
    for values in ("delay", "pdv", "ipdv"):
        assert exact(getattr(together.send, values)) == sorted(
            value for one in each for value in exact(getattr(one.send, values))
        )
    assert together.drops == {"short": len(measurements)}


def test_one_session_is_all_sessions_together() -> None:
    metrics = measure(a_measurement([a_sample(0)]))
    assert Metrics.together([metrics]) is metrics


def test_clocks_are_synchronised_together_when_each_is_that_was_heard_of() -> None:
    silent = measure(a_measurement([a_sample(0)]))
    free = measure(a_measurement([a_sample(0, (0, 1, 2, 3), sender_error_estimate=FREE_RUNNING)]))
    kept = measure(a_measurement([a_sample(0, (0, 1, 2, 3))]))
    assert Metrics.together([silent, kept]).synchronized
    assert not Metrics.together([silent, silent]).synchronized
    assert not Metrics.together([free, kept]).sender_synchronized
    assert Metrics.together([free, kept]).reflector_synchronized
