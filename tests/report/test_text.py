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
    assert len(head) <= 80
    assert all(len(row) <= len(head) and row == row.rstrip() for row in rows)
    assert all(row[20 + 7 * n] == " " for row in rows for n in range((len(row) - 20) // 7))
    unit = {"ns": 1, "us": 1000, "ms": 10**6, "s": 10**9}[rows[0][18:20].strip()]
    delay = metrics.round_trip.delay
    assert unit <= max(delay.median or 0, (delay.maximum or 0) // 99, 1)
    assert (delay.maximum or 0) < 99_999 * unit or unit == 10**9
    cells = rows[0][20:].split()
    for cell, value in zip(
        cells,
        (delay.minimum, delay.mean, delay.median, delay.percentile(95), delay.percentile(99)),
        strict=False,
    ):
        assert value is not None
        true, half = Fraction(value, unit), Fraction(1, 2000)
        assert abs(Fraction(cell) - true) <= max(half, half * true)


def test_each_row_has_its_own_unit() -> None:
    """Clocks a second apart leave the round trip readable."""
    apart = [a_sample(n, (n * MS, 10**9 + n * MS, 10**9 + n * MS, n * MS + 53_000)) for n in (0, 1)]
    metrics = measure(a_measurement(apart))
    rows = {row[:18].rstrip(): row[18:].split() for row in delay_table(metrics)}
    assert rows["round trip"][:3] == ["us", "53.00", "53.00"]
    assert rows["forward"][:2] == ["s", "1.000"]
    rows = {row[:18].rstrip(): row[18:].split() for row in delay_table(metrics, above_least=True)}
    assert "forward" not in rows
    assert rows["forward above min"] == ["ns", *["0"] * 8]


def test_one_way_delays_that_are_unknown_are_shown_above_their_least() -> None:
    assert "\nforward above min ms" in summary(free_running(), Style())
    for text in (
        summary(free_running(), Style(trust_clocks=True)),
        summary(eventful(), Style()),
    ):
        assert "above" not in text
        assert "\nforward           ms" in text


def test_what_is_impossible_is_said() -> None:
    samples = [
        a_sample(0, (0, 2 * MS, 9 * MS, 6 * MS)),
        a_sample(1, (0, 2 * MS, MS, 6 * MS)),
        a_sample(2, (0, 2 * MS, 3 * MS, 6 * MS), t2=0),
    ]
    lines = summary(a_measurement(samples), Style()).splitlines()
    assert [line for line in lines if line.startswith("impossible: ")] == [
        "impossible: 1 of 3 round trips are negative: the reflector's timestamps are to blame",
        "impossible: 1 of 3 residences in the reflector are negative: "
        "the reflector's timestamps are to blame",
        "impossible: 1 of 3 replies have a timestamp of 0, and so no delays: "
        "the reflector's timestamps are to blame",
    ]
    assert "impossible" not in summary(eventful(), Style())
