"""Estimates offset and rate between a network device's clock (PHC) and the system clock, with an error bound.

Pure: it takes readings of both clocks and gives a straight line that converts stamps of the device to Unix
time.  Integers are nanoseconds.  Of readings made in a row only the tightest is kept.  A reading far from the
line is refused, until several in a row agree on another line: then a clock has been set.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

KEPT = 16  # readings that the line is drawn through
OUTLIERS = 3  # in a row, which agree: a clock was set
HOPELESS = 12  # in a row, which do not: nothing is known any more
LEAST_TOLERANCE_NS = 5_000
LEAST_ERROR_NS = 50  # of a stamp by itself: the resolution of the device's clock
DRIFT_CHANGE = (
    50e-9  # how much the rate may change within the readings' reach: a crystal in a draught
)
UNKNOWN_RATE = (
    500e-6  # what one reading alone leaves open: the most that a disciplined clock is slewed
)
TAI_LESS_UTC_S = range(10, 60)  # seconds, since 1972 and for a long time to come
NS = 1_000_000_000


class CrossStamp(NamedTuple):
    """One reading of both clocks; it is exact to half of ``window_ns``."""

    device_ns: int
    unix_ns: int
    window_ns: int

    @classmethod
    def between(cls, before_ns: int, device_ns: int, after_ns: int) -> "CrossStamp":
        """Makes a reading of a device's clock that was read between two readings of the system clock."""
        return cls(device_ns, (before_ns + after_ns) // 2, max(after_ns - before_ns, 0))

    @property
    def offset_ns(self) -> int:
        return self.unix_ns - self.device_ns


class Line(NamedTuple):
    """Unix time is ``unix_ns + (device - device_ns) · (1 + rate)``, within ``error_ns`` near there."""

    device_ns: int
    unix_ns: int
    rate: float
    error_ns: int
    rate_error: float

    def unix_at(self, device_ns: int) -> int:
        reach = device_ns - self.device_ns
        return self.unix_ns + reach + round(reach * self.rate)

    def error_at(self, device_ns: int) -> int:
        """Returns how far :meth:`unix_at` may be off at most."""
        return self.error_ns + round(abs(device_ns - self.device_ns) * self.rate_error)


@dataclass(slots=True)
class ClockModel:
    """Keeps the line through the latest readings; call :meth:`update` with each new one.

    ``line`` is None before the first reading, and when many in a row fit neither it nor each other.
    """

    line: Line | None = None
    outliers: int = 0  # readings refused, in all
    steps: int = 0  # times that a clock was set
    readings: int = 0
    _kept: deque[CrossStamp] = field(default_factory=lambda: deque(maxlen=KEPT))
    _strange: deque[CrossStamp] = field(default_factory=lambda: deque(maxlen=OUTLIERS))
    _strange_in_a_row: int = 0

    def update(self, burst: Iterable[CrossStamp]) -> bool:
        """Takes the tightest of several readings made in a row; returns False when it was refused.

        After a refusal the next reading should be made soon.
        """
        reading = min(burst, key=lambda one: one.window_ns)
        self.readings += 1
        if self._is_strange(reading):
            self.outliers += 1
            self._strange.append(reading)
            self._strange_in_a_row += 1
            if len(self._strange) < OUTLIERS or not _agree(list(self._strange)):
                if self._strange_in_a_row >= HOPELESS:
                    self.line = None
                return False
            self.steps += 1
            self._kept.clear()
            self._kept.extend(self._strange)
        else:
            self._kept.append(reading)
        self._strange.clear()
        self._strange_in_a_row = 0
        self.line = _fit(list(self._kept))
        return True

    def reset(self) -> None:
        """Forgets all readings, because a clock has been set."""
        self.steps += 1
        self._kept.clear()
        self._strange.clear()
        self._strange_in_a_row = 0
        self.line = None

    def _is_strange(self, reading: CrossStamp) -> bool:
        if self.line is None:
            return self._strange_in_a_row > 0  # once bitten
        if reading.device_ns <= self._kept[-1].device_ns:
            return True  # it runs backwards
        wrong = abs(self.line.unix_at(reading.device_ns) - reading.unix_ns)
        return wrong > _tolerance(self.line.error_at(reading.device_ns), reading)

    @property
    def timescale(self) -> str:
        """``"UTC"``, ``"TAI"``, by the distance from the system clock, or ``"free"``; empty: unknown."""
        if self.line is None:
            return ""
        ahead_ns = self.line.device_ns - self.line.unix_ns
        seconds, rest = divmod(ahead_ns + NS // 2, NS)
        if abs(rest - NS // 2) > NS // 100:
            return "free"
        return "UTC" if seconds == 0 else "TAI" if seconds in TAI_LESS_UTC_S else "free"


def _tolerance(error_ns: int, reading: CrossStamp) -> int:
    return LEAST_TOLERANCE_NS + 4 * error_ns + reading.window_ns


def _agree(readings: list[CrossStamp]) -> bool:
    """Returns whether readings may lie on one line."""
    line = _fit(readings)
    ascending = all(a.device_ns < b.device_ns for a, b in pairwise(readings))
    return (
        ascending
        and abs(line.rate) <= UNKNOWN_RATE
        and all(
            abs(line.unix_at(one.device_ns) - one.unix_ns) <= _tolerance(0, one) for one in readings
        )
    )


def _fit(kept: list[CrossStamp]) -> Line:
    """Fits the least-squares line, from the latest reading on, and bounds its error.

    A reading is off by no more than half of its window, and the line is a weighted sum of readings.  The
    bound adds the largest distance of a reading from the line, and an allowance for a changing rate.
    """
    last = kept[-1]
    halves = [one.window_ns / 2 for one in kept]
    x = [float(one.device_ns - last.device_ns) for one in kept]
    y = [float(one.offset_ns - last.offset_ns) for one in kept]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - mean_x) ** 2 for each in x)
    if not spread:
        error = round(halves[-1]) + LEAST_ERROR_NS
        return Line(last.device_ns, last.unix_ns, 0.0, error, UNKNOWN_RATE)
    slopes = [(each - mean_x) / spread for each in x]
    rate = sum(slope * (each - mean_y) for slope, each in zip(slopes, y, strict=True))
    at_last = mean_y - rate * mean_x
    missed = max(abs(b - at_last - rate * a) for a, b in zip(x, y, strict=True))
    shares = [1 / len(x) - slope * mean_x for slope in slopes]
    return Line(
        device_ns=last.device_ns,
        unix_ns=last.unix_ns + round(at_last),
        rate=rate,
        error_ns=round(_worst(shares, halves) + missed) + LEAST_ERROR_NS,
        rate_error=_worst(slopes, halves) + missed / (x[-1] - x[0]) + DRIFT_CHANGE,
    )


def _worst(weights: list[float], errors: list[float]) -> float:
    return sum(abs(weight) * error for weight, error in zip(weights, errors, strict=True))
