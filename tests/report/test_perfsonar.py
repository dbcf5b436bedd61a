"""``-M``: buckets, and what the reference writes where nothing is known."""

from decimal import Decimal

import pytest

from tests.support.golden import compare
from tests.support.sessions import a_measurement, a_sample, eventful
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement
from twamp.report.perfsonar import machine_summary


def summary(measurement: Measurement, width: str = "0.0001") -> list[str]:
    text = machine_summary(
        measurement, measure(measurement), dscp=0, padding_length=0, bucket_width=Decimal(width)
    )
    return text.splitlines()


def test_machine_summary() -> None:
    text = machine_summary(
        eventful(),
        measure(eventful()),
        unix_times=True,
        dscp=46,
        padding_length=27,
        bucket_width=Decimal("0.001"),
    )
    compare("machine.txt", text)


def block(name: str, lines: list[str]) -> list[list[int]]:
    rows = lines[lines.index(f"<{name}>") + 1 : lines.index(f"</{name}>")]
    return [[int(cell) for cell in row.split("\t")[1:]] for row in rows]


def there_and_back(*pairs: tuple[int, int]) -> Measurement:
    return a_measurement(
        [
            a_sample(number, (0, send, send, send + reflect))
            for number, (send, reflect) in enumerate(pairs)
        ]
    )


@pytest.mark.parametrize(
    ("delay_ns", "bucket"),
    [(1, 1), (99_999, 1), (100_000, 1), (100_001, 2), (-1, -1), (-100_000, -1), (-100_001, -2)],
)
def test_a_bucket_ends_at_its_number_of_widths(delay_ns: int, bucket: int) -> None:
    lines = summary(there_and_back((delay_ns, 5_000_000)))
    assert [bucket, 0, 1, 0] in block("BUCKETS", lines)


def test_buckets_are_of_round_trips_send_times_and_reflect_times() -> None:
    lines = summary(there_and_back((150_000, 150_000), (150_000, 250_000), (-250_000, 1_000_000)))
    assert block("BUCKETS", lines) == [
        [2, 0, 2, 1],
        [3, 1, 0, 1],
        [4, 1, 0, 0],
        [8, 1, 0, 0],
        [10, 0, 0, 1],
        [-3, 0, 1, 0],
    ]


def test_narrow_buckets() -> None:
    lines = summary(there_and_back((7, 5)), "0.000000001")
    assert "BUCKET_WIDTH\t1e-09" in lines
    assert block("BUCKETS", lines) == [[5, 0, 0, 1], [7, 0, 1, 0], [12, 1, 0, 0]]


def test_the_median_is_exact_whatever_the_width() -> None:
    lines = summary(there_and_back((11_000, 22_000)), "1")
    assert "MEDIAN\t3.3e-05" in lines


def test_of_what_was_lost_there_are_no_delays_and_no_tables() -> None:
    lines = summary(a_measurement([a_sample(0), a_sample(1)]))
    assert "LOST\t2" in lines
    assert not [line for line in lines if line.startswith(("MIN\t", "MEDIAN", "PDV", "<"))]
    assert lines[-5:] == [
        *("MINTTL_FWD\t255", "MAXTTL_FWD\t0", "MINTTL_BCK\t255", "MAXTTL_BCK\t0"),
        "",
    ]


def test_ttls_are_counted_on_both_ways() -> None:
    samples = [
        a_sample(number, (0, 1, 2, 3), sender_ttl=ttl, ttl=255)
        for number, ttl in enumerate((250, 255, 250))
    ]
    lines = summary(a_measurement(samples))
    assert block("TTLBUCKETS", lines) == [[250, 2, 0], [255, 1, 3]]
