"""Samples in C's memory: a sequence like any other, whose columns in C are those in Python."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sessions import (
    MS,
    Fate,
    a_measurement,
    a_sample,
    any_fate,
    carry,
    eventful,
)
from twamp.engine.sample_table import SampleTable, in_table
from twamp.metrics.columns import Columns, OffersColumns, columns_of
from twamp.metrics.cut import by_packets
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement, Sample
from twamp.metrics.values import Distribution

# ---- a sequence ----------------------------------------------------------------------------------


def test_it_is_the_sequence_of_its_samples() -> None:
    samples = list(eventful().samples)
    table = SampleTable.of(samples)
    assert len(table) == len(samples) == 10
    assert list(table) == samples
    assert table == samples
    assert table != samples[1:]
    assert [table[place] for place in (0, 9, -1, -10)] == [samples[p] for p in (0, 9, -1, -10)]
    for place in (10, -11):
        with pytest.raises(IndexError):
            table[place]


@given(*[st.none() | st.integers(-12, 12)] * 2, st.none() | st.sampled_from([1, 2, -1, -3]))
def test_slices_are_those_of_a_list(begin: int | None, end: int | None, step: int | None) -> None:
    samples = list(eventful().samples)
    found = SampleTable.of(samples)[begin:end:step]
    assert list(found) == samples[begin:end:step]
    assert len(found) == len(samples[begin:end:step])


def test_a_slice_keeps_the_memory() -> None:
    samples = list(eventful().samples)
    part = SampleTable.of(samples)[3:6][1:]
    assert list(part) == samples[4:6]


def test_what_is_a_table_already_is_not_copied() -> None:
    table = SampleTable.of(eventful().samples)
    assert SampleTable.of(table) is table


@pytest.mark.parametrize("changes", [{"t1": 1 << 64}, {"rank": -1}, {"tos": 256}])
def test_a_sample_that_does_not_fit_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sample 1: "):
        SampleTable.of([a_sample(0), a_sample(1)._replace(**changes)])


# ---- columns -------------------------------------------------------------------------------------


def in_c(measurement: Measurement) -> Columns:
    table = SampleTable.of(measurement.samples)
    assert isinstance(table, OffersColumns)
    columns = table.columns(measurement)
    assert columns is not None
    return columns


def assert_same(found: Columns, right: Columns) -> None:
    for field in fields(Columns):
        mine, theirs = getattr(found, field.name), getattr(right, field.name)
        assert mine == theirs, field.name
    for mine, theirs in zip(distributions(found), distributions(right), strict=True):
        assert (mine.total, mine.squares) == (theirs.total, theirs.squares)


def distributions(columns: Columns) -> list[Distribution]:
    return [*columns.delays, *columns.ipdv, columns.lateness]


@given(
    st.lists(any_fate, max_size=40),
    st.sampled_from([5 * MS, 30 * MS, 2000 * MS, 1 << 62]),
    st.sets(st.integers(0, 39)),
)
def test_columns_are_those_of_python(
    fates: list[Fate], timeout_ns: int, never_sent: set[int]
) -> None:
    samples, duplicates = carry(fates)
    samples = [
        sample._replace(t1_source=0)
        if sample.sequence_number in never_sent and not sample.rank
        else sample
        for sample in samples
    ]
    measurement = a_measurement(samples, duplicates, loss_timeout_ns=timeout_ns)
    assert_same(in_c(measurement), columns_of(measurement))
    for part in by_packets(measurement, 7):
        assert_same(in_c(part), columns_of(part))


# Near each other, as those of a session are, or anywhere at all.
time = st.integers(1 << 62, (1 << 62) + (1 << 34)) | st.integers(0, (1 << 64) - 1)
number32 = st.integers(0, 20) | st.integers(0, (1 << 32) - 1)
octet = st.integers(0, 255)
any_sample = st.builds(
    Sample,
    t1=time,
    t2=time,
    t3=time,
    t4=time,
    sequence_number=number32,
    reflector_sequence_number=number32,
    rank=st.integers(0, 3) | st.integers(0, (1 << 32) - 1),
    lateness_ns=st.integers(-(1 << 31), (1 << 31) - 1),
    sender_error_estimate=st.integers(0, 0xFFFF),
    reflector_error_estimate=st.integers(0, 0xFFFF),
    sender_ttl=octet,
    ttl=octet,
    tos=octet,
    t1_source=st.integers(0, 3),
    t4_source=st.integers(0, 3),
)
numbers = st.tuples(st.integers(0, 20), st.none() | st.integers(0, 30))
HITS: Counter[str] = Counter()


def sessions_of(samples: Sequence[Sample]) -> list[Sample]:
    """By ascending numbers, once each."""
    by_number = {sample.sequence_number: sample for sample in samples}
    return [by_number[number] for number in sorted(by_number)]


@settings(max_examples=300)
@given(
    st.lists(any_sample, max_size=120),
    st.lists(any_sample, max_size=8),
    st.integers(0, 1 << 62),
    numbers,
)
def columns_of_anything_are_those_of_python(
    samples: list[Sample],
    duplicates: list[Sample],
    timeout_ns: int,
    reflector_numbers: tuple[int, int | None],
) -> None:
    measurement = a_measurement(
        sessions_of(samples),
        duplicates,
        loss_timeout_ns=timeout_ns,
        reflector_numbers=reflector_numbers,
    )
    right = columns_of(measurement)
    assert_same(in_c(measurement), right)
    HITS["late"] += right.loss.late > 0
    HITS["reordered"] += min(right.reordering) > 0
    HITS["duplicates"] += min(right.send_duplicates, right.reflect_duplicates) > 0
    HITS["reverse"] += right.loss.reverse > 0
    HITS["negative totals"] += min(each.total for each in right.delays) < 0


def test_columns_of_anything_are_those_of_python() -> None:
    HITS.clear()
    columns_of_anything_are_those_of_python()
    assert len(HITS) == 5
    assert min(HITS.values()) > 0, HITS


@pytest.mark.parametrize("seed", range(8))
def test_columns_of_the_widest_values_are_those_of_python(seed: int) -> None:
    """Sums of squares beyond 128 bits, jitter beyond 2^60 ns, values in every digit of the sort."""
    random = Random(seed)
    ends = (0, 1, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, (1 << 64) - 1)
    samples = [
        a_sample(number)._replace(
            **{name: random.choice(ends) for name in ("t1", "t2", "t3", "t4")},
            rank=random.randrange(1, 1 << 32),
            reflector_sequence_number=random.randrange(1 << 32),
        )
        for number in range(300)
    ]
    measurement = a_measurement(samples, loss_timeout_ns=1 << 62)
    right = columns_of(measurement)
    assert_same(in_c(measurement), right)
    assert right.delays[0].count > 100
    assert right.delays[0].squares >= 1 << 128
    assert (right.jitter[0] or 0) > 1 << 60


def test_the_comparison_would_see_a_difference() -> None:
    """A planted mutant of each kind: a value, a count, a sum, an order."""
    measurement = eventful()
    right = columns_of(measurement)
    samples = list(measurement.samples)
    for place, changes in (
        (0, {"t4": samples[0].t4 + 5}),
        (2, {"ttl": 7}),
        (3, {"rank": 2, "t4_source": 3}),
        (4, {"lateness_ns": 1}),
        (6, {"reflector_error_estimate": 0x0101}),
        (6, {"reflector_sequence_number": 3}),
    ):
        mutant = [*samples]
        mutant[place] = mutant[place]._replace(**changes)
        with pytest.raises(AssertionError):
            assert_same(in_c(replace(measurement, samples=mutant)), right)


@pytest.mark.parametrize("count", [47, 48, 49, 50, 3000])
def test_many_values_are_sorted(count: int) -> None:
    """On both sides of where the sort begins to go by digits; values in some and in all digits."""
    samples = []
    for number in range(count):
        there = (number * 7919 % count) * (1 if number % 3 else 100_003)
        at = number * MS
        samples.append(
            a_sample(
                number, (at, at + there - 50, at + there, at + there + 17), rank=count - number
            )
        )
    measurement = a_measurement(samples, loss_timeout_ns=1 << 62)
    assert_same(in_c(measurement), columns_of(measurement))


def test_what_c_does_not_take_is_measured_in_python() -> None:
    measurement = eventful()
    table = SampleTable.of(list(reversed(measurement.samples)))
    shuffled = replace(measurement, samples=table)
    assert table.columns(shuffled) is None
    assert measure(shuffled).sent == measure(measurement).sent
    odd = replace(measurement, duplicates=[measurement.duplicates[0]._replace(rank=1 << 32)])
    assert SampleTable.of(odd.samples).columns(odd) is None


def test_a_session_is_put_into_a_table_where_it_fits() -> None:
    measurement = eventful()
    tabled = in_table(measurement)
    assert isinstance(tabled.samples, SampleTable)
    assert tabled == measurement
    odd = replace(measurement, samples=[measurement.samples[0]._replace(t1=-1)])
    assert in_table(odd) is odd


def test_measure_takes_the_way_through_c() -> None:
    measurement = eventful()
    table = SampleTable.of(measurement.samples)
    assert measure(replace(measurement, samples=table)) == measure(measurement)
