"""The summary as text: golden files for the whole, and the claims that a golden file cannot make."""

import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tests.support.golden import compare
from tests.support.sessions import MS, a_measurement, a_sample, eventful, free_running, lost
from twamp.metrics.measure import Results, measure
from twamp.metrics.sample import Measurement
from twamp.report.text import delay_table, text_summary, text_total
from twamp.report.units import UNITS, Style


def summary(measurement: Measurement, style: Style) -> str:
    return text_summary(measurement, measure(measurement), style)


STYLE = Style(percentiles=(Decimal(95), Decimal("99.9")))


def test_text_summary() -> None:
    compare("summary.txt", summary(eventful(), STYLE))


def test_text_summary_in_microseconds() -> None:
    compare("summary_us.txt", summary(eventful(), replace(STYLE, unit=UNITS["u"])))


def test_text_summary_with_a_free_running_clock() -> None:
    compare("summary_unsynchronised.txt", summary(free_running(), Style()))


def test_text_summary_when_all_is_lost() -> None:
    compare("summary_lost.txt", summary(lost(), STYLE))


def test_text_of_all_sessions_together() -> None:
    compare("total.txt", text_total(Results.of([eventful(), lost()]), Style()))


def test_lines_that_others_parse_are_there_whatever_happened() -> None:
    patterns = [
        r"--- twping statistics from \[192\.0\.2\.1\]:8760 to \[192\.0\.2\.2\]:18760 ---",
        r"SID:\t[0-9a-f]{32}",
        r"first:\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}",
        r"last:\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}",
        r"\d+ sent, \d+ lost \(\d+\.\d{3}%\), \d+ send duplicates, \d+ reflect duplicates",
        r"round-trip time min/median/max = (\S+/\S+/\S+) ms, (\(err=\S+ ms\)|\(unsync\))",
        r"send time min/median/max = (\S+/\S+/\S+) ms, (\(err=\S+ ms\)|\(unsync\))",
        r"reflect time min/median/max = (\S+/\S+/\S+) ms, (\(err=\S+ ms\)|\(unsync\))",
        r"reflector processing time min/max = \S+/\S+ ms",
        r"two-way jitter = \S+ ms \(P95-P50\)",
        r"send jitter = \S+ ms \(P95-P50\)",
        r"reflect jitter = \S+ ms \(P95-P50\)",
        r"send (hops|TTL) .*",
        r"reflect (hops|TTL) .*",
    ]
    for measurement in (eventful(), lost(), free_running()):
        lines = summary(measurement, Style()).splitlines()[1:]
        for pattern, line in zip(patterns, lines, strict=False):
            assert re.fullmatch(pattern, line), line


def test_one_way_delays_say_when_clocks_are_not_synchronised() -> None:
    said = "send and reflect times include"
    assert said in summary(free_running(), Style())
    assert said not in summary(eventful(), Style())
    apart = a_measurement([a_sample(0, (10, 5, 5, 20))])
    assert said in summary(apart, Style())


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=20))
def test_the_table_is_aligned_and_in_a_unit_that_fits(values: list[int]) -> None:
    samples = [
        a_sample(
            number, (at := number * MS, at + value, at + value + 5, at + value + 5 + value // 2)
        )
        for number, value in enumerate(values)
    ]
    metrics = measure(a_measurement(samples, loss_timeout_ns=10**12))
    head, *rows = delay_table(metrics)
    assert len(rows) == 10
    assert all(len(row) <= len(head) for row in rows)
    assert all(row[18 + 10 * n] == " " for row in rows for n in range((len(row) - 18) // 10))
    assert all(row == row.rstrip() for row in rows)
    unit = {"ns": 1, "us": 1000, "ms": 10**6, "s": 10**9}[head.split()[2]]
    median = max(
        kind.delay.median or 0 for kind in (metrics.round_trip, metrics.send, metrics.reflect)
    )
    assert unit <= max(median, max(values) * 3 // 100_000, 1)
    assert median < 1000 * unit or unit == 10**9
    cells = rows[0].removeprefix("round trip").split()
    delay = metrics.round_trip.delay
    for cell, value in zip(
        cells,
        (delay.minimum, delay.mean, delay.median, delay.percentile(95), delay.percentile(99)),
        strict=False,
    ):
        assert value is not None
        true, half = Fraction(value, unit), Fraction(1, 2000)
        assert abs(Fraction(cell) - true) <= max(half, half * true)
