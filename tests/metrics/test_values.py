"""Distributions against naive definitions; values with a constant taken off; values put together."""

import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twamp.metrics.histogram import Histogram
from twamp.metrics.values import Distribution, Less, all_together

ns = st.integers(-(10**12), 10**12)


@given(
    st.lists(st.integers(-(10**12), 10**12), min_size=1),
    st.fractions(0, 100, max_denominator=1000) | st.sampled_from([50, 95, 99, 100]),
)
def test_percentile_is_the_nearest_rank(values: list[int], percent: Fraction) -> None:
    found = Distribution.of(values).percentile(percent)
    candidates = [
        value
        for value in values
        if 100 * sum(other <= value for other in values) >= percent * len(values)
    ]
    assert found == min(candidates)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1))
def test_distribution_ends_and_mean(values: list[int]) -> None:
    distribution = Distribution.of(values)
    assert distribution.minimum == min(values)
    assert distribution.maximum == max(values)
    assert distribution.mean is not None
    error = distribution.mean - Fraction(sum(values), len(values))
    assert Fraction(-1, 2) < error <= Fraction(1, 2)


def test_percentiles_of_a_hundred() -> None:
    distribution = Distribution.of(range(100, 0, -1))
    assert [distribution.percentile(percent) for percent in (0, 1, 50, 95, 100)] == [
        1, 1, 50, 95, 100,
    ]  # fmt: skip
    assert distribution.p95_p50 == 45
    assert distribution.percentile(Fraction(999, 10)) == 100


@pytest.mark.parametrize("percent", [-1, 101])
def test_percentile_refuses_what_is_none(percent: int) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        Distribution.of([1]).percentile(percent)


def test_empty_distribution_knows_nothing() -> None:
    empty = Distribution()
    assert (empty.minimum, empty.median, empty.maximum, empty.mean, empty.p95_p50) == (None,) * 5


@given(st.lists(ns, min_size=1, max_size=50))
def test_standard_deviation_is_that_of_the_values(values: list[int]) -> None:
    found = Distribution.of(values).standard_deviation
    assert found is not None
    exact = statistics.pvariance(map(Fraction, values))
    assert abs(found - math.sqrt(exact)) <= 1


def histogram_or_exact(values: list[int], kind: str) -> Distribution | Histogram:
    return Distribution.of(values) if kind == "exact" else Histogram(values)


small = st.lists(st.integers(-500, 500), max_size=30)  # a histogram is exact there


@pytest.mark.parametrize("kind", ["exact", "histogram"])
@given(small, st.integers(-400, 400), st.fractions(0, 100, max_denominator=100))
def test_values_less_a_constant_are_those_with_it_taken_off(
    kind: str, values: list[int], amount: int, percent: Fraction
) -> None:
    found = Less(histogram_or_exact(values, kind), amount)
    right = Distribution.of([value - amount for value in values])
    for one in (found, found.plain()):
        for name in ("count", "total", "squares", "minimum", "maximum", "mean", "p95_p50"):
            assert getattr(one, name) == getattr(right, name), name
        assert one.standard_deviation == right.standard_deviation
        assert one.percentile(percent) == right.percentile(percent)
    assert found.resolution == (0 if kind == "exact" else Fraction(1, 1000))


@pytest.mark.parametrize("kind", ["exact", "histogram"])
@given(st.lists(st.tuples(small, st.integers(-400, 400)), max_size=4))
def test_values_together_are_all_of_them(kind: str, parts: list[tuple[list[int], int]]) -> None:
    for amounts in ([0] * len(parts), [amount for _, amount in parts]):
        found = all_together(
            [
                Less(histogram_or_exact(values, kind), amount)
                for (values, _), amount in zip(parts, amounts, strict=True)
            ]
        )
        right = Distribution.of(
            value - amount
            for (values, _), amount in zip(parts, amounts, strict=True)
            for value in values
        )
        assert found.count == right.count
        for percent in (0, 1, 50, 99, 100):
            assert found.percentile(percent) == right.percentile(percent)
        assert (found.mean, found.standard_deviation) == (right.mean, right.standard_deviation)


def test_without_a_part_together_is_an_empty_distribution() -> None:
    assert all_together([]) == Distribution()
    one = Distribution.of([3])
    assert all_together([Distribution(), one]) is one
