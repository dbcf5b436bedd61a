"""Metrics as text, as raw rows, as JSON.

The text summary and the raw rows keep the lines and columns that perfSONAR's twping prints, since
programs read them; what is ours comes below those lines.  Every function returns text, lines or the
tree that JSON is made of; times are in the unit of the :class:`Style`, in JSON integer nanoseconds.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from textwrap import indent
from typing import Any, NamedTuple

from twamp.endpoint import Endpoint
from twamp.metrics.measure import (
    Delay,
    Distribution,
    Hops,
    Measurement,
    Metrics,
    Reordering,
    Sample,
    delays,
    is_late,
    measure,
)
from twamp.protocol.timestamps import (
    NS,
    ErrorEstimate,
    difference_ns,
    unix_ns_from_ntp,
)
from twamp.report.saved_run import samples_tree

JSON_PERCENTILES = (Decimal(50), Decimal(90), Decimal(95), Decimal(99), Decimal("99.9"))
DEFINITIONS: Mapping[str, str] = {
    "percentiles": "nearest rank: values that occurred",
    "round-trip-time": "(T4-T1)-(T3-T2)",
    "send-time": "T2-T1",
    "reflect-time": "T4-T3",
    "pdv": "P95-P50",
    "pdv-rfc5481": "delay less the least delay of the session",
    "ipdv-rfc3393": "delay less that of the packet sent just before",
    "jitter-rfc3550": "RFC 3550 section 6.4.1, in the order of arrival, after the last packet",
    "stddev": "of the values measured (population)",
    "sending-lateness": "T1 as read before the send, less the scheduled time",
    "reordered": "RFC 4737 Type-P-Reordered",
    "lost": "by direction as far as the reflector's numbers tell",
}


class Unit(NamedTuple):
    """A unit of time: its name and how many nanoseconds it has."""

    name: str
    ns: int

    def text(self, value_ns: int | None) -> str:
        """Three significant digits, as the reference writes times."""
        return "nan" if value_ns is None else f"{value_ns / self.ns:.3g}"


UNITS: Mapping[str, Unit] = {
    "n": Unit("ns", 1),
    "u": Unit("us", 1_000),
    "m": Unit("ms", 1_000_000),
    "s": Unit("s", NS),
}


@dataclass(frozen=True, kw_only=True)
class Style:
    """How text is written: the unit of times, percentiles to add, Unix times beside packets."""

    unit: Unit = UNITS["m"]
    percentiles: tuple[Decimal, ...] = ()
    unix_time: bool = False


# ---- the text summary ----------------------------------------------------------------------------


def text_summary(measurement: Measurement, style: Style) -> str:
    """The reference's block for one session, and our lines below it."""
    return heading(measurement) + _block(measure(measurement), style)


def text_total(measurements: Sequence[Measurement], style: Style) -> str:
    """The same lines for all sessions together.

    They are indented: readers of the reference's text would take them for the last session's.
    """
    title = f"\n--- twping statistics of {len(measurements)} sessions together ---\n"
    return title + indent(_block(measure(*measurements), style), "  ")


def heading(measurement: Measurement) -> str:
    """Whose lines follow: the reference writes it above the packets and above the summary."""
    source, destination = (
        f"[{host or endpoint.address}]:{endpoint.port}"
        for endpoint, host in (
            (measurement.source, measurement.source_host),
            (measurement.destination, measurement.destination_host),
        )
    )
    ends = f"from {source} to {destination}"
    return f"\n--- twping statistics {ends} ---\nSID:\t{measurement.sid.hex()}\n"


def _block(metrics: Metrics, style: Style) -> str:
    lines = [*_reference_lines(metrics, style), *_further_lines(metrics, style.unit)]
    return "\n".join(lines) + "\n\n"  # an empty line ends it, as readers of the reference's expect


