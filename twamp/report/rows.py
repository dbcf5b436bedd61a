"""A run as rows for other programs: CSV, and InfluxDB's line protocol; times are integer nanoseconds.

A row is one session, or with a bin what it sent within one interval of that length.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from twamp.metrics.cut import by_time
from twamp.metrics.figures import Delay, Metrics
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement

CSV_HEAD_OF_ROW = ("time", "session", "source", "destination")


def figures(metrics: Metrics) -> dict[str, int | None]:
    """The figures of a row by name; None for what is not known, as delays of packets all lost."""
    loss, order = metrics.loss, metrics.reordering
    counts: dict[str, int | None] = {
        "sent": metrics.sent,
        "lost": metrics.lost,
        "lost_forward": loss.forward,
        "lost_reverse": loss.reverse,
        "lost_unknown": loss.unknown,
        "late": loss.late,
        "duplicates_forward": metrics.send_duplicates,
        "duplicates_reverse": metrics.reflect_duplicates,
        "reordered": order.round_trip,
        "reordered_forward": order.forward,
        "reordered_reverse": order.reverse,
        "synchronized": int(metrics.synchronized),
    }
    return (
        counts
        | _delay("rtt", metrics.round_trip)
        | _delay("forward", metrics.send)
        | _delay("reverse", metrics.reflect)
    )


def _delay(name: str, kind: Delay) -> dict[str, int | None]:
    delay = kind.delay
    return {
        f"{name}_min_ns": delay.minimum,
        f"{name}_mean_ns": delay.mean,
        f"{name}_median_ns": delay.median,
        f"{name}_p95_ns": delay.percentile(95),
        f"{name}_p99_ns": delay.percentile(99),
        f"{name}_max_ns": delay.maximum,
        f"{name}_pdv_p99_ns": kind.pdv.percentile(99),
    }


def rows(
    measurements: Sequence[Measurement], bin_ns: int
) -> Iterator[tuple[Mapping[str, str | int], Mapping[str, int | None]]]:
    """What each row is of (time: Unix ns of its beginning), and its figures."""
    for session, measurement in enumerate(measurements):
        for start_ns, part in by_time(measurement, bin_ns):
            of: dict[str, str | int] = {
                "time": start_ns,
                "session": session,
                "source": str(measurement.source),
                "destination": str(measurement.destination),
            }
            yield of, figures(measure(part))


def csv_lines(measurements: Sequence[Measurement], bin_ns: int) -> Iterator[str]:
    """A line of names, and one for each row; what is not known is empty (RFC 4180, but for LF)."""
    yield _csv_line([*CSV_HEAD_OF_ROW, *figures(measure())])
    for of, values in rows(measurements, bin_ns):
        yield _csv_line([of[name] for name in CSV_HEAD_OF_ROW] + [*values.values()])


def _csv_line(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow("" if cell is None else cell for cell in cells)
    return line.getvalue()


def influx_lines(measurements: Sequence[Measurement], bin_ns: int) -> Iterator[str]:
    """A point of measurement ``twamp`` for each row; what is not known is left out."""
    for of, values in rows(measurements, bin_ns):
        tags = ",".join(
            f"{name}={_escaped(str(of[name]))}" for name in ("destination", "session", "source")
        )
        fields = ",".join(f"{name}={value}i" for name, value in values.items() if value is not None)
        yield f"twamp,{tags} {fields} {of['time']}\n"


def _escaped(tag: str) -> str:
    for special in "\\,= ":
        tag = tag.replace(special, "\\" + special)
    return tag
