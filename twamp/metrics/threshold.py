"""Thresholds of ``twping --fail``: ``loss>1%``, ``rtt.p99>5ms``, ``duplicates>0``.

A threshold is a figure, a comparison (``>``, ``>=``, ``<``, ``<=``) and a value.  Figures of packets (loss,
duplicates, reordered) are counts, or with ``%`` shares of the packets sent; figures of delay take a unit of
time.  A figure that cannot be known (:mod:`twamp.metrics.validity`) is judged by nothing: its threshold fails,
and says why.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from twamp.metrics.figures import Delay, Metrics
from twamp.metrics.validity import Validity
from twamp.metrics.values import Values

COMPARISONS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
UNITS_NS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000}
COUNTS: Mapping[str, Callable[[Metrics], int]] = {
    "loss": lambda metrics: metrics.lost,
    "loss.forward": lambda metrics: metrics.loss.forward,
    "loss.reverse": lambda metrics: metrics.loss.reverse,
    "loss.late": lambda metrics: metrics.loss.late,
    "duplicates": lambda metrics: metrics.send_duplicates + metrics.reflect_duplicates,
    "duplicates.forward": lambda metrics: metrics.send_duplicates,
    "duplicates.reverse": lambda metrics: metrics.reflect_duplicates,
    "reordered": lambda metrics: metrics.reordering.round_trip,
    "reordered.forward": lambda metrics: metrics.reordering.forward,
    "reordered.reverse": lambda metrics: metrics.reordering.reverse,
}
DELAYS: Mapping[str, Callable[[Metrics], Delay]] = {
    "rtt": lambda metrics: metrics.round_trip,
    "forward": lambda metrics: metrics.send,
    "reverse": lambda metrics: metrics.reflect,
}
DISTRIBUTIONS: Mapping[str, Callable[[Delay], Values]] = {
    "": lambda delay: delay.delay,
    "pdv": lambda delay: delay.pdv,
    "ipdv": lambda delay: delay.ipdv,
}
STATISTICS: Mapping[str, Callable[[Values], int | None]] = {
    "min": lambda values: values.minimum,
    "mean": lambda values: values.mean,
    "median": lambda values: values.median,
    "max": lambda values: values.maximum,
    "jitter": lambda values: values.p95_p50,
}
VARIATIONS = ("pdv", "ipdv", "jitter")  # of them the offset between the clocks is no part
FORM = "FIGURE>VALUE, such as loss>1% or rtt.p99>5ms"
KNOWN = (
    f"{', '.join(COUNTS)}; and of {', '.join(DELAYS)}: .{', .'.join(STATISTICS)}, .p99, .p99.9, "
    "and those of .pdv and .ipdv (rtt.pdv.p99)"
)

_THRESHOLD = re.compile(r"([a-z]+(?:\.[a-z0-9.]+)?)(>=|<=|>|<)(\d+\.?\d*|\.\d+)(%|ns|us|ms|s)?")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """One threshold; ``text`` is as the user wrote it."""

    text: str
    comparison: Callable[[Fraction, Fraction], bool]
    limit: Fraction  # a count, a share, or ns
    unit: str  # as the user wrote it
    figure: Callable[[Metrics], Fraction | None]
    is_delay: bool
    is_one_way: bool  # a delay that includes the offset between the clocks

    def __str__(self) -> str:
        return self.text

    def judge(self, metrics: Metrics, *, trust_clocks: bool = False) -> "Failure | None":
        """Why a run, or an interval of one, fails; None: it is within the threshold."""
        doubt = self._doubt(metrics, trust_clocks)
        value = None if doubt else self.figure(metrics)
        if value is not None and not self.comparison(value, self.limit):
            return None
        nothing = "no reply gave one" if self.is_delay else "no packet was sent"
        return Failure(self, value, doubt or nothing)

    def _doubt(self, metrics: Metrics, trust_clocks: bool) -> str:
        if not self.is_delay:
            return ""
        validity = Validity.of(metrics)
        if validity.delays or not self.is_one_way or trust_clocks or not validity.one_way:
            return validity.delays
        return f"{validity.one_way}; --trust-clocks judges it all the same"


@dataclass(frozen=True)
class Failure:
    """A threshold that was crossed by ``value``, or whose figure cannot be known for ``reason``."""

    threshold: Threshold
    value: Fraction | None
    reason: str

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.threshold}: it cannot be known: {self.reason}"
        unit = self.threshold.unit
        scale = Fraction(1, 100) if unit == "%" else Fraction(UNITS_NS.get(unit, 1))
        return f"{self.threshold}: it is {float(self.value / scale):.6g}{unit}"


def crossed(
    thresholds: Iterable[Threshold], metrics: Metrics, *, trust_clocks: bool = False
) -> list[Failure]:
    """The failures of a run, or of an interval of one; ``trust_clocks``: one-way delays are known."""
    found = (threshold.judge(metrics, trust_clocks=trust_clocks) for threshold in thresholds)
    return [failure for failure in found if failure is not None]


def parse_threshold(value: object) -> Threshold:
    """Reads a threshold; ValueError with the form that it should have."""
    match = _THRESHOLD.fullmatch(str(value).replace(" ", ""))
    if match is None:
        raise ValueError(f"of the form {FORM}")
    name, comparison, number, unit = match.groups()
    is_delay, is_one_way = name not in COUNTS, False
    if is_delay:
        if unit not in UNITS_NS:
            raise ValueError(f"a threshold of {name}: it takes a unit of {', '.join(UNITS_NS)}")
        figure, limit = _of_delay(name), Fraction(number) * UNITS_NS[unit]
        kind, statistic, *_ = name.split(".")
        is_one_way = kind != "rtt" and statistic not in VARIATIONS
    else:
        if unit not in (None, "%"):
            raise ValueError(f"a threshold: {name} is a count, or a share with %")
        figure, limit = _of_packets(name, unit == "%"), Fraction(number)
        limit = limit / 100 if unit else limit
    return Threshold(
        text=str(value),
        comparison=COMPARISONS[comparison],
        limit=limit,
        unit=unit or "",
        figure=figure,
        is_delay=is_delay,
        is_one_way=is_one_way,
    )


def _of_packets(name: str, is_share: bool) -> Callable[[Metrics], Fraction | None]:
    count = COUNTS[name]

    def figure(metrics: Metrics) -> Fraction | None:
        if not is_share:
            return Fraction(count(metrics))
        return Fraction(count(metrics), metrics.sent) if metrics.sent else None

    return figure


def _of_delay(name: str) -> Callable[[Metrics], Fraction | None]:
    kind, _, rest = name.partition(".")
    variation, _, statistic = rest.partition(".")
    if variation not in ("pdv", "ipdv"):
        variation, statistic = "", rest
    percentile = _PERCENTILE.fullmatch(statistic)
    if kind not in DELAYS or not (statistic in STATISTICS or percentile):
        raise ValueError(f"a threshold: there is no figure {name!r}; there are {KNOWN}")
    share = Fraction(percentile[1]) if percentile else None

    def figure(metrics: Metrics) -> Fraction | None:
        values = DISTRIBUTIONS[variation](DELAYS[kind](metrics))
        value = STATISTICS[statistic](values) if share is None else values.percentile(share)
        return None if value is None else Fraction(value)

    return figure
