"""A histogram of times with three significant digits, for measurements that have no end.

Values are signed integers in ns.  Up to 1023 each has a bucket of its own; above, each doubling is
divided into 512 buckets of one width, and a bucket stands for its middle, which is at most 0.1 % off
any value in it.  Count, sum, sum of squares, minimum and maximum are exact.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from twamp.metrics.values import Values, rank_of

_BITS = 9  # log2 of the buckets of a doubling
_EXACT = 2 << _BITS  # from here on a bucket holds more than one value
MOST = (1 << 62) - 1  # ns: 146 years, more than two NTP timestamps can differ by
MOST_BUCKETS = 55_295
RESOLUTION = Fraction(1, 1000)


def bucket_of(value: int) -> int:
    """The bucket of a value; buckets ascend as values do, and are negative for negative values."""
    if value < 0:
        return -bucket_of(-value)
    if value < _EXACT:
        return value
    if value > MOST:
        value = MOST
    shift = value.bit_length() - _BITS - 1
    return (shift << _BITS) + (value >> shift)


def bucket_ends(bucket: int) -> tuple[int, int]:
    """The least and the greatest value of a bucket."""
    if bucket < 0:
        low, high = bucket_ends(-bucket)
        return -high, -low
    if bucket < _EXACT:
        return bucket, bucket
    shift = (bucket >> _BITS) - 1
    low = bucket - (shift << _BITS) << shift
    return low, low + (1 << shift) - 1


class Histogram(Values):
    """Counts of values by bucket; percentiles are right to 0.1 %, and all else is exact.

    Memory: about 100 octets for each bucket that is in use, whatever is added.  There are
    55,295 of them (5.5 MB), of which delays between 1 and 2 ms, say, use 512.  Values beyond
    ±:data:`MOST` count in the outermost bucket.
    """

    __slots__ = ("_counts", "count", "maximum", "minimum", "squares", "total")
    count: int
    total: int
    squares: int

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.squares = 0
        self.minimum: int | None = None
        self.maximum: int | None = None
        for value in values:
            self.add(value)

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}: {self.minimum} to {self.maximum} ns>"

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same buckets, count, sum and ends."""
        if not isinstance(other, Histogram):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment] # it changes

    def __len__(self) -> int:
        """Buckets in use."""
        return len(self._counts)

    def add(self, value: int) -> None:
        """One more value, in ns."""
        # As bucket_of, but without a call: this happens some times for each packet.
        magnitude = value if value >= 0 else -value
        if magnitude >= _EXACT:
            if magnitude > MOST:
                magnitude = MOST
            shift = magnitude.bit_length() - _BITS - 1
            magnitude = (shift << _BITS) + (magnitude >> shift)
        bucket = magnitude if value >= 0 else -magnitude
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.total += value
        self.squares += value * value
        self.count += 1
        if self.minimum is None or self.maximum is None:
            self.minimum = self.maximum = value
        elif value < self.minimum:
            self.minimum = value
        elif value > self.maximum:
            self.maximum = value

    def merge(self, other: "Histogram") -> None:
        """Adds all that ``other`` holds; the result is that of adding its values one by one."""
        if not other.count or other.minimum is None or other.maximum is None:
            return
        counts = self._counts
        for bucket, count in other._counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.minimum = other.minimum if self.minimum is None else min(self.minimum, other.minimum)
        self.maximum = other.maximum if self.maximum is None else max(self.maximum, other.maximum)

    def buckets(self) -> Iterator[tuple[int, int]]:
        """Each bucket in use and its count, ascending; :func:`bucket_ends` gives its values."""
        yield from sorted(self._counts.items())

    # ---- what Values answer ----------------------------------------------------------------------

    @property
    def resolution(self) -> Fraction:
        return RESOLUTION

    def percentile(self, percent: int | Fraction) -> int | None:
        """Nearest rank: the middle of the bucket that holds the value of that rank."""
        rank = rank_of(percent, self.count)
        if self.minimum is None or self.maximum is None:
            return None
        if rank == 1:
            return self.minimum
        if rank == self.count:
            return self.maximum
        passed = 0
        for bucket, count in self.buckets():
            passed += count
            if passed >= rank:
                return self._middle(bucket, self.minimum, self.maximum)
        raise AssertionError("the buckets hold fewer values than were counted")

    def count_below(self, value: int) -> int:
        if self.minimum is None or self.minimum >= value:
            return 0
        first = bucket_of(value)
        return sum(count for bucket, count in self._counts.items() if bucket < first)

    @staticmethod
    def _middle(bucket: int, least: int, most: int) -> int:
        """The value that a bucket stands for."""
        low, high = bucket_ends(bucket)
        return min(max((low + high) // 2, least), most)

    def plain(self) -> "Histogram":
        return self

    def moved(self, by: int) -> "Histogram":
        """The values, ``by`` added to each: each bucket goes where its middle then lies."""
        result = Histogram()
        if self.minimum is None or self.maximum is None:
            return result
        for bucket, count in self._counts.items():
            place = bucket_of(self._middle(bucket, self.minimum, self.maximum) + by)
            result._counts[place] = result._counts.get(place, 0) + count
        result.count = self.count
        result.total = self.total + by * self.count
        result.squares = self.squares + 2 * by * self.total + by * by * self.count
        result.minimum, result.maximum = self.minimum + by, self.maximum + by
        return result

    def together(self, others: "Sequence[Histogram]") -> "Histogram":
        result = Histogram()
        for part in (self, *others):
            result.merge(part)
        return result

    # ---- beyond them -----------------------------------------------------------------------------

    def at_most(self, bounds: Sequence[int]) -> list[int]:
        """Counts the values up to each of the ascending ``bounds``, as exactly as buckets can."""
        result = []
        passed = 0
        buckets = list(self.buckets())
        place = 0
        for bound in bounds:
            last = bucket_of(bound)
            while place < len(buckets) and buckets[place][0] <= last:
                passed += buckets[place][1]
                place += 1
            result.append(passed)
        return result
