"""Each form says of an interval what it says of a finite run."""

import csv
import io
import json

import pytest

from tests.metrics.test_interval import an_interval
from twamp.config.ping import PingConfig
from twamp.metrics.threshold import crossed, parse_threshold
from twamp.monitor.forms import Form
from twamp.report.rows import csv_head

FAIL = [parse_threshold("loss>100%"), parse_threshold("rtt.max>0ns")]


def form(**options: object) -> Form:
    return Form(PingConfig(continuous=True, **options))  # type: ignore[arg-type]


def test_text_is_a_line_and_has_the_name_where_there_are_many() -> None:
    interval = an_interval(1)
    results = interval.results()
    line = form().interval(interval, results, failures=crossed(FAIL, results.total), named=False)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert interval.target not in line
    assert interval.target in form().interval(
        interval, results, failures=crossed(FAIL, results.total), named=True
    )
    assert interval.target in form().total(interval, results, failures=crossed(FAIL, results.total))
    assert form().head == ""


def test_json_names_the_thresholds_of_the_target() -> None:
    interval = an_interval(1)
    results = interval.results()
    for kind, line in (
        (
            "interval",
            form(json=True).interval(
                interval, results, failures=crossed(FAIL, results.total), named=True
            ),
        ),
        ("total", form(json=True).total(interval, results, failures=crossed(FAIL, results.total))),
    ):
        tree = json.loads(line)
        assert (tree["type"], tree["failed"]) == (kind, ["rtt.max>0ns"])
        assert tree["failed-because"][0].startswith("rtt.max>0ns: it is ")


def test_csv_has_a_head_and_a_row_for_each_session_and_no_totals() -> None:
    interval = an_interval(1)
    results = interval.results()
    rows = form(csv=True)
    assert rows.head == csv_head()
    text = rows.head + rows.interval(
        interval, results, failures=crossed(FAIL, results.total), named=True
    )
    found = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["session"]) for row in found] == list(range(len(interval.tallies)))
    assert [int(row["sent"]) for row in found] == [tally.sent for tally in interval.tallies]
    assert rows.total(interval, results, failures=crossed(FAIL, results.total)) == ""


def test_influx_has_a_point_for_each_session_and_no_totals() -> None:
    interval = an_interval(1)
    results = interval.results()
    points = form(influx=True)
    text = points.interval(interval, results, failures=crossed(FAIL, results.total), named=True)
    assert text.count("twamp,destination=") == len(interval.tallies)
    assert (
        points.total(interval, results, failures=crossed(FAIL, results.total)) == points.head == ""
    )


@pytest.mark.parametrize("options", [{}, {"json": True}])
def test_quiet_has_no_totals(options: dict[str, object]) -> None:
    interval = an_interval(1)
    results = interval.results()
    quiet = form(quiet=True, **options)
    assert quiet.total(interval, results, failures=crossed(FAIL, results.total)) == ""
    assert quiet.interval(interval, results, failures=crossed(FAIL, results.total), named=False)
