"""Intervals of a continuous measurement as lines of text, or one JSON object in a line.

The JSON has the keys of :mod:`twamp.report.json_tree`'s results, times in integer ns; ``type`` is
``interval`` or ``total``.  Percentiles come from a histogram: right to 0.1 %.
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from twamp.metrics.histogram import Histogram
from twamp.metrics.interval import ReportInterval
from twamp.metrics.tally import Tally, Variation
from twamp.protocol.timestamps import NS
from twamp.report.json_tree import JSON_PERCENTILES
from twamp.report.units import Style, Unit

# ---- text ----------------------------------------------------------------------------------------


def interval_line(interval: ReportInterval, style: Style, *, named: bool) -> str:
    """An interval in one line, with its target's name where there is more than one."""
    name = f"{interval.target}: " if named else ""
    times = f"{_clock_time(interval.begin_ns)}–{_clock_time(interval.end_ns)}"
    if not interval.measured:
        return f"{times} {name}nothing could be measured: {interval.reason}\n"
    tally, unit = interval.tally, style.unit
    parts = [f"{tally.sent} sent, {tally.lost} lost ({_percent(tally.lost, tally.sent)})"]
    if tally.received:
        delay = tally.round_trip.delay
        wanted = style.percentiles or (Decimal(99),)
        names = "/".join(("min", "median", *(f"P{percent:f}" for percent in wanted), "max"))
        values = (
            delay.minimum,
            delay.median,
            *(delay.percentile(Fraction(percent)) for percent in wanted),
            delay.maximum,
        )
        parts += [
            f"round-trip time {names} = {_texts(values, unit)}",
            f"jitter = {unit.text(delay.p95_p50)} {unit.name} (P95-P50)",
        ]
    parts += _troubles(tally)
    if interval.reason:
        seconds = interval.measured_ns / NS
        parts.append(f"measured for {seconds:.1f} s of it: {interval.reason}")
    return f"{times} {name}{', '.join(parts)}\n"


def total_block(interval: ReportInterval, style: Style) -> str:
    """Everything since the start, in some lines."""
    tally, unit = interval.tally, style.unit
    seconds = (interval.end_ns - interval.begin_ns) / NS
    lines = [
        f"\n--- twping totals of {interval.target} ---",
        f"{seconds:.1f} s, measured for {interval.measured_ns / NS:.1f} s of it",
        f"{tally.sent} sent, {tally.lost} lost ({_percent(tally.lost, tally.sent)}), "
        f"{tally.send_duplicates} send duplicates, {tally.reflect_duplicates} reflect duplicates",
    ]
    for name, kind in (
        ("round-trip time", tally.round_trip),
        ("send time", tally.send),
        ("reflect time", tally.reflect),
    ):
        error = "(unsync)"
        if name == "round-trip time" or tally.synchronized:
            error = f"P95-P50 = {unit.text(kind.delay.p95_p50)} {unit.name}"
        three = (kind.delay.minimum, kind.delay.median, kind.delay.maximum)
        lines.append(f"{name} min/median/max = {_texts(three, unit)}, {error}")
    for percent in style.percentiles:
        value = tally.round_trip.delay.percentile(Fraction(percent))
        lines.append(f"\tP{percent:f}: {unit.text(value)} {unit.name}")
    if tally.lost:
        loss = tally.loss
        lines.append(
            f"lost: {loss.forward} on the way there, {loss.reverse} on the way back, "
            f"{loss.unknown} unknown, {loss.late} late"
        )
    lines += _troubles(tally)
    if interval.reason:
        lines.append(f"last trouble: {interval.reason}")
    return "\n".join(lines) + "\n"


def _troubles(tally: Tally) -> list[str]:
    """What is worth a word only when it happens."""
    drops = ", ".join(f"{count} {name}" for name, count in tally.drops.items())
    order = tally.reordering
    duplicates = tally.send_duplicates + tally.reflect_duplicates
    return [
        *([f"{duplicates} duplicates"] if duplicates else []),
        *([f"{order.round_trip} reordered"] if order.round_trip else []),
        *([f"{tally.send_errors} not sent"] if tally.send_errors else []),
        *([f"dropped: {drops}"] if drops else []),
        *([f"sending stalled {tally.stalls} times"] if tally.stalls else []),
    ]


