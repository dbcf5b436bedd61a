"""Metrics against their definitions written the slow way, and against a network of known fate."""

import math
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions import (
    FREE_RUNNING,
    MS,
    START,
    SYNCHRONIZED,
    TIMEOUT,
    Fate,
    a_measurement,
    a_sample,
    any_fate,
    carry,
    eventful,
    exact,
    lost,
    metrics_of,
    orderly_fate,
)
from twamp.metrics.columns import Columns, columns_of
from twamp.metrics.figures import Hops, Loss, Reordering
from twamp.metrics.measure import Results, measure
from twamp.metrics.sample import Measurement, delays, is_late
from twamp.metrics.values import Distribution
from twamp.protocol.timestamps import ErrorEstimate, ntp_from_unix_ns


def test_nothing_measured() -> None:
    for nothing in (measure(), metrics_of()):
        assert (nothing.sent, nothing.received, nothing.lost) == (0, 0, 0)
        assert (nothing.first, nothing.last) == (None, None)
        assert nothing.loss == Loss()
        assert nothing.reordering == Reordering()
        assert nothing.round_trip.delay == Distribution()
        assert nothing.round_trip.error_ns is None
        assert nothing.send_hops == Hops()
        assert not nothing.synchronized
        assert not nothing.clocks_apart


def test_all_lost() -> None:
    found = metrics_of(*(a_sample(number) for number in range(5)))
    assert (found.sent, found.received, found.lost) == (5, 0, 5)
    assert found.loss == Loss(unknown=5)
    assert found.round_trip.delay.median is None
    assert found.t4_sources == {}
    assert found.t1_sources == {"kernel": 5}


def test_one_answered() -> None:
    found = metrics_of(a_sample(0, (0, 3 * MS, 4 * MS, 9 * MS)))
    assert (found.sent, found.received, found.lost) == (1, 1, 0)
    assert exact(found.round_trip.delay) == [8 * MS]
    assert exact(found.round_trip.pdv) == [0]
    assert exact(found.round_trip.ipdv) == []
    assert exact(found.processing) == [MS]
    assert found.send_hops == Hops(distinct=1, minimum=5, maximum=5, counts={5: 1})
    assert found.reflect_hops == Hops(distinct=1, minimum=4, maximum=4, counts={4: 1})
    assert found.first == found.last == ntp_from_unix_ns(START)
    assert found.synchronized


def test_packets_that_never_left_are_not_sent() -> None:
    samples = [a_sample(0, (0, 1, 2, 3)), a_sample(1, t1_source=0)]
    found = measure(a_measurement(samples, send_errors=1, drops={"foreign": 2}))
    assert (found.sent, found.lost, found.send_errors) == (1, 0, 1)
    assert found.drops == {"foreign": 2}


def test_late_reply_is_lost_and_late_and_has_no_delay() -> None:
    in_time = a_sample(0, (0, 1 * MS, 1 * MS, TIMEOUT))
    late = a_sample(1, (0, 1 * MS, 1 * MS, TIMEOUT + 1))
    assert not is_late(in_time, TIMEOUT)
    assert is_late(late, TIMEOUT)
    found = metrics_of(in_time, late)
    assert (found.received, found.lost) == (1, 1)
    assert found.loss == Loss(late=1)
    assert found.round_trip.delay.count == 1


def test_errors_are_the_sums_of_the_estimates_they_stand_on() -> None:
    wide = int(ErrorEstimate.covering(5000, synchronized=True))
    found = metrics_of(
        a_sample(0, (0, 1, 2, 3)), a_sample(1, (0, 1, 2, 3), reflector_error_estimate=wide)
    )
    one_way = ErrorEstimate.from_int(SYNCHRONIZED).error_ns + ErrorEstimate.from_int(wide).error_ns
    assert one_way > 6000
    assert found.send.error_ns == found.reflect.error_ns == one_way
    assert found.round_trip.error_ns == 2 * one_way


@pytest.mark.parametrize("end", ["sender", "reflector"])
def test_one_packet_of_a_free_clock_is_enough(end: str) -> None:
    free: dict[str, Any] = {f"{end}_error_estimate": FREE_RUNNING}
    found = metrics_of(a_sample(0, (0, 1, 2, 3)), a_sample(1, (4, 5, 6, 7), **free))
    assert not found.synchronized
    assert found.sender_synchronized is (end != "sender")
    assert found.reflector_synchronized is (end != "reflector")


