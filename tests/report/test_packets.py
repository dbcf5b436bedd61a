"""Rows and lines, packet by packet: golden files, their order, and what stands in them."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.golden import compare
from tests.support.sessions import (
    MS,
    SYNCHRONIZED,
    Fate,
    a_measurement,
    a_sample,
    any_fate,
    carry,
    eventful,
)
from twamp.metrics.columns import reordered
from twamp.metrics.measure import measure
from twamp.metrics.sample import Sample
from twamp.protocol.timestamps import ErrorEstimate, ntp_from_unix_ns
from twamp.report.packets import packet_lines, packets, raw_rows
from twamp.report.units import Style


def test_raw_rows() -> None:
    compare("raw.txt", "\n".join(raw_rows(eventful())) + "\n")


def test_packet_lines() -> None:
    compare("packets.txt", "\n".join(packet_lines(eventful(), Style())) + "\n")


def test_packet_lines_with_unix_times() -> None:
    compare("packets_unix.txt", "\n".join(packet_lines(eventful(), Style(unix_time=True))) + "\n")


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