def _texts(values: Sequence[int | None], unit: Unit) -> str:
    return f"{'/'.join(map(unit.text, values))} {unit.name}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0.0:.3f}%"


def _clock_time(unix_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(unix_ns // NS))


# ---- JSON ----------------------------------------------------------------------------------------


def json_line(
    interval: ReportInterval, kind: str, *, version: str, percentiles: Sequence[Decimal]
) -> str:
    """``kind`` is "interval" or "total"."""
    wanted = sorted({*JSON_PERCENTILES, *percentiles})
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
        **(tally_tree(interval.tally, wanted) if interval.measured else {}),
    }
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")) + "\n"


def tally_tree(tally: Tally, percentiles: Sequence[Decimal]) -> dict[str, Any]:
    """A tally as :func:`twamp.report.json_tree.json_tree` has the metrics of a session."""
    return {
        "packets": {
            "time-of-first": tally.first,
            "time-of-last": tally.last,
            "num-pkts-sent": tally.sent,
            "num-pkts-received": tally.received,
            "num-pkts-lost": tally.lost,
            "send-duplicates": tally.send_duplicates,
            "reflect-duplicates": tally.reflect_duplicates,
            "send-errors": tally.send_errors,
            "stalls": tally.stalls,
            "lost": tally.loss._asdict(),
            "reordered": {
                "round-trip": tally.reordered,
                "forward": tally.reordered_forward,
                "reverse": tally.reordered_reverse,
            },
            "dropped": dict(tally.drops),
        },
        "round-trip-time": _json_delay(tally.round_trip, tally.error_ns, 2, percentiles),
        "send-time": _json_delay(tally.send, tally.error_ns, 1, percentiles),
        "reflect-time": _json_delay(tally.reflect, tally.error_ns, 1, percentiles),
        "reflector-processing-time": _json_values(tally.processing, percentiles),
        "sending-lateness": _json_values(tally.lateness, percentiles),
        "send-hops": _json_hops(tally.send_hops),
        "reflect-hops": _json_hops(tally.reflect_hops),
        "synchronized": {
            "sender": tally.received > 0 and not tally.sender_unsynchronized,
            "reflector": tally.received > 0 and not tally.reflector_unsynchronized,
            "clocks-apart": tally.clocks_apart,
        },
        "error-estimates": {
            "sender": tally.sender_error_ns,
            "reflector": tally.reflector_error_ns,
        },
        "reflect-dscp": _json_counts(tally.reflect_dscp),
        "reflect-ecn": _json_counts(tally.reflect_ecn),
        "timestamp-sources": {"t1": dict(tally.t1_sources), "t4": dict(tally.t4_sources)},
    }


def _json_delay(
    kind: Variation, error_ns: int | None, estimates: int, percentiles: Sequence[Decimal]
) -> dict[str, Any]:
    least = kind.delay.minimum or 0
    pdv = _json_values(kind.delay, percentiles, less=least)
    return {
        **_json_values(kind.delay, percentiles),
        "error": None if error_ns is None else estimates * error_ns,
        "pdv": kind.delay.p95_p50,
        "pdv-rfc5481": pdv,
        "ipdv-rfc3393": _json_values(kind.ipdv, percentiles),
    }


def _json_values(
    values: Histogram, percentiles: Sequence[Decimal], *, less: int = 0
) -> dict[str, Any]:
    """The values, each with ``less`` taken off."""

    def shown(value: int | None) -> int | None:
        return None if value is None else value - less

    return {
        "min": shown(values.minimum),
        "median": shown(values.median),
        "max": shown(values.maximum),
        "mean": shown(values.mean),
        "stddev": values.standard_deviation,
        "percentiles": {
            f"{each:f}": shown(values.percentile(Fraction(each))) for each in percentiles
        },
    }


def _json_counts(counts: Counter[int]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(counts.items())}


def _json_hops(hops: Counter[int]) -> dict[str, int | None]:
    return {
        "diff-num-ttl": len(hops),
        "min": min(hops, default=None),
        "max": max(hops, default=None),
    }
