"""A run as rows for other programs: CSV, and InfluxDB's line protocol; times are integer nanoseconds.

A row is one session, or with a bin the packets that it sent within one interval of that length, or one
session of a continuous measurement in one report interval (:mod:`twamp.report.interval`).
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from twamp.metrics.cut import by_time
from twamp.metrics.figures import Delay, Metrics
from twamp.metrics.measure import Results
from twamp.metrics.validity import Validity

CSV_HEAD_OF_ROW = ("time", "session", "source", "destination")


def figures(metrics: Metrics) -> dict[str, int | None]:
    """The figures of a row by name; unknown ones, such as delays when all packets were lost, are None."""
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
    validity = Validity.of(metrics)
    doubts: dict[str, int | None] = {
        "negative_round_trips": validity.negative_round_trips,
        "negative_residences": validity.negative_residences,
        "unstamped": validity.unstamped,
        "clock_set_back": validity.clock_back,
        "delays_doubtful": int(bool(validity.delays)),
        "one_way_doubtful": int(bool(validity.delays or validity.one_way)),
    }
    return (
        counts
        | _delay("rtt", metrics.round_trip)
        | _delay("forward", metrics.send)
        | _delay("reverse", metrics.reflect)
        | {"not_measured": metrics.not_measured}
        | doubts
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


Head = Mapping[str, str | int]  # identifies a row: time in Unix ns, session, source, destination


def csv_head() -> str:
    """The line of names."""
    return _csv_line([*CSV_HEAD_OF_ROW, *figures(Results.of([]).total)])


def csv_row(head: Head, metrics: Metrics) -> str:
    """The line of one row; unknown figures are empty (RFC 4180, but for LF)."""
    return _csv_line([head[name] for name in CSV_HEAD_OF_ROW] + [*figures(metrics).values()])


def influx_point(head: Head, metrics: Metrics) -> str:
    """The point of one row, of measurement ``twamp``; unknown figures are left out."""
    tags = "".join(
        f",{name}={_escaped(str(head[name]))}"
        for name in ("destination", "session", "source")
        if head[name] != ""
    )
    fields = ",".join(
        f"{name}={value}i" for name, value in figures(metrics).items() if value is not None
    )
    return f"twamp{tags} {fields} {head['time']}\n"


def csv_lines(results: Results, bin_ns: int) -> Iterator[str]:
    """A line of names, and one for each row of a finite run."""
    yield csv_head()
    for head, metrics in _rows(results, bin_ns):
        yield csv_row(head, metrics)


def influx_lines(results: Results, bin_ns: int) -> Iterator[str]:
    """A point for each row of a finite run."""
    for head, metrics in _rows(results, bin_ns):
        yield influx_point(head, metrics)


def _rows(results: Results, bin_ns: int) -> Iterator[tuple[Head, Metrics]]:
    for session, measurement in enumerate(results.measurements):
        for start_ns, part in by_time(measurement, bin_ns):
            head: Head = {
                "time": start_ns,
                "session": session,
                "source": str(measurement.source),
                "destination": str(measurement.destination),
            }
            yield head, results.of_part(part)


def _csv_line(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow("" if cell is None else cell for cell in cells)
    return line.getvalue()


def _escaped(tag: str) -> str:
    for special in "\\,= ":
        tag = tag.replace(special, "\\" + special)
    return tag