def _reference_lines(metrics: Metrics, style: Style) -> Iterator[str]:
    unit = style.unit
    yield f"first:\t{_local_time(metrics.first)}"
    yield f"last:\t{_local_time(metrics.last)}"
    yield (
        f"{metrics.sent} sent, {metrics.lost} lost ({_percent(metrics.lost, metrics.sent)}), "
        f"{metrics.send_duplicates} send duplicates, "
        f"{metrics.reflect_duplicates} reflect duplicates"
    )
    for name, kind in (
        ("round-trip time", metrics.round_trip),
        ("send time", metrics.send),
        ("reflect time", metrics.reflect),
    ):
        yield f"{name} {_min_median_max(kind.delay, unit)}, {_error(kind, metrics, unit)}"
    least, most = metrics.processing.minimum, metrics.processing.maximum
    yield (f"reflector processing time min/max = {unit.text(least)}/{unit.text(most)} {unit.name}")
    for name, kind in (
        ("two-way", metrics.round_trip),
        ("send", metrics.send),
        ("reflect", metrics.reflect),
    ):
        yield f"{name} jitter = {unit.text(kind.delay.p95_p50)} {unit.name} (P95-P50)"
    if style.percentiles:
        yield "Percentiles:"
    for percent in style.percentiles:
        value = metrics.round_trip.delay.percentile(Fraction(percent))
        yield f"\t{_percentile(percent)}: {unit.text(value)} {unit.name}"
    yield _hops("send", metrics.send_hops)
    yield _hops("reflect", metrics.reflect_hops)


def _further_lines(metrics: Metrics, unit: Unit) -> Iterator[str]:
    """What the reference does not say: below its lines, so that nobody's pattern is disturbed."""
    if metrics.received:
        yield from delay_table(metrics)
    if metrics.lost:
        loss = metrics.loss
        yield (
            f"lost: {loss.forward} on the way there, {loss.reverse} on the way back, "
            f"{loss.unknown} unknown, {loss.late} late"
        )
    order = metrics.reordering
    yield (
        f"reordered: {order.round_trip} ({order.forward} on the way there, "
        f"{order.reverse} on the way back)"
    )
    yield f"timestamps: T1 {_shares(metrics.t1_sources)}; T4 {_shares(metrics.t4_sources)}"
    late = metrics.lateness
    yield (
        f"sent after the schedule: median/P99/max = {unit.text(late.median)}/"
        f"{unit.text(late.percentile(99))}/{unit.text(late.maximum)} {unit.name}"
    )
    if set(metrics.reflect_dscp) - {0} or set(metrics.reflect_ecn) - {0}:
        yield f"replies came with DSCP {_counts(metrics.reflect_dscp)}; ECN {_counts(metrics.reflect_ecn)}"
    if metrics.send_errors:
        yield f"not sent: {metrics.send_errors} (refused by the kernel)"
    drops = ", ".join(f"{count} {name}" for name, count in metrics.drops.items() if count)
    if drops:
        yield f"dropped: {drops}"
    if metrics.received:
        yield from _clock_lines(metrics)


