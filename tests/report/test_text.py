"""Reports: golden files for the whole, and the claims that a golden file cannot make.

To write the golden files anew: TWAMP_WRITE_GOLDEN=1 pytest tests/report/test_text.py, then read the diff.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.metrics.test_measure import (
    FREE_RUNNING,
    MS,
    SYNCHRONIZED,
    Fate,
    a_measurement,
    a_sample,
    any_fate,
    carry,
)
from twamp.config.readers import UNITS as CONFIG_UNITS
from twamp.metrics.measure import measure, reordered
from twamp.metrics.sample import Measurement, Sample
from twamp.protocol.timestamps import ErrorEstimate, ntp_from_unix_ns
from twamp.report.json_tree import json_tree
from twamp.report.packets import packet_lines, packets, raw_rows
from twamp.report.perfsonar import machine_summary
from twamp.report.text import text_summary, text_total
from twamp.report.units import UNITS, Style

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is in the text: make it the same everywhere."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("TWAMP_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def eventful() -> Measurement:
    """Ten packets: a loss each way, one late, one overtaken, one doubled each way, two routes."""

    def at(number: int, there: int, back: int, **changes: Any) -> Any:
        start = number * 100 * MS
        t2 = start + there
        times = (start, t2, t2 + 50_000, t2 + 50_000 + back)
        return a_sample(number, times, **changes)

    samples = [
        at(0, 2 * MS, 3 * MS, rank=1, reflector_number=0),
        a_sample(1),  # lost on the way there
        at(2, 2_500_000, 3 * MS, rank=2, reflector_number=1),
        at(3, 120 * MS, 3 * MS, rank=6, reflector_number=4),  # overtaken by 4
        at(4, 2 * MS, 3_123_456, rank=3, reflector_number=2),
        a_sample(5),  # lost on the way back: number 5
        at(6, 2 * MS, 4 * MS, rank=7, reflector_number=6, sender_ttl=249),
        at(7, 2 * MS, 3 * MS, rank=9, reflector_number=7),
        at(8, 2 * MS, 3000 * MS, rank=11, reflector_number=8),  # later than the loss timeout
        a_sample(9),  # nothing came after it to tell
    ]
    duplicates = [
        samples[4]._replace(rank=4, reflector_sequence_number=3, t4=samples[4].t4 + 7),
        samples[6]._replace(rank=8, t4=samples[6].t4 + 9),
    ]
    samples = [
        sample._replace(t1=ntp_from_unix_ns(1_800_000_000_000_000_000 + number * 100 * MS))
        for number, sample in enumerate(samples)
    ]
    return a_measurement(samples, duplicates, drops={"foreign": 3, "short": 0}, send_errors=1)


def lost() -> Measurement:
    return a_measurement([a_sample(number) for number in range(3)])


def free_running() -> Measurement:
    measurement = eventful()
    return replace(
        measurement,
        samples=[
            sample._replace(reflector_error_estimate=FREE_RUNNING) for sample in measurement.samples
        ],
    )


STYLE = Style(percentiles=(Decimal(95), Decimal("99.9")))


def test_text_summary() -> None:
    compare("summary.txt", text_summary(eventful(), STYLE))


def test_text_summary_in_microseconds() -> None:
    compare("summary_us.txt", text_summary(eventful(), replace(STYLE, unit=UNITS["u"])))


def test_text_summary_with_a_free_running_clock() -> None:
    compare("summary_unsynchronised.txt", text_summary(free_running(), Style()))


def test_text_summary_when_all_is_lost() -> None:
    compare("summary_lost.txt", text_summary(lost(), STYLE))


def test_text_of_all_sessions_together() -> None:
    compare("total.txt", text_total([eventful(), lost()], Style()))


def test_raw_rows() -> None:
    compare("raw.txt", "\n".join(raw_rows(eventful())) + "\n")


def test_packet_lines() -> None:
    compare("packets.txt", "\n".join(packet_lines(eventful(), Style())) + "\n")


def test_packet_lines_with_unix_times() -> None:
    compare("packets_unix.txt", "\n".join(packet_lines(eventful(), Style(unix_time=True))) + "\n")


def test_machine_summary() -> None:
    text = machine_summary(
        eventful(),
        unix_times=True,
        dscp=46,
        padding_length=27,
        bucket_width=Decimal("0.001"),
    )
    compare("machine.txt", text)


def test_json() -> None:
    tree = json_tree(
        [eventful(), lost()],
        version="0",
        configuration={"count": 10},
        percentiles=[Decimal(75), Decimal("99.90")],
    )
    compare("report.json", json.dumps(tree, indent=2) + "\n")


# ---- claims --------------------------------------------------------------------------------------


def test_raw_rows_have_16_columns_and_zeros_for_what_is_lost() -> None:
    rows = [row.split() for row in raw_rows(eventful())]
    assert {len(row) for row in rows} == {16}
    assert len(rows) == 10 + 2
    lost_rows = [row for row in rows if int(row[12]) == 0]
    assert [int(row[0]) for row in lost_rows] == [1, 5, 8, 9]
    assert all(float(column) == 0 for row in lost_rows for column in row[4:])
    for row in rows:
        assert all(len(row[place]) == 20 for place in (1, 4, 9, 12))


# Overtaken in time, then too late, then doubled each way: examples drawn seldom have a late one.
LATE = [Fate((1,), (20 * MS,)), Fate((1,), (60 * MS,)), Fate((1, 2), (1, 3))]


@given(st.lists(any_fate, max_size=12), st.sampled_from([5 * MS, 30 * MS, 2000 * MS]))
@example(LATE, 30 * MS)
def test_order_of_rows_shows_the_reordering(fates: list[Fate], timeout_ns: int) -> None:
    """What pScheduler does: it takes the first row of each packet, less the lost, as they stand."""
    samples, duplicates = carry(fates)
    measurement = a_measurement(samples, duplicates, loss_timeout_ns=timeout_ns)
    rows = list(packets(measurement))
    found = measure(measurement)
    first_rows = list(dict.fromkeys(row.sequence_number for row, lost in rows if not lost))
    assert reordered(first_rows) == found.reordering.round_trip
    assert len(first_rows) == found.received
    lost_rows = [row.sequence_number for row, lost in rows if lost]
    assert sorted(lost_rows + first_rows) == list(range(len(fates)))
    ranks = [row.rank for row, lost in rows if not lost]
    assert ranks == sorted(ranks)


def test_lost_row_stands_where_its_loss_timeout_ran_out() -> None:
    # Every 50 ms a packet, answered within 1 ms, declared lost after 400 ms: the order in which the
    # reference was seen to write such a run.
    def sample(number: int) -> Sample:
        if number in (3, 4, 12, 29):
            return a_sample(number)._replace(
                t1=ntp_from_unix_ns(1_800_000_000_000_000_000 + number * 50 * MS)
            )
        t1 = number * 50 * MS
        return a_sample(number, (t1, t1 + MS // 2, t1 + MS // 2, t1 + MS))

    samples = [sample(number) for number in range(30)]
    rows = packets(a_measurement(samples, loss_timeout_ns=400 * MS))
    shown = " ".join(f"{row.sequence_number}{'L' if lost else ''}" for row, lost in rows)
    assert shown == (
        "0 1 2 5 6 7 8 9 10 3L 11 4L 13 14 15 16 17 18 19 12L 20 21 22 23 24 25 26 27 28 29L"
    )


def test_raw_rows_agree_with_the_samples() -> None:
    measurement = eventful()
    estimate = ErrorEstimate.from_int(SYNCHRONIZED)
    error = estimate.multiplier * 2.0 ** (estimate.scale - 32)
    sample = measurement.samples[6]
    row = next(row.split() for row in raw_rows(measurement) if row.startswith("6 "))
    assert [int(row[place]) for place in (1, 4, 9, 12)] == list(sample[:4])
    assert [int(row[place]) for place in (7, 8, 15)] == [249, 6, 251]
    assert [row[place] for place in (2, 5, 10, 13)] == ["1"] * 4
    assert all(abs(float(row[place]) / error - 1) < 1e-5 for place in (3, 6, 11, 14))


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
        lines = text_summary(measurement, Style()).splitlines()[1:]
        for pattern, line in zip(patterns, lines, strict=False):
            assert re.fullmatch(pattern, line), line


def test_one_way_delays_say_when_clocks_are_not_synchronised() -> None:
    said = "send and reflect times include"
    assert said in text_summary(free_running(), Style())
    assert said not in text_summary(eventful(), Style())
    apart = a_measurement([a_sample(0, (10, 5, 5, 20))])
    assert said in text_summary(apart, Style())


def test_json_numbers_are_integers_or_null_and_those_of_the_metrics() -> None:
    measurement = eventful()
    metrics = measure(measurement)
    tree = json_tree([measurement], version="0", configuration={})
    result = tree["results"][0]
    assert result["round-trip-time"]["min"] == metrics.round_trip.delay.minimum
    assert result["send-time"]["max"] == metrics.send.delay.maximum
    assert result["reflect-time"]["pdv"] == metrics.reflect.delay.p95_p50
    assert result["packets"]["num-pkts-lost"] == 4 == sum(result["packets"]["lost"].values())
    assert tree["total"]["packets"] == result["packets"]

    def leaves(node: object) -> Iterator[object]:
        if isinstance(node, dict):
            for child in node.values():
                yield from leaves(child)
        else:
            yield node

    assert {type(leaf) for leaf in leaves(tree["total"])} <= {int, bool, type(None)}


def test_every_unit_of_the_options_is_known() -> None:
    assert tuple(UNITS) == CONFIG_UNITS
    assert UNITS["m"].text(1_234_567) == "1.23"
    assert UNITS["s"].text(1_500_000_000) == "1.5"
