"""How values in nanoseconds are distributed: one set of questions, whatever keeps the values.

:class:`Distribution` keeps every value and answers exactly;
:class:`~twamp.metrics.histogram.Histogram` keeps counts of buckets, and its percentiles are right to
0.1 %; :class:`Less` is either with a constant taken off.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import isqrt
from operator import mul
from typing import Protocol, Self

EXACT = Fraction(0)


class Values(Protocol):
    """Some values in ns; without any, figures are None."""

    __slots__ = ()

    @property
    def count(self) -> int: ...

    @property
    def total(self) -> int:
        """Their sum, exact."""
        ...

    @property
    def squares(self) -> int:
        """The sum of their squares, exact."""
        ...

    @property
    def minimum(self) -> int | None: ...

    @property
    def maximum(self) -> int | None: ...

    @property
    def resolution(self) -> Fraction:
        """The greatest error of a percentile, as a share of the value; 0: exact."""
        ...

    def percentile(self, percent: int | Fraction) -> int | None:
        """Nearest rank: the smallest value that at least ``percent`` % of the values do not exceed.

        0 gives the minimum; so the median of an even count is the lower of the middle two.
        ValueError for a ``percent`` that is not from 0 to 100.
        """
        ...

    def count_below(self, value: int) -> int:
        """How many are less; exact where ``value`` is 0, else as exact as percentiles."""
        ...

    def plain(self) -> "Values":
        """The same values, held in a way that :meth:`together` takes."""
        ...

    def together(self, others: "Sequence[Self]") -> "Values":
        """These values and those of ``others``, which are of the same kind."""
        ...

    @property
    def mean(self) -> int | None:
        """To the nearest nanosecond, halves upwards; exact."""
        return (2 * self.total + self.count) // (2 * self.count) if self.count else None

    @property
    def standard_deviation(self) -> int | None:
        """Of these values, not of those that might have been (population); to the nanosecond."""
        if not self.count:
            return None
        spread = self.count * self.squares - self.total**2
        return (2 * isqrt(spread) + self.count) // (2 * self.count)

    @property
    def median(self) -> int | None:
        return self.percentile(50)

    @property
    def p95_p50(self) -> int | None:
        """The reference's jitter: the 95th percentile less the median."""
        high, middle = self.percentile(95), self.percentile(50)
        return None if high is None or middle is None else high - middle


def rank_of(percent: int | Fraction, count: int) -> int:
    """The place from 1, among ``count`` ascending values, of a percentile; ValueError for none."""
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} is no percentile: 0 to 100")
    return max(int(-(-percent * count // 100)), 1)


def all_together(parts: Sequence[Values]) -> Values:
    """The values of all ``parts``; without any an empty distribution."""
    filled = [part for part in parts if part.count]
    if len(filled) < 2:
        return filled[0] if filled else parts[0] if parts else Distribution()
    first, *others = (part.plain() for part in filled)
    return first.together(others)


class Distribution(Values):
    """Every value, ascending, in 8 octets each; so each is less than 2^63."""

    __slots__ = ("squares", "total", "values")
    total: int
    squares: int

    def __init__(
        self, values: "array[int] | None" = None, total: int = 0, squares: int = 0
    ) -> None:
        """Of ascending ``values``, their sum and the sum of their squares."""
        self.values = array("q") if values is None else values
        self.total = total
        self.squares = squares

    @classmethod
    def of(cls, values: Iterable[int]) -> "Distribution":
        """Of values in any order."""
        ascending = sorted(values)
        squares = sum(map(mul, ascending, ascending))
        return cls(array("q", ascending), sum(ascending), squares)

    def __repr__(self) -> str:
        return f"<Distribution of {self.count}: {self.minimum} to {self.maximum} ns>"

    def __eq__(self, other: object) -> bool:
        """The same values."""
        return self.values == other.values if isinstance(other, Distribution) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # an array has none

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def minimum(self) -> int | None:
        return self.values[0] if self.values else None

    @property
    def maximum(self) -> int | None:
        return self.values[-1] if self.values else None

    @property
    def resolution(self) -> Fraction:
        return EXACT

    def percentile(self, percent: int | Fraction) -> int | None:
        rank = rank_of(percent, self.count)
        return self.values[rank - 1] if self.values else None

    def count_below(self, value: int) -> int:
        return bisect_left(self.values, value)

    def plain(self) -> "Distribution":
        return self

    def moved(self, by: int) -> "Distribution":
        """The values, ``by`` added to each."""
        total = self.total + by * self.count
        squares = self.squares + 2 * by * self.total + by * by * self.count
        return Distribution(array("q", [value + by for value in self.values]), total, squares)

    def together(self, others: "Sequence[Distribution]") -> "Distribution":
        parts = (self, *others)
        # The parts are ascending, which the sort makes use of.
        values = array("q", sorted(chain.from_iterable(part.values for part in parts)))
        return Distribution(
            values, sum(part.total for part in parts), sum(part.squares for part in parts)
        )


class Movable(Values, Protocol):
    """Values that a constant can be added to."""

    def moved(self, by: int) -> Values: ...


@dataclass(frozen=True)
class Less(Values):
    """``values``, ``amount`` taken off each, without a copy of them."""

    values: Movable
    amount: int

    @property
    def count(self) -> int:
        return self.values.count

    @property
    def total(self) -> int:
        return self.values.total - self.amount * self.count

    @property
    def squares(self) -> int:
        values, amount = self.values, self.amount
        return values.squares - 2 * amount * values.total + amount**2 * self.count

    @property
    def minimum(self) -> int | None:
        return self._less(self.values.minimum)

    @property
    def maximum(self) -> int | None:
        return self._less(self.values.maximum)

    @property
    def resolution(self) -> Fraction:
        """Of the value from which the amount was taken."""
        return self.values.resolution

    def percentile(self, percent: int | Fraction) -> int | None:
        return self._less(self.values.percentile(percent))

    def count_below(self, value: int) -> int:
        return self.values.count_below(value + self.amount)

    def plain(self) -> Values:
        return self.values.moved(-self.amount)

    def together(self, others: "Sequence[Less]") -> Values:
        return all_together([self.plain(), *(other.plain() for other in others)])

    def _less(self, value: int | None) -> int | None:
        return None if value is None else value - self.amount