def delay_table(metrics: Metrics) -> Iterator[str]:
    """Delays and their variation, a row each, in a unit that fits the medians and holds the longest."""
    kinds = [
        ("round trip", metrics.round_trip),
        ("forward", metrics.send),
        ("reverse", metrics.reflect),
    ]
    rows = [
        *((name, kind.delay, kind.jitter) for name, kind in kinds),
        *((f"{name} PDV", kind.pdv, None) for name, kind in kinds),
        *((f"{name} IPDV", kind.ipdv, None) for name, kind in kinds),
        ("in the reflector", metrics.processing, None),
    ]
    longest = max(
        abs(end or 0) for _, values, _ in rows for end in (values.minimum, values.maximum)
    )
    medians = (abs(kind.delay.median or 0) for _, kind in kinds)
    unit = _fitting_unit(max(*medians, longest // LONGEST_CELL))
    yield f"{f'delays in {unit.name}':<18}" + "".join(f"{head:>10}" for head in _TABLE_HEADS)
    for name, values, jitter in rows:
        cells = [
            values.minimum,
            values.mean,
            values.median,
            values.percentile(95),
            values.percentile(99),
            values.maximum,
            values.standard_deviation,
            jitter,
        ]
        yield (f"{name:<18}" + "".join(f"{_fixed(cell, unit):>10}" for cell in cells)).rstrip()


LONGEST_CELL = 100_000  # of a unit

_TABLE_HEADS = ("min", "mean", "median", "P95", "P99", "max", "stddev", "jitter")


def _fitting_unit(value_ns: int) -> Unit:
    """The largest in which it is 1 or more."""
    return max(
        (unit for unit in UNITS.values() if unit.ns <= max(value_ns, 1)), key=lambda unit: unit.ns
    )


def _fixed(value_ns: int | None, unit: Unit) -> str:
    """Four digits, or all those before the point; nothing for what is not known."""
    if value_ns is None:
        return ""
    value = value_ns / unit.ns
    before = len(str(abs(int(value))))
    return f"{value:.{0 if unit.ns == 1 else max(4 - before, 0)}f}"


def _clock_lines(metrics: Metrics) -> Iterator[str]:
    if not metrics.synchronized:
        free = [
            name
            for name, synchronized in (
                ("the sender's", metrics.sender_synchronized),
                ("the reflector's", metrics.reflector_synchronized),
            )
            if not synchronized
        ]
        yield (
            f"clocks: {' and '.join(free)} not synchronised; "
            "send and reflect times include the offset between the clocks"
        )
    elif metrics.clocks_apart:
        yield (
            "clocks: some one-way delays are negative, so the clocks differ; "
            "send and reflect times include that offset"
        )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0.0:.3f}%"


def _percentile(percent: Decimal) -> str:
    """At least one decimal, as the reference writes it."""
    text = f"{percent:f}"
    return text if "." in text else text + ".0"


def _local_time(timestamp: int | None) -> str:
    """Local time without a zone, to the millisecond, as the reference writes it."""
    if timestamp is None:
        return "nan"
    seconds, ns = divmod(unix_ns_from_ntp(timestamp), NS)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(seconds))}.{ns // 1_000_000:03d}"


def _min_median_max(values: Distribution, unit: Unit) -> str:
    three = "/".join(unit.text(each) for each in (values.minimum, values.median, values.maximum))
    return f"min/median/max = {three} {unit.name}"


def _error(kind: Delay, metrics: Metrics, unit: Unit) -> str:
    """An error that stands on clocks nobody keeps would be a number without a meaning: nan.

    ``(unsync)`` is for no delay at all; readers of the reference's text pass over lines with it.
    """
    if kind.error_ns is None:
        return "(unsync)"
    return f"(err={unit.text(kind.error_ns if metrics.synchronized else None)} {unit.name})"


def _hops(way: str, hops: Hops) -> str:
    if not hops.distinct:
        return f"{way} TTL not reported"
    if hops.distinct == 1:
        return f"{way} hops = {hops.minimum} (consistently)"
    return (
        f"{way} hops takes {hops.distinct} values; "
        f"min hops = {hops.minimum}, max hops = {hops.maximum}"
    )


def _counts(values: Mapping[int, int]) -> str:
    return ", ".join(
        f"{value}" if len(values) == 1 else f"{value} ({count})" for value, count in values.items()
    )


def _shares(sources: Mapping[str, int]) -> str:
    whole = sum(sources.values())
    shares = (f"{name} {100 * count / whole:.4g}%" for name, count in sources.items())
    return ", ".join(shares) or "none"


# ---- packet by packet ----------------------------------------------------------------------------


def packets(measurement: Measurement) -> Iterator[tuple[Sample, bool]]:
    """Every reply, copies too, and every lost packet, in the order in which its fate was known.

    Replies stand as they arrived: who reads the rows takes reordering from their order, as of the
    reference's.  A lost packet stands where its loss timeout ran out; a late reply and its copies
    nowhere.  The flag says whether it counts as lost; packets that never left are left out.
    """
    timeout_ns = measurement.loss_timeout_ns
    sent = [sample for sample in measurement.samples if sample.t1_source]
    waiting = deque(sample for sample in sent if not sample.rank or is_late(sample, timeout_ns))
    lost = {sample.sequence_number for sample in waiting}
    replies = (
        sample for sample in (*sent, *measurement.duplicates) if sample.sequence_number not in lost
    )
    for reply in sorted(replies, key=lambda sample: sample.rank):
        while waiting and difference_ns(reply.t4, waiting[0].t1) > timeout_ns:
            yield waiting.popleft(), True
        yield reply, False
    yield from ((sample, True) for sample in waiting)


_NO_REPLY = (f"{0:020d}", 0, 0)


def raw_rows(measurement: Measurement) -> Iterator[str]:
    """A row for each of :func:`packets`; a lost one has zeros in all but the first four columns.

    The 16 are SSEQ STIME SS SERR SRTIME SRS SRERR STTL RSEQ RSTIME RSS RSERR RTIME RS RERR RTTL:
    number, T1, T2 and TTL on the way there, number, T3, T4 and TTL on the way back; behind each time
    its synchronised bit and its error in seconds.
    """
    for sample, lost in packets(measurement):
        here = ErrorEstimate.from_int(sample.sender_error_estimate)
        there = ErrorEstimate.from_int(sample.reflector_error_estimate)
        columns: tuple[object, ...] = (sample.sequence_number, *_raw_time(sample.t1, here))
        if lost:
            columns += (*_NO_REPLY, 0, 0, *_NO_REPLY, *_NO_REPLY, 0)
        else:
            columns += (
                *_raw_time(sample.t2, there),
                sample.sender_ttl,
                sample.reflector_sequence_number,
                *_raw_time(sample.t3, there),
                *_raw_time(sample.t4, here),
                sample.ttl,
            )
        yield " ".join(map(str, columns))


def _raw_time(timestamp: int, estimate: ErrorEstimate) -> tuple[str, int, str]:
    """A time, its synchronised bit and its error in seconds."""
    error = estimate.multiplier * 2.0 ** (estimate.scale - 32)
    return f"{timestamp:020d}", int(estimate.synchronized), f"{error:g}"


def packet_lines(measurement: Measurement, style: Style) -> Iterator[str]:
    """The delays of each packet, as the reference's ``-v`` writes them."""
    for sample, lost in packets(measurement):
        if lost:
            yield f"seq_no={sample.sequence_number:<10} *LOST*"
        else:
            yield _packet_line(sample, style)


def _packet_line(sample: Sample, style: Style) -> str:
    unit, name = style.unit, style.unit.name
    one = delays(sample)
    error_ns = 2 * sum(
        ErrorEstimate.from_int(estimate).error_ns
        for estimate in (sample.sender_error_estimate, sample.reflector_error_estimate)
    )
    values = {
        "fwd_delay": one.send,
        "bck_delay": one.reflect,
        "delay": one.round_trip,
        "proc_delay": one.processing,
    }
    error = f"(err={unit.text(error_ns)} {name})"
    if not style.unix_time:
        shown = " ".join(f"{key}={unit.text(value)} {name}" for key, value in values.items())
        return f"seq_no={sample.sequence_number:<10} {shown}\t{error}"
    shown = " ".join(f"{key}={value / unit.ns:e} {name}" for key, value in values.items())
    sent, received, reflected, returned = map(
        unix_time, (sample.t1, sample.t2, sample.t3, sample.t4)
    )
    return (
        f"seq_no={sample.sequence_number} {shown} {error} "
        f"sent={sent} recv={received} reflected={reflected} recv={returned}"
    )


def unix_time(timestamp: int) -> str:
    """Unix seconds to the microsecond."""
    seconds, us = divmod((unix_ns_from_ntp(timestamp) + 500) // 1000, 1_000_000)
    return f"{seconds}.{us:06d}"


# ---- JSON ----------------------------------------------------------------------------------------


def json_tree(
    measurements: Sequence[Measurement],
    *,
    version: str,
    configuration: Mapping[str, Any],
    percentiles: Sequence[Decimal] = (),
    with_samples: bool = False,
) -> dict[str, Any]:
    """The report as a tree; ``json.dumps`` takes it.  Times are integer ns; unknown is null."""
    wanted = sorted({*JSON_PERCENTILES, *percentiles})
    return {
        "program": "twping",
        "version": version,
        "units": "ns",
        "definitions": dict(DEFINITIONS),
        "configuration": dict(configuration),
        "results": [
            {
                "sid": measurement.sid.hex(),
                "source": _json_end(measurement.source),
                "destination": _json_end(measurement.destination),
                **_json_metrics(measure(measurement), wanted),
                **({"samples": samples_tree(measurement)} if with_samples else {}),
            }
            for measurement in measurements
        ],
        "total": _json_metrics(measure(*measurements), wanted),
    }


def _json_end(endpoint: Endpoint) -> dict[str, Any]:
    return {"address": str(endpoint.address), "port": endpoint.port}


def _json_metrics(metrics: Metrics, percentiles: Sequence[Decimal]) -> dict[str, Any]:
    return {
        "packets": {
            "time-of-first": _json_time(metrics.first),
            "time-of-last": _json_time(metrics.last),
            "num-pkts-sent": metrics.sent,
            "num-pkts-received": metrics.received,
            "num-pkts-lost": metrics.lost,
            "send-duplicates": metrics.send_duplicates,
            "reflect-duplicates": metrics.reflect_duplicates,
            "send-errors": metrics.send_errors,
            "lost": metrics.loss._asdict(),
            "reordered": _json_reordering(metrics.reordering),
            "dropped": {name: count for name, count in metrics.drops.items() if count},
        },
        "round-trip-time": _json_delay(metrics.round_trip, percentiles),
        "send-time": _json_delay(metrics.send, percentiles),
        "reflect-time": _json_delay(metrics.reflect, percentiles),
        "reflector-processing-time": _json_values(metrics.processing, percentiles),
        "sending-lateness": _json_values(metrics.lateness, percentiles),
        "send-hops": _json_hops(metrics.send_hops),
        "reflect-hops": _json_hops(metrics.reflect_hops),
        "synchronized": {
            "sender": metrics.sender_synchronized,
            "reflector": metrics.reflector_synchronized,
            "clocks-apart": metrics.clocks_apart,
        },
        "error-estimates": {
            "sender": metrics.sender_error_ns,
            "reflector": metrics.reflector_error_ns,
        },
        "reflect-dscp": {str(value): count for value, count in metrics.reflect_dscp.items()},
        "reflect-ecn": {str(value): count for value, count in metrics.reflect_ecn.items()},
        "timestamp-sources": {"t1": dict(metrics.t1_sources), "t4": dict(metrics.t4_sources)},
    }


def _json_time(timestamp: int | None) -> int | None:
    return None if timestamp is None else unix_ns_from_ntp(timestamp)


def _json_reordering(reordering: Reordering) -> dict[str, int]:
    return {
        "round-trip": reordering.round_trip,
        "forward": reordering.forward,
        "reverse": reordering.reverse,
    }


def _json_hops(hops: Hops) -> dict[str, int | None]:
    return {"diff-num-ttl": hops.distinct, "min": hops.minimum, "max": hops.maximum}


def _json_delay(kind: Delay, percentiles: Sequence[Decimal]) -> dict[str, Any]:
    return {
        **_json_values(kind.delay, percentiles),
        "error": kind.error_ns,
        "pdv": kind.delay.p95_p50,
        "jitter-rfc3550": kind.jitter,
        "pdv-rfc5481": _json_values(kind.pdv, percentiles),
        "ipdv-rfc3393": _json_values(kind.ipdv, percentiles),
    }


def _json_values(values: Distribution, percentiles: Sequence[Decimal]) -> dict[str, Any]:
    return {
        "min": values.minimum,
        "median": values.median,
        "max": values.maximum,
        "mean": values.mean,
        "stddev": values.standard_deviation,
        "percentiles": {f"{each:f}": values.percentile(Fraction(each)) for each in percentiles},
    }
