"""Columns in Python: reordering and jitter against naive definitions."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions import Fate, a_measurement, any_fate, carry
from twamp.metrics.columns import interarrival_jitter, reordered
from twamp.metrics.measure import measure
from twamp.metrics.sample import delays
from twamp.metrics.values import Distribution

ns = st.integers(-(10**12), 10**12)


@given(st.lists(st.integers(0, 50), unique=True))
def test_reordered_is_having_been_overtaken(numbers: list[int]) -> None:
    overtaken = [
        number
        for place, number in enumerate(numbers)
        if any(other > number for other in numbers[:place])
    ]
    assert reordered(numbers) == len(overtaken)


def test_of_nothing_there_is_none() -> None:
    assert Distribution().standard_deviation is None
    assert interarrival_jitter([]) is interarrival_jitter([5]) is None


@given(st.lists(ns, min_size=2, max_size=200))
def test_jitter_is_rfc_3550s(transits: list[int]) -> None:
    """Its definition, J += (|D| - J) / 16, which its integers follow within a unit a packet at most."""
    exact = Fraction(0)
    for before, after in pairwise(transits):
        exact += (abs(after - before) - exact) / 16
    found = interarrival_jitter(transits)
    assert found is not None
    assert abs(found - exact) <= 2


def test_a_steady_jitter_is_reached() -> None:
    assert interarrival_jitter([0, 1000] * 500) in (999, 1000)  # it rounds down
    assert interarrival_jitter([7] * 500) == 0


@given(st.lists(any_fate, max_size=15))
def test_jitter_is_taken_in_the_order_of_arrival(fates: list[Fate]) -> None:
    samples, duplicates = carry(fates)
    found = measure(a_measurement(samples, duplicates))
    seen = [sample for sample in samples if sample.rank]
    there = sorted(seen, key=lambda sample: sample.t2)
    back = sorted(seen, key=lambda sample: sample.rank)
    if len({sample.t2 for sample in seen}) == len(seen):  # who came first is not in question
        assert found.send.jitter == interarrival_jitter(delays(one).send for one in there)
    assert found.reflect.jitter == interarrival_jitter(delays(one).reflect for one in back)
    assert found.round_trip.jitter == interarrival_jitter(delays(one).round_trip for one in back)
