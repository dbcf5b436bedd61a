"""Offers what twping measures to Prometheus: counters and histograms by target and session.

Sessions are numbered from 0 for each target, and targets are those of the command line or the file, so the
labels are bounded; a SID is never a label.  Counters count since the start.  Delays are classic histograms,
which can be summed over any number of series; variation and hops are gauges of the latest report interval.
One-way delays are counted where they are known (:mod:`twamp.metrics.validity`), and no value below zero is.
Directions are ``forward`` (to the reflector), ``reverse`` and, of variation, ``round_trip``.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from twamp.metrics.histogram import Histogram
from twamp.metrics.sample import SOURCES
from twamp.metrics.tally import Tally
from twamp.metrics.validity import Validity

if TYPE_CHECKING:
    from prometheus_client import Metric

NS = 1_000_000_000
# 1, 2, 5 from 10 µs to 10 s.
BOUNDS_NS = (*(digit * 10**power for power in range(4, 10) for digit in (1, 2, 5)), 10 * NS)

Labels = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class SessionFigures:
    """One session of one target: ``totals`` since the start, ``last`` of the latest interval.

    ``trust_clocks``: one-way delays are taken as they are, though the clocks are not known to agree.
    ``bounds_ns``: the upper bounds of the buckets of delay, ascending.
    """

    labels: Labels  # target and session; none for a probe
    totals: Tally
    last: Tally | None
    trust_clocks: bool = False
    bounds_ns: Sequence[int] = BOUNDS_NS


@dataclass(frozen=True, kw_only=True)
class TargetState:
    """One target: whether it is measured now, and how often it was connected to."""

    target: str
    is_open: bool
    connections: int
    sessions: Sequence[SessionFigures]


class _Row(NamedTuple):
    name: str
    kind: str
    help: str


_HISTOGRAMS = (
    _Row("twamp_rtt_seconds", "histogram", "Round-trip time, less the reflector's processing."),
    _Row("twamp_delay_seconds", "histogram", "One-way delay, while both clocks are synchronised."),
)
_COUNTERS: Mapping[str, tuple[str, str]] = {
    "sent": ("sent", "Test packets that left."),
    "received": ("received", "Test packets whose reply came in time."),
    "reordered": ("reordered", "Test packets whose reply came after that of a later one."),
}


def bounds_of(seconds: Sequence[Decimal]) -> Sequence[int]:
    """The bounds of buckets in ns that ``metrics-buckets`` gives; ours where it gives none."""
    return [int(each * NS) for each in seconds] or BOUNDS_NS


def session_families(sessions: Sequence[SessionFigures]) -> Iterator["Metric"]:
    """Yields the metrics of sessions; without sessions only their names."""
    yield from _delays(sessions)
    yield from _counts(sessions)
    yield from _gauges(sessions)


def target_families(targets: Sequence[TargetState]) -> Iterator["Metric"]:
    """Yields the metrics of the sessions of all targets, and of their connections."""
    from prometheus_client import Metric

    yield from session_families([each for target in targets for each in target.sessions])
    connected = Metric("twamp_target_connected", "Whether the target is measured now.", "gauge")
    connections = Metric("twamp_target_connections", "Connections that were set up.", "counter")
    for target in targets:
        labels = {"target": target.target}
        connected.add_sample("twamp_target_connected", labels, int(target.is_open))
        connections.add_sample("twamp_target_connections_total", labels, target.connections)
    yield from (connected, connections)


def _delays(sessions: Sequence[SessionFigures]) -> Iterator["Metric"]:
    from prometheus_client import Metric

    round_trip, one_way = (Metric(row.name, row.help, row.kind) for row in _HISTOGRAMS)
    for session in sessions:
        totals = session.totals
        delay = totals.round_trip.delay
        total_ns, bounds_ns = delay.total - totals.below_zero_ns, session.bounds_ns
        _add_histogram(round_trip, session.labels, delay, total_ns, bounds_ns)
        there, back = totals.known_send, totals.known_reflect
        if session.trust_clocks:
            there, back = totals.send.delay, totals.reflect.delay
        for direction, known in (("forward", there), ("reverse", back)):
            if known.count:
                labels = {**session.labels, "direction": direction}
                _add_histogram(one_way, labels, known, known.total, bounds_ns)
    yield from (round_trip, one_way)


def _add_histogram(
    metric: "Metric",
    labels: Labels,
    histogram: Histogram,
    total_ns: int,
    bounds_ns: Sequence[int],
) -> None:
    """Without the values below zero, as a sum that falls is a counter that began anew to Prometheus."""
    negative = histogram.count_below(0)
    counts = histogram.at_most(bounds_ns)
    for bound, count in zip(bounds_ns, counts, strict=True):
        in_bucket = {**labels, "le": f"{bound / NS!r}"}
        metric.add_sample(f"{metric.name}_bucket", in_bucket, count - negative)
    whole = histogram.count - negative
    metric.add_sample(f"{metric.name}_bucket", {**labels, "le": "+Inf"}, whole)
    metric.add_sample(f"{metric.name}_count", dict(labels), whole)
    metric.add_sample(f"{metric.name}_sum", dict(labels), total_ns / NS)


def _counts(sessions: Sequence[SessionFigures]) -> Iterator["Metric"]:
    from prometheus_client import Metric

    for name, (field, help) in _COUNTERS.items():
        metric = Metric(f"twamp_packets_{name}", help, "counter")
        for session in sessions:
            value = getattr(session.totals, field)
            metric.add_sample(f"{metric.name}_total", dict(session.labels), value)
        yield metric
    duplicate = Metric("twamp_packets_duplicate", "Further replies to answered packets.", "counter")
    lost = Metric(
        "twamp_packets_lost", "Test packets without a reply in time, by where they went.", "counter"
    )
    stalls = Metric("twamp_sender_stalls", "Times that sending had to wait for us.", "counter")
    for session in sessions:
        totals, labels = session.totals, session.labels
        copies = totals.send_duplicates + totals.reflect_duplicates
        duplicate.add_sample(f"{duplicate.name}_total", dict(labels), copies)
        stalls.add_sample(f"{stalls.name}_total", dict(labels), totals.stalls)
        for direction, count in totals.loss._asdict().items():
            lost.add_sample(f"{lost.name}_total", {**labels, "direction": direction}, count)
    yield from (duplicate, lost, stalls, _impossible(sessions), _stamps(sessions))


def _impossible(sessions: Sequence[SessionFigures]) -> "Metric":
    from prometheus_client import Metric

    help = "Replies whose times cannot be true, by what is wrong with them."
    impossible = Metric("twamp_packets_impossible", help, "counter")
    for session in sessions:
        validity = Validity.of(session.totals.metrics())
        for what, count in (
            ("negative_round_trip", validity.negative_round_trips),
            ("negative_residence", validity.negative_residences),
            ("unstamped", validity.unstamped),
            ("clock_set_back", validity.clock_back),
        ):
            labels = {**session.labels, "what": what}
            impossible.add_sample(f"{impossible.name}_total", labels, count)
    return impossible


def _stamps(sessions: Sequence[SessionFigures]) -> "Metric":
    from prometheus_client import Metric

    help = "Test packets by the point of a timestamp and by what took it."
    stamps = Metric("twamp_timestamp_packets", help, "counter")
    for session in sessions:
        totals = session.totals
        for point, sources in (("T1", totals.t1_sources), ("T4", totals.t4_sources)):
            for source in SOURCES[1:]:
                labels = {**session.labels, "point": point, "source": source}
                stamps.add_sample(f"{stamps.name}_total", labels, sources[source])
    return stamps


def _gauges(sessions: Sequence[SessionFigures]) -> Iterator["Metric"]:
    from prometheus_client import Metric

    variation = Metric(
        "twamp_delay_variation_seconds", "Delay variation in the latest interval.", "gauge"
    )
    hops = Metric("twamp_hops", "Routers passed, by most packets of the latest interval.", "gauge")
    for session in sessions:
        last = session.last
        if last is None or not last.received:
            continue
        for direction, kind in (
            ("round_trip", last.round_trip),
            ("forward", last.send),
            ("reverse", last.reflect),
        ):
            methods = {
                "p95_p50": kind.delay.p95_p50,
                "pdv_p99": kind.pdv.percentile(99),
                "ipdv_p99": kind.ipdv.percentile(99),
            }
            for method, value in methods.items():
                if value is not None:
                    labels = {**session.labels, "direction": direction, "method": method}
                    variation.add_sample(variation.name, labels, value / NS)
        for direction, seen in (("forward", last.send_hops), ("reverse", last.reflect_hops)):
            labels = {**session.labels, "direction": direction}
            hops.add_sample(hops.name, labels, _most_common(seen))
    yield from (variation, hops, *_clocks(sessions))


def _clocks(sessions: Sequence[SessionFigures]) -> Iterator["Metric"]:
    from prometheus_client import Metric

    synchronized = Metric(
        "twamp_clock_synchronized",
        "Whether an end said in all of the latest interval that its clock is synchronised.",
        "gauge",
    )
    known = Metric(
        "twamp_one_way_known",
        "Whether one-way delays of the latest interval are known: clocks synchronised, none negative.",
        "gauge",
    )
    for session in sessions:
        if session.last is None or session.last.received == session.last.unstamped:
            continue
        metrics = session.last.metrics()
        validity = Validity.of(metrics)
        for end, value in (
            ("sender", metrics.sender_synchronized),
            ("reflector", metrics.reflector_synchronized),
        ):
            synchronized.add_sample(synchronized.name, {**session.labels, "end": end}, int(value))
        is_known = not validity.one_way and not validity.delays
        known.add_sample(known.name, dict(session.labels), int(is_known))
    yield from (synchronized, known)


def _most_common(counts: Counter[int]) -> int:
    [(value, _)] = counts.most_common(1)
    return value
