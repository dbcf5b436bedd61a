"""Decides which figures cannot be true, or cannot be known, and says why: one judgement for every report.

A round trip or a residence in the reflector below zero is impossible, and so is a reply before its packet:
some timestamps are wrong, and with them every delay.  A timestamp of 0 is no time, so such a reply has no
delays.  A one-way delay is known only where both clocks are synchronised and no one-way delay is negative;
how it varies is known all the same, since the offset of the clocks cancels out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from twamp.metrics.figures import Metrics

REFLECTOR = "the reflector's timestamps are to blame"
OUR_CLOCK = "the clock of this host was set back meanwhile"


@dataclass(frozen=True, kw_only=True)
class Validity:
    """Counts of impossible values among the ``received``; and the doubts, empty where there is none.

    ``delays``: why no delay can be believed; ``one_way``: why a one-way delay cannot be known although
    delays can be believed.
    """

    received: int
    negative_round_trips: int
    negative_residences: int
    unstamped: int
    clock_back: int
    one_way: str

    @classmethod
    def of(cls, metrics: Metrics) -> "Validity":
        """Judges the figures of a session, of a run or of an interval."""
        return cls(
            received=metrics.received,
            negative_round_trips=metrics.round_trip.delay.count_below(0),
            negative_residences=metrics.processing.count_below(0),
            unstamped=metrics.unstamped,
            clock_back=metrics.clock_back,
            one_way=_doubt_of_clocks(metrics),
        )

    @property
    def delays(self) -> str:
        lines = [*self._impossible()]
        if not lines and self.received and self.unstamped == self.received:
            lines = [*self._missing()]
        return "; ".join(lines)

    def lines(self) -> list[str]:
        """Yields a sentence for each impossible or missing thing; none for a healthy measurement."""
        return [*self._impossible(), *self._missing()]

    def _impossible(self) -> Iterator[str]:
        trips, residences, received = (
            self.negative_round_trips,
            self.negative_residences,
            self.received,
        )
        if trips:
            blame = REFLECTOR if trips > self.clock_back else OUR_CLOCK
            yield f"{trips} of {received} round trips are negative: {blame}"
        if residences:
            yield f"{residences} of {received} residences in the reflector are negative: {REFLECTOR}"
        if self.clock_back:
            yield f"{self.clock_back} of {received} replies came before their packets left: {OUR_CLOCK}"

    def _missing(self) -> Iterator[str]:
        if self.unstamped:
            yield (
                f"{self.unstamped} of {self.received} replies have a timestamp of 0, and so no delays: "
                f"{REFLECTOR}"
            )


def _doubt_of_clocks(metrics: Metrics) -> str:
    if not metrics.processing.count:
        return ""  # there is nothing to doubt
    free = [
        name
        for name, synchronized in (
            ("the sender's clock", metrics.sender_synchronized),
            ("the reflector's clock", metrics.reflector_synchronized),
        )
        if not synchronized
    ]
    if free:
        return f"{' and '.join(free)} {'are' if len(free) > 1 else 'is'} not synchronised"
    return "some one-way delays are negative, so the clocks differ" if metrics.clocks_apart else ""
