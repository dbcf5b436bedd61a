"""Intervals as text, JSON and rows: the figures, words, keys and columns of a finite run."""

import csv
import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.metrics.test_interval import an_interval
from tests.report.test_schema import VALIDATOR
from twamp.metrics.interval import ReportInterval
from twamp.metrics.measure import Results
from twamp.metrics.tally import Tally
from twamp.metrics.threshold import crossed, parse_threshold
from twamp.report.interval import (
    interval_csv,
    interval_influx,
    interval_line,
    json_line,
    total_block,
)
from twamp.report.json_tree import metrics_tree
from twamp.report.rows import csv_head, figures
from twamp.report.text import text_figures
from twamp.report.units import Style

SECOND = 10**9
UNREACHED = ReportInterval("lost", 0, [Tally()], end_ns=SECOND, reason="no route to host")


def tree_of(interval: ReportInterval, *fail: str) -> dict[str, object]:
    results = interval.results()
    line = json_line(
        interval,
        results,
        "interval",
        version="0",
        percentiles=[Decimal("12.5")],
        failures=crossed(map(parse_threshold, fail), results.total),
    )
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    tree: dict[str, object] = json.loads(line)
    return tree


def test_the_json_is_that_of_a_finite_run_and_follows_the_schema() -> None:
    interval = an_interval(7)
    tree = tree_of(interval)
    VALIDATOR.validate(tree)
    total = json.loads(json.dumps(metrics_tree(interval.results().total, [Decimal("12.5")])))
    assert tree == tree | total
    assert tree["resolution"] == 0.001
    assert (tree["begin"], tree["end"], tree["measured"]) == (0, SECOND, SECOND // 2)


def test_where_nothing_could_be_measured_the_json_has_no_figures() -> None:
    tree = tree_of(UNREACHED, "loss>1%", "rtt.p99>1s", "duplicates>0")
    VALIDATOR.validate(tree)
    assert "packets" not in tree
    assert tree["reason"] == "no route to host"
    assert tree["failed"] == ["loss>1%", "rtt.p99>1s"]


@pytest.mark.parametrize("key", ["resolution", "failed", "send-time", "packets", "begin"])
def test_whatever_is_left_out_of_the_json_the_schema_misses(key: str) -> None:
    tree = tree_of(an_interval(7))
    del tree[key]
    assert not VALIDATOR.is_valid(tree)


def test_a_threshold_judges_an_interval_as_it_does_a_run() -> None:
    interval = an_interval(7)
    median = interval.results().total.round_trip.delay.median
    assert median is not None
    below, above = f"rtt.median>{median - 1}ns", f"rtt.median>{median}ns"
    assert tree_of(interval, below, above)["failed"] == [below]
    total = interval.results().total
    assert crossed([parse_threshold(above)], total) == []


def test_a_line_says_what_happened_and_when() -> None:
    interval = next(one for seed in range(99) if (one := an_interval(seed)).tally.reordered)
    metrics = interval.results().total
    line = interval_line(interval, interval.results(), Style(), named=True)
    assert line.startswith("1970-01-01T00:00:00+00:00–1970-01-01T00:00:01+00:00 target: ")
    assert f"{metrics.sent} sent, {metrics.lost} lost (" in line
    delay = metrics.round_trip.delay
    assert delay.minimum is not None
    assert f"round-trip time min/median/P99/max = {delay.minimum / 1e6:.3g}/" in line
    assert f"{metrics.reordering.round_trip} reordered" in line
    assert "target" not in interval_line(interval, interval.results(), Style(), named=False)


def test_a_line_says_why_there_was_no_measurement() -> None:
    line = interval_line(UNREACHED, UNREACHED.results(), Style(), named=False)
    assert line.endswith(" nothing could be measured: no route to host\n")
    partly = replace(an_interval(7), reason="no route to host")
    line = interval_line(partly, partly.results(), Style(), named=False)
    assert line.endswith("measured for 0.5 s of it: no route to host\n")


def test_the_total_has_the_lines_of_a_finite_run() -> None:
    interval = an_interval(7)
    interval.reason = "connection reset"
    interval.tallies[0].stalls = 3
    results = interval.results()
    block = total_block(interval, results, Style())
    assert block.startswith("\n--- twping totals of target ---\n1.0 s, measured for 0.5 s of it\n")
    assert block.endswith(text_figures(results.total, Style()))
    assert "last trouble: connection reset\n" in block
    assert "sending stalled 3 times\n" in block


def test_rows_are_of_each_session_with_the_columns_of_a_run() -> None:
    interval = an_interval(7, begin_ns=5 * SECOND)
    results = interval.results()
    rows = list(csv.DictReader(io.StringIO(csv_head() + "".join(interval_csv(interval, results)))))
    assert len(rows) == 2
    for session, (row, metrics) in enumerate(zip(rows, results.metrics, strict=True)):
        assert (row["time"], row["session"]) == (str(5 * SECOND), str(session))
        assert (row["source"], row["destination"]) == ("", "target")
        for name, value in figures(metrics).items():
            assert row[name] == ("" if value is None else str(value))
    points = list(interval_influx(interval, results))
    assert points[1].startswith("twamp,destination=target,session=1 sent=")
    assert points[1].endswith(f" {5 * SECOND}\n")


def test_the_row_of_an_interval_without_a_measurement_says_that_nothing_was_sent() -> None:
    [row] = interval_csv(UNREACHED, UNREACHED.results())
    assert row.startswith("0,0,,lost,0,0,")
    [point] = interval_influx(UNREACHED, Results.of_metrics([Tally().metrics()]))
    assert "sent=0i" in point
    assert "rtt" not in point
