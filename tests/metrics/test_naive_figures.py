"""Standard deviation, RTP's jitter, markings, errors and lateness: against naive definitions."""

import math
import statistics
from collections import Counter
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.test_measure import MS, Fate, a_measurement, a_sample, any_fate, carry
from twamp.metrics.measure import interarrival_jitter, measure
from twamp.metrics.sample import delays
from twamp.metrics.values import Distribution
from twamp.report.text import delay_table

ns = st.integers(-(10**12), 10**12)


@given(st.lists(ns, min_size=1, max_size=50))
def test_standard_deviation_is_that_of_the_values(values: list[int]) -> None:
    found = Distribution.of(values).standard_deviation
    assert found is not None
    exact = statistics.pvariance(map(Fraction, values))
    assert abs(found - math.sqrt(exact)) <= 1


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


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(-5, 10**9)), max_size=20))
def test_markings_and_lateness_are_counted(packets: list[tuple[int, int]]) -> None:
    samples = [
        a_sample(number, (number * MS, number * MS + 1, number * MS + 2, number * MS + 3))._replace(
            tos=tos, lateness_ns=lateness
        )
        for number, (tos, lateness) in enumerate(packets)
    ]
    found = measure(a_measurement(samples))
    assert found.reflect_dscp == Counter(tos // 4 for tos, _ in packets)
    assert found.reflect_ecn == Counter(tos % 4 for tos, _ in packets)
    assert found.lateness.values == tuple(sorted(lateness for _, lateness in packets))


def test_the_worst_error_of_each_end_is_told() -> None:
    """S, scale 0..63, multiplier (RFC 4656 section 4.1.2): 2^-32 s times 2^scale."""
    samples = [
        a_sample(number, (number * MS, number * MS + 1, number * MS + 2, number * MS + 3))._replace(
            sender_error_estimate=0x8000 | sender, reflector_error_estimate=0x8000 | reflector
        )
        for number, (sender, reflector) in enumerate([(0x1401, 0x0001), (0x1001, 0x1E01)])
    ]
    found = measure(a_measurement(samples))
    assert found.sender_error_ns == math.ceil(2 ** (0x14 - 32) * 1e9)
    assert found.reflector_error_ns == math.ceil(2 ** (0x1E - 32) * 1e9)
    assert measure(a_measurement([a_sample(0)])).sender_error_ns is None


# ---- the table


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=20))
def test_the_table_is_aligned_and_in_a_unit_that_fits(values: list[int]) -> None:
    samples = [
        a_sample(
            number, (at := number * MS, at + value, at + value + 5, at + value + 5 + value // 2)
        )
        for number, value in enumerate(values)
    ]
    metrics = measure(a_measurement(samples, loss_timeout_ns=10**12))
    head, *rows = delay_table(metrics)
    assert len(rows) == 10
    assert all(len(row) <= len(head) for row in rows)
    assert all(row[18 + 10 * n] == " " for row in rows for n in range((len(row) - 18) // 10))
    assert all(row == row.rstrip() for row in rows)
    unit = {"ns": 1, "us": 1000, "ms": 10**6, "s": 10**9}[head.split()[2]]
    median = max(
        kind.delay.median or 0 for kind in (metrics.round_trip, metrics.send, metrics.reflect)
    )
    assert unit <= max(median, max(values) * 3 // 100_000, 1)
    assert median < 1000 * unit or unit == 10**9
    cells = rows[0].removeprefix("round trip").split()
    delay = metrics.round_trip.delay
    for cell, value in zip(
        cells,
        (delay.minimum, delay.mean, delay.median, delay.percentile(95), delay.percentile(99)),
        strict=False,
    ):
        assert value is not None
        true, half = Fraction(value, unit), Fraction(1, 2000)
        assert abs(Fraction(cell) - true) <= max(half, half * true)