def test_hops_and_sources() -> None:
    found = metrics_of(
        a_sample(0, (0, 1, 2, 3), sender_ttl=255, ttl=240, t1_source=1, t4_source=2),
        a_sample(1, (0, 1, 2, 3), sender_ttl=250, ttl=240, t1_source=2, t4_source=3),
        a_sample(2),
    )
    assert found.send_hops == Hops(distinct=2, minimum=0, maximum=5, counts={0: 1, 5: 1})
    assert found.reflect_hops == Hops(distinct=1, minimum=15, maximum=15, counts={15: 2})
    assert found.t1_sources == {"user": 1, "kernel": 2}
    assert found.t4_sources == {"kernel": 1, "hardware": 1}


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(-5, 10**9)), max_size=20))
def test_markings_and_lateness_are_counted(packets: list[tuple[int, int]]) -> None:
    samples = [
        a_sample(number, (number * MS, number * MS + 1, number * MS + 2, number * MS + 3))._replace(
            tos=tos, lateness_ns=lateness
        )
        for number, (tos, lateness) in enumerate(packets)
    ]
    found = measure(a_measurement(samples))
    assert found.reflect_dscp == Counter(tos // 4 for tos, _ in packets)
    assert found.reflect_ecn == Counter(tos % 4 for tos, _ in packets)
    assert exact(found.lateness) == sorted(lateness for _, lateness in packets)


def test_the_worst_error_of_each_end_is_told() -> None:
    """S, scale 0..63, multiplier (RFC 4656 section 4.1.2): 2^-32 s times 2^scale."""
    samples = [
        a_sample(number, (number * MS, number * MS + 1, number * MS + 2, number * MS + 3))._replace(
            sender_error_estimate=0x8000 | sender, reflector_error_estimate=0x8000 | reflector
        )
        for number, (sender, reflector) in enumerate([(0x1401, 0x0001), (0x1001, 0x1E01)])
    ]
    found = measure(a_measurement(samples))
    assert found.sender_error_ns == math.ceil(2 ** (0x14 - 32) * 1e9)
    assert found.reflector_error_ns == math.ceil(2 ** (0x1E - 32) * 1e9)
    assert measure(a_measurement([a_sample(0)])).sender_error_ns is None


@given(st.lists(orderly_fate, max_size=30))
def test_loss_by_direction_is_what_the_network_did(fates: list[Fate]) -> None:
    found = measure(a_measurement(*carry(fates)))
    answered = [number for number, fate in enumerate(fates) if fate.there and fate.back]
    before_last = fates[: answered[-1]] if answered else []
    assert found.loss == Loss(
        forward=sum(not fate.there for fate in before_last),
        reverse=sum(bool(fate.there) and not fate.back for fate in before_last),
        unknown=len(fates) - len(before_last) - bool(answered),
    )
    assert found.lost == sum(found.loss)


@given(st.lists(any_fate, max_size=15))
def test_counts_are_what_the_network_did(fates: list[Fate]) -> None:
    found = measure(a_measurement(*carry(fates)))
    answered = [fate for fate in fates if fate.there and fate.back]
    assert found.sent == len(fates)
    assert found.received == len(answered)
    assert found.lost == len(fates) - len(answered) == sum(found.loss)
    assert min(found.loss) >= 0
    assert found.send_duplicates == sum(len(fate.there) - 1 for fate in answered)
    assert found.reflect_duplicates == sum(
        len(fate.there) * (len(fate.back) - 1) for fate in answered
    )


@given(st.lists(any_fate, max_size=15))
def test_reordering_is_what_the_network_did(fates: list[Fate]) -> None:
    samples, duplicates = carry(fates)
    found = measure(a_measurement(samples, duplicates)).reordering
    seen = [sample for sample in samples if sample.rank]

    def overtaken(sent_by: str, arrived_by: str) -> int:
        return sum(
            any(
                getattr(other, sent_by) > getattr(sample, sent_by)
                and getattr(other, arrived_by) < getattr(sample, arrived_by)
                for other in seen
            )
            for sample in seen
        )

    assert found == Reordering(
        round_trip=overtaken("sequence_number", "rank"),
        forward=overtaken("sequence_number", "reflector_sequence_number"),
        reverse=overtaken("reflector_sequence_number", "rank"),
    )


@given(st.lists(any_fate, max_size=15))
def test_variation_follows_its_definitions(fates: list[Fate]) -> None:
    samples, duplicates = carry(fates)
    found = measure(a_measurement(samples, duplicates))
    for kind in ("round_trip", "send", "reflect"):
        values = [getattr(delays(sample), kind) if sample.rank else None for sample in samples]
        known = [value for value in values if value is not None]
        pairs = [
            later - earlier
            for earlier, later in pairwise(values)
            if earlier is not None and later is not None
        ]
        one = getattr(found, kind)
        assert exact(one.delay) == sorted(known)
        assert exact(one.pdv) == sorted(value - min(known) for value in known)
        assert exact(one.ipdv) == sorted(pairs)


def test_a_number_that_came_back_on_a_duplicate_is_no_lost_reply() -> None:
    # Packet 0 was doubled on the way there, packet 1 never arrived: numbers 0, 1 (copy), 2.
    found = metrics_of(
        a_sample(0, (0, 1, 2, 3), reflector_number=0),
        a_sample(1),
        a_sample(2, (0, 1, 2, 9), rank=3, reflector_number=2),
        duplicates=[a_sample(0, (0, 2, 3, 4), rank=2, reflector_number=1)],
    )
    assert found.loss == Loss(forward=1)
    assert found.send_duplicates == 1


def test_results_measure_each_session_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module, calls = sys.modules["twamp.metrics.measure"], []

    def counted(measurement: Measurement) -> Columns:
        calls.append(measurement)
        return columns_of(measurement)

    monkeypatch.setattr(module, "columns_of", counted)
    sessions = [eventful(), lost()]
    results = Results.of(sessions)
    assert [results.of_part(one) for one in sessions] == list(results.metrics)
    assert [id(one) for one in calls] == [id(one) for one in sessions]
    assert results.total == measure(*sessions)
    part = replace(sessions[0], samples=sessions[0].samples[:4])
    assert results.of_part(part).sent == 4


def test_with_one_session_the_total_is_its_object() -> None:
    results = Results.of([eventful()])
    assert results.total is results.metrics[0]
