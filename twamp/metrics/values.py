"""How values in nanoseconds are distributed, exactly: every value is kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import isqrt


@dataclass(frozen=True)
class Distribution:
    """Values in ns, ascending.  What an empty one cannot know is None."""

    values: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: Iterable[int]) -> "Distribution":
        return cls(tuple(sorted(values)))

    @property
    def minimum(self) -> int | None:
        return self.values[0] if self.values else None

    @property
    def median(self) -> int | None:
        return self.percentile(50)

    @property
    def maximum(self) -> int | None:
        return self.values[-1] if self.values else None

    @cached_property
    def mean(self) -> int | None:
        """To the nearest nanosecond, halves upwards."""
        count = len(self.values)
        return (2 * sum(self.values) + count) // (2 * count) if count else None

    @cached_property
    def standard_deviation(self) -> int | None:
        """Of these values, not of those that might have been (population); to the nanosecond."""
        count = len(self.values)
        if not count:
            return None
        spread = count * sum(value * value for value in self.values) - sum(self.values) ** 2
        return (2 * isqrt(spread) + count) // (2 * count)

    def percentile(self, percent: int | Fraction) -> int | None:
        """Nearest rank: the smallest value that at least ``percent`` % do not exceed.

        0 gives the minimum; so the median of an even count is the lower of the middle two.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent} is no percentile: 0 to 100")
        if not self.values:
            return None
        rank = -(-percent * len(self.values) // 100)
        return self.values[max(int(rank), 1) - 1]

    @property
    def p95_p50(self) -> int | None:
        """The reference's jitter: the 95th percentile less the median."""
        high, middle = self.percentile(95), self.median
        return None if high is None or middle is None else high - middle
