"""One interval of a continuous measurement: its beginning and end, and what each session measured."""

from dataclasses import dataclass

from twamp.metrics.measure import Results
from twamp.metrics.tally import Tally


@dataclass
class ReportInterval:
    """The figures of one target between two times (Unix ns); ``tallies`` by session.

    ``measured_ns``: how long there were sessions; ``reason``: why not for the whole interval.
    """

    target: str
    begin_ns: int
    tallies: list[Tally]
    end_ns: int = 0
    measured_ns: int = 0
    reason: str = ""

    @property
    def tally(self) -> Tally:
        """All sessions together."""
        return Tally.of(self.tallies)

    def results(self) -> Results:
        """Computes the figures of each session and of all; call it once for all reports."""
        return Results.of_metrics([tally.metrics() for tally in self.tallies])

    @property
    def measured(self) -> bool:
        """Whether anything could be measured, be it only that nothing came back."""
        return self.measured_ns > 0 or any(tally.sent for tally in self.tallies)

    def merge(self, other: "ReportInterval") -> None:
        """Extends this interval to the end of ``other``, and adds what was measured in that."""
        for mine, theirs in zip(self.tallies, other.tallies, strict=True):
            mine.merge(theirs)
        self.end_ns = other.end_ns
        self.measured_ns += other.measured_ns
        self.reason = other.reason or self.reason
