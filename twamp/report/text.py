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
from twamp.metrics.validity import Validity
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
    lines = [*_reference_lines(metrics, style), *_further_lines(metrics, style)]
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


def _further_lines(metrics: Metrics, style: Style) -> Iterator[str]:
    """Our own lines, which come below the reference's, as programs match those."""
    unit, validity = style.unit, Validity.of(metrics)
    above_least = bool(validity.one_way) and not style.trust_clocks
    if metrics.processing.count:
        yield from delay_table(metrics, above_least=above_least)
    yield from (f"impossible: {line}" for line in validity.lines())
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
    icmp = ", ".join(f"{count} {kind}" for kind, count in metrics.icmp.items())
    if icmp:
        yield f"ICMP errors: {icmp}"
    if metrics.not_measured:
        yield f"not measured: {metrics.not_measured} packets, because the far end ended the session"
    drops = ", ".join(f"{count} {name}" for name, count in metrics.drops.items() if count)
    if drops:
        yield f"dropped: {drops}"
    if metrics.stalls:
        yield f"sending stalled {metrics.stalls} times"
    if validity.one_way:
        shown = ", and are shown above their least" if above_least else ""
        yield (
            f"clocks: {validity.one_way}; "
            f"send and reflect times include the offset between the clocks{shown}"
        )


def delay_table(metrics: Metrics, *, above_least: bool = False) -> Iterator[str]:
    """Delays and their variation, a row each, in the unit that fits it.

    With ``above_least`` forward and reverse delays, which no clocks agree on, are PDV.
    """
    kinds = [
        ("round trip", metrics.round_trip),
        ("forward", metrics.send),
        ("reverse", metrics.reflect),
    ]
    known = kinds[:1] if above_least else kinds
    rows = [
        *((name, kind.delay, kind.jitter) for name, kind in known),
        *((f"{name} PDV", kind.pdv, None) for name, kind in known),
        *((f"{name} above min", kind.pdv, kind.jitter) for name, kind in kinds[len(known) :]),
        *((f"{name} IPDV", kind.ipdv, None) for name, kind in kinds),
        ("in the reflector", metrics.processing, None),
    ]
    yield f"{'delays':<20}" + "".join(f" {head:>6}" for head in _TABLE_HEADS)
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
        unit = _fitting_unit(values)
        shown = "".join(f" {_fixed(cell, unit):>6}" for cell in cells)
        yield f"{name:<18}{unit.name:<2}{shown}".rstrip()


LONGEST_CELL = 99_999  # of a unit: with its sign six characters

_TABLE_HEADS = ("min", "mean", "median", "P95", "P99", "max", "stddev", "jitter")


def _fitting_unit(values: Values) -> Unit:
    """The largest in which the median is 1 or more, or one in which all cells are short."""
    longest = max(abs(end or 0) for end in (values.minimum, values.maximum))
    least_ns = max(abs(values.median or 0), 1)
    return max(
        (
            unit
            for unit in UNITS.values()
            if unit.ns <= least_ns or (unit.ns // 1000) * LONGEST_CELL <= longest
        ),
        key=lambda unit: unit.ns,
    )


def _fixed(value_ns: int | None, unit: Unit) -> str:
    """Four digits, or all those before the point; an unknown value is empty."""
    if value_ns is None:
        return ""
    value = value_ns / unit.ns
    before = len(str(int(float(f"{abs(value):.4g}"))))  # as rounded: 99.995 is 100.0
    return f"{value:.{0 if unit.ns == 1 else max(4 - before, 0)}f}"


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
