"""An interval of a continuous measurement: a line of text, one JSON object in a line, or rows.

The figures are those of a finite run, in the same words, keys and columns; percentiles come from a
histogram and are right to 0.1 %.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from twamp.metrics.figures import Metrics
from twamp.metrics.interval import ReportInterval
from twamp.metrics.measure import Results
from twamp.metrics.threshold import Failure
from twamp.metrics.validity import Validity
from twamp.protocol.timestamps import NS
from twamp.report.json_tree import failures_tree, metrics_tree
from twamp.report.rows import csv_row, influx_point
from twamp.report.text import text_figures
from twamp.report.units import Style, percent_text

# ---- text ----------------------------------------------------------------------------------------


def interval_line(interval: ReportInterval, results: Results, style: Style, *, named: bool) -> str:
    """An interval in one line, with its target's name where there is more than one."""
    name = f"{interval.target}: " if named else ""
    times = f"{_clock_time(interval.begin_ns)}–{_clock_time(interval.end_ns)}"
    if not interval.measured:
        return f"{times} {name}nothing could be measured: {interval.reason}\n"
    metrics, unit = results.total, style.unit
    lost = percent_text(metrics.lost, metrics.sent)
    parts = [f"{metrics.sent} sent, {metrics.lost} lost ({lost})"]
    if metrics.received:
        delay = metrics.round_trip.delay
        wanted = style.percentiles or (Decimal(99),)
        names = "/".join(("min", "median", *(f"P{percent:f}" for percent in wanted), "max"))
        values = (
            delay.minimum,
            delay.median,
            *(delay.percentile(Fraction(percent)) for percent in wanted),
            delay.maximum,
        )
        parts += [
            f"round-trip time {names} = {'/'.join(map(unit.text, values))} {unit.name}",
            f"jitter = {unit.text(delay.p95_p50)} {unit.name} (P95-P50)",
        ]
    parts += _troubles(metrics)
    if interval.reason:
        seconds = interval.measured_ns / NS
        parts.append(f"measured for {seconds:.1f} s of it: {interval.reason}")
    return f"{times} {name}{', '.join(parts)}\n"


def total_block(interval: ReportInterval, results: Results, style: Style) -> str:
    """Everything since the start: how long it was measured, and the lines of a finite run."""
    seconds = (interval.end_ns - interval.begin_ns) / NS
    lines = [
        f"\n--- twping totals of {interval.target} ---",
        f"{seconds:.1f} s, measured for {interval.measured_ns / NS:.1f} s of it",
    ]
    if interval.reason:
        lines.append(f"last trouble: {interval.reason}")
    return "\n".join(lines) + "\n" + text_figures(results.total, style)


def _troubles(metrics: Metrics) -> list[str]:
    """The troubles, of which only those are mentioned that happened."""
    drops = ", ".join(f"{count} {name}" for name, count in metrics.drops.items())
    reordered = metrics.reordering.round_trip
    duplicates = metrics.send_duplicates + metrics.reflect_duplicates
    return [
        *([f"{duplicates} duplicates"] if duplicates else []),
        *([f"{reordered} reordered"] if reordered else []),
        *([f"{metrics.send_errors} not sent"] if metrics.send_errors else []),
        *([f"dropped: {drops}"] if drops else []),
        *([f"sending stalled {metrics.stalls} times"] if metrics.stalls else []),
        *Validity.of(metrics).lines(),
    ]


def _clock_time(unix_ns: int) -> str:
    """Local time, with its offset."""
    return datetime.fromtimestamp(unix_ns // NS).astimezone().isoformat()


# ---- JSON ----------------------------------------------------------------------------------------


def json_line(
    interval: ReportInterval,
    results: Results,
    kind: str,
    *,
    version: str,
    percentiles: Sequence[Decimal] = (),
    failures: Sequence[Failure] = (),
) -> str:
    """``kind`` is "interval" or "total"; ``failures``: of the thresholds that judge it."""
    total = results.total
    tree = {
        "program": "twping",
        "version": version,
        "units": "ns",
        "type": kind,
        "target": interval.target,
        "begin": interval.begin_ns,
        "end": interval.end_ns,
        "measured": interval.measured_ns,
        "reason": interval.reason or None,
        "resolution": float(total.round_trip.delay.resolution),
        **failures_tree(failures),
        **(metrics_tree(total, percentiles) if interval.measured else {}),
    }
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")) + "\n"


# ---- rows ----------------------------------------------------------------------------------------


def interval_csv(interval: ReportInterval, results: Results) -> Iterator[str]:
    """A row for each session, with the columns of :func:`~twamp.report.rows.csv_head`."""
    return (csv_row(of, metrics) for of, metrics in _rows(interval, results))


def interval_influx(interval: ReportInterval, results: Results) -> Iterator[str]:
    """A point for each session."""
    return (influx_point(of, metrics) for of, metrics in _rows(interval, results))


def _rows(
    interval: ReportInterval, results: Results
) -> Iterator[tuple[dict[str, str | int], Metrics]]:
    """The destination is the target's name: addresses and ports change with each connection."""
    for session, metrics in enumerate(results.metrics):
        yield (
            {
                "time": interval.begin_ns,
                "session": session,
                "source": "",
                "destination": interval.target,
            },
            metrics,
        )
