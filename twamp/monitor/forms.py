"""The forms of a continuous measurement's report: text, JSON, or rows of CSV or InfluxDB.

Each says of an interval, and of the totals, what the same form says of a finite run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from twamp.config.ping import PingConfig
from twamp.metrics.interval import ReportInterval
from twamp.metrics.measure import Results
from twamp.metrics.threshold import Failure
from twamp.report.interval import (
    interval_csv,
    interval_influx,
    interval_line,
    json_line,
    total_block,
)
from twamp.report.rows import csv_head
from twamp.report.units import UNITS, Style
from twamp.version import version


@dataclass(frozen=True)
class Form:
    """Writes intervals and totals in the form that ``options`` ask for."""

    options: PingConfig

    @property
    def head(self) -> str:
        """The lines at the top of the output."""
        return csv_head() if self.options.csv else ""

    def interval(
        self,
        interval: ReportInterval,
        results: Results,
        *,
        failures: Sequence[Failure] = (),
        named: bool = False,
    ) -> str:
        """Returns the report of an interval and its ``failures``; ``named``: text has the target's name."""
        if self.options.json:
            return self._json("interval", interval, results, failures)
        if self.options.csv:
            return "".join(interval_csv(interval, results))
        if self.options.influx:
            return "".join(interval_influx(interval, results))
        return interval_line(interval, results, self._style, named=named)

    def total(
        self, interval: ReportInterval, results: Results, *, failures: Sequence[Failure] = ()
    ) -> str:
        """Returns the report of everything since the start; rows have none, as it would count twice."""
        if self.options.quiet or self.options.csv or self.options.influx:
            return ""
        if self.options.json:
            return self._json("total", interval, results, failures)
        return total_block(interval, results, self._style)

    @property
    def _style(self) -> Style:
        options = self.options
        return Style(
            unit=UNITS[options.units],
            percentiles=options.percentiles,
            trust_clocks=options.trust_clocks,
        )

    def _json(
        self, kind: str, interval: ReportInterval, results: Results, failures: Sequence[Failure]
    ) -> str:
        percentiles = self.options.percentiles
        return json_line(
            interval, results, kind, version=version(), percentiles=percentiles, failures=failures
        )
