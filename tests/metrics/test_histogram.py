"""The histogram: against sorted lists, at every edge of its buckets."""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twamp.metrics.histogram import MOST, MOST_BUCKETS, Histogram, bucket_ends, bucket_of
from twamp.metrics.values import Distribution

# Uniform numbers would nearly all be huge: choose how many bits first, then around their edges.
MAGNITUDES = st.integers(0, 61).flatmap(
    lambda bits: st.integers((1 << bits) - 1, min(2 << bits, MOST))
)
VALUES = st.builds(lambda sign, value: sign * value, st.sampled_from([-1, 1]), MAGNITUDES)
LISTS = st.lists(VALUES, min_size=1, max_size=200)
PERCENTS = st.fractions(0, 100, max_denominator=1000)


def close(approximate: int, exact: int) -> bool:
    return abs(approximate - exact) * 1000 <= abs(exact)


@given(VALUES)
def test_a_value_lies_in_its_bucket_whose_middle_is_near(value: int) -> None:
    low, high = bucket_ends(bucket_of(value))
    assert low <= value <= high
    assert bucket_of(low) == bucket_of(high) == bucket_of(value)
    assert close((low + high) // 2, value)


@pytest.mark.parametrize("around", [0, 1023, 1024, 2047, 2048, 10**6, 10**9, 3600 * 10**9, 1 << 61])
def test_buckets_follow_each_other_without_gap_or_overlap(around: int) -> None:
    for sign in (1, -1):
        bucket = bucket_of(sign * around)
        for each in range(bucket - 600, bucket + 600):
            assert bucket_ends(each)[1] + 1 == bucket_ends(each + 1)[0]


@given(LISTS, PERCENTS)
def test_it_answers_as_the_sorted_list_does_to_a_thousandth(
    values: list[int], percent: Fraction
) -> None:
    histogram, exact = Histogram(values), Distribution.of(values)
    assert (histogram.count, histogram.total) == (len(values), sum(values))
    assert (histogram.minimum, histogram.maximum) == (exact.minimum, exact.maximum)
    assert histogram.mean == exact.mean
    found, right = histogram.percentile(percent), exact.percentile(percent)
    assert found is not None
    assert right is not None
    assert close(found, right)
    assert histogram.minimum <= found <= histogram.maximum  # type: ignore[operator]


@given(st.lists(st.integers(-1023, 1023), min_size=1), PERCENTS)
def test_it_is_exact_below_1024(values: list[int], percent: Fraction) -> None:
    histogram, exact = Histogram(values), Distribution.of(values)
    assert histogram.percentile(percent) == exact.percentile(percent)
    assert (histogram.median, histogram.p95_p50) == (exact.median, exact.p95_p50)


@given(st.lists(st.lists(VALUES, max_size=50), max_size=5))
def test_a_merged_one_is_that_of_all_values(parts: list[list[int]]) -> None:
    merged = Histogram()
    for part in parts:
        merged.merge(Histogram(part))
    assert merged == Histogram(value for part in parts for value in part)


@given(LISTS, st.lists(VALUES, max_size=10).map(sorted))
def test_how_many_do_not_exceed_a_bound(values: list[int], bounds: list[int]) -> None:
    for bound, found in zip(bounds, Histogram(values).at_most(bounds), strict=True):
        low, high = bucket_ends(bucket_of(bound))
        assert sum(value < low for value in values) <= found
        assert found <= sum(value <= high for value in values)


def test_an_empty_one_knows_nothing() -> None:
    empty = Histogram()
    assert (empty.count, empty.minimum, empty.maximum, empty.mean) == (0, None, None, None)
    assert (empty.percentile(50), empty.median, empty.p95_p50) == (None, None, None)
    assert empty.at_most([0, 1]) == [0, 0]
    empty.merge(Histogram())
    assert empty == Histogram()


@pytest.mark.parametrize("percent", [-1, 101, Fraction(1001, 10)])
def test_what_is_no_percentile_is_refused(percent: int | Fraction) -> None:
    with pytest.raises(ValueError, match="is no percentile"):
        Histogram([1]).percentile(percent)


def test_no_value_makes_more_buckets_than_were_promised() -> None:
    assert 2 * bucket_of(MOST) + 1 == MOST_BUCKETS
    histogram = Histogram([MOST, 1 << 80, -(1 << 80), -MOST])
    assert len(histogram) == 2
    assert (histogram.minimum, histogram.maximum) == (-(1 << 80), 1 << 80)
    random = Random(1)
    for _ in range(20_000):
        histogram.add(int(random.lognormvariate(14, 0.1)))
    assert len(histogram) < 1000
