"""Turns the samples of sessions into figures: delay, variation, loss, reordering, duplication.

Only the first reply to a packet counts for delay.  One that took longer than the loss timeout from
T1 to T4 is lost, and also counted as late.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twamp.metrics.columns import Columns, OffersColumns, columns_of
from twamp.metrics.figures import Delay, Hops, Metrics, by_source, by_value
from twamp.metrics.sample import SOURCES, Measurement


def measure(*measurements: Measurement) -> Metrics:
    """The metrics of one session, or of several together (:meth:`.Metrics.together`)."""
    return Metrics.together([_measure(each) for each in measurements])


@dataclass(frozen=True)
class Results:
    """A run, measured once: ``metrics`` of each session, and the ``total`` of all together.

    Every report, threshold, plot and exit code takes it, so nothing is measured again.  With one
    session the total is that session's object.  An interval of a continuous measurement keeps no
    samples, so it has metrics, and no ``measurements``.
    """

    metrics: Sequence[Metrics]
    total: Metrics
    measurements: Sequence[Measurement] = ()

    @classmethod
    def of(cls, measurements: Sequence[Measurement]) -> "Results":
        """Measures each session, once."""
        return cls.of_metrics([_measure(each) for each in measurements], measurements)

    @classmethod
    def of_metrics(
        cls, metrics: Sequence[Metrics], measurements: Sequence[Measurement] = ()
    ) -> "Results":
        return cls(metrics, Metrics.together(metrics), measurements)

    @property
    def ended(self) -> str:
        """Why the far end ended the run before it was over; empty if it did not."""
        ends = (measurement.incidents.ended for measurement in self.measurements)
        return next(filter(None, ends), "")

    def of_part(self, part: Measurement) -> Metrics:
        """The metrics of a session, or of a part of one (:mod:`twamp.metrics.cut`)."""
        for measurement, metrics in zip(self.measurements, self.metrics, strict=True):
            if part is measurement:
                return metrics
        return _measure(part)


def _measure(measurement: Measurement) -> Metrics:
    samples = measurement.samples
    columns = samples.columns(measurement) if isinstance(samples, OffersColumns) else None
    return _metrics(measurement, columns or columns_of(measurement))


def _metrics(measurement: Measurement, columns: Columns) -> Metrics:
    errors = columns.errors
    *three, processing = columns.delays
    one_way = errors.one_way_ns
    both_ways = None if one_way is None else 2 * one_way
    round_trip, send, reflect = (
        Delay.of_session(delay, ipdv, jitter=jitter, error_ns=error_ns)
        for delay, ipdv, jitter, error_ns in zip(
            three, columns.ipdv, columns.jitter, (both_ways, one_way, one_way), strict=True
        )
    )
    return Metrics(
        first=columns.first,
        last=columns.last,
        sent=columns.sent,
        received=processing.count + columns.unstamped,
        unstamped=columns.unstamped,
        clock_back=columns.clock_back,
        loss=columns.loss,
        send_duplicates=columns.send_duplicates,
        reflect_duplicates=columns.reflect_duplicates,
        reordering=columns.reordering,
        round_trip=round_trip,
        send=send,
        reflect=reflect,
        processing=processing,
        send_hops=Hops.of_ttls(columns.sender_ttls),
        reflect_hops=Hops.of_ttls(columns.ttls),
        sender_synchronized=errors.sender_synchronized,
        reflector_synchronized=errors.reflector_synchronized,
        sender_error_ns=errors.sender_ns,
        reflector_error_ns=errors.reflector_ns,
        t1_sources=_named(columns.t1_sources),
        t4_sources=_named(columns.t4_sources),
        reflect_dscp=_shifted(columns.tos, 2, 63),
        reflect_ecn=_shifted(columns.tos, 0, 3),
        lateness=columns.lateness,
        drops=dict(measurement.drops),
        send_errors=measurement.send_errors,
        icmp={kind: count for kind, count in measurement.incidents.icmp.items() if count},
        not_measured=measurement.incidents.not_measured,
    )


def _named(sources: Mapping[int, int]) -> dict[str, int]:
    return by_source({SOURCES[source]: count for source, count in sources.items()})


def _shifted(tos: Mapping[int, int], shift: int, mask: int) -> dict[int, int]:
    """Packets by the bits of TOS that are left above ``shift`` and in ``mask``."""
    result: Counter[int] = Counter()
    for value, count in tos.items():
        result[value >> shift & mask] += count
    return by_value(result)
