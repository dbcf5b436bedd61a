"""The summary of a run as text.

It keeps the lines that perfSONAR's twping prints, since programs read them; our own lines come below
those.  Times are in the unit of the :class:`~twamp.report.units.Style`.
"""

import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from textwrap import indent

from twamp.metrics.figures import Delay, Hops, Metrics
from twamp.metrics.measure import Results
from twamp.metrics.sample import Measurement
from twamp.metrics.values import Values
from twamp.protocol.timestamps import NS, unix_ns_from_ntp
from twamp.report.units import UNITS, Style, Unit, percent_text


def text_summary(measurement: Measurement, metrics: Metrics, style: Style) -> str:
    """The reference's block for one session, and our lines below it."""
    return heading(measurement) + text_figures(metrics, style)


def text_total(results: Results, style: Style) -> str:
    """The same lines for all sessions together.

    They are indented: readers of the reference's text would take them for the last session's.
    """
    title = f"\n--- twping statistics of {len(results.metrics)} sessions together ---\n"
    return title + indent(text_figures(results.total, style), "  ")


def heading(measurement: Measurement) -> str:
    """The session's ends and SID; the reference writes them above packets and above the summary."""
    source, destination = (
        f"[{host or endpoint.address}]:{endpoint.port}"
        for endpoint, host in (
            (measurement.source, measurement.source_host),
            (measurement.destination, measurement.destination_host),
        )
    )
    ends = f"from {source} to {destination}"
    return f"\n--- twping statistics {ends} ---\nSID:\t{measurement.sid.hex()}\n"


def text_figures(metrics: Metrics, style: Style) -> str:
    """The lines of all figures, of a finite run or of an interval."""
    lines = [*_reference_lines(metrics, style), *_further_lines(metrics, style.unit)]
    return "\n".join(lines) + "\n\n"  # an empty line ends it, as readers of the reference's expect


def _reference_lines(metrics: Metrics, style: Style) -> Iterator[str]:
    unit = style.unit
    yield f"first:\t{_local_time(metrics.first)}"
    yield f"last:\t{_local_time(metrics.last)}"
    yield (
        f"{metrics.sent} sent, {metrics.lost} lost ({percent_text(metrics.lost, metrics.sent)}), "
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
    """Our own lines, which come below the reference's, as programs match those."""
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
    if metrics.not_measured:
        yield f"not measured: {metrics.not_measured} packets, because the far end ended the session"
    drops = ", ".join(f"{count} {name}" for name, count in metrics.drops.items() if count)
    if drops:
        yield f"dropped: {drops}"
    if metrics.stalls:
        yield f"sending stalled {metrics.stalls} times"
    if metrics.received:
        yield from _clock_lines(metrics)


def delay_table(metrics: Metrics) -> Iterator[str]:
    """Delays and their variation, a row each, in a unit that fits the medians and the longest."""
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
    """Four digits, or all those before the point; an unknown value is empty."""
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


def _min_median_max(values: Values, unit: Unit) -> str:
    three = "/".join(unit.text(each) for each in (values.minimum, values.median, values.maximum))
    return f"min/median/max = {three} {unit.name}"


def _error(kind: Delay, metrics: Metrics, unit: Unit) -> str:
    """The error of a delay; nan where the clocks are not synchronised, so that it would mean nothing.

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
