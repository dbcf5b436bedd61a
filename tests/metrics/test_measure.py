"""Metrics against their definitions written the slow way, and against a network of known fate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twamp.endpoint import Endpoint
from twamp.metrics.figures import Hops, Loss, Metrics, Reordering
from twamp.metrics.measure import measure, reordered
from twamp.metrics.sample import Measurement, Sample, delays, is_late
from twamp.metrics.values import Distribution
from twamp.protocol.timestamps import ErrorEstimate, ntp_from_unix_ns

MS = 1_000_000
SECOND = 1_000 * MS
START = 1_800_000_000 * SECOND
# 2036-02-07 06:28:16 UTC, when NTP's seconds begin anew.
NEXT_ERA = 2_085_978_496 * SECOND
TIMEOUT = 2 * SECOND
SYNCHRONIZED = int(ErrorEstimate.covering(1000, synchronized=True))
FREE_RUNNING = int(ErrorEstimate.covering(1000, synchronized=False))


def a_sample(
    number: int,
    times_ns: tuple[int, int, int, int] | None = None,
    *,
    base_ns: int = START,
    rank: int | None = None,
    reflector_number: int | None = None,
    **changes: Any,
) -> Sample:
    """A packet with T1..T4 in ns after ``base_ns``; without times one that was lost."""
    if times_ns is None:
        t1, t2, t3, t4 = ntp_from_unix_ns(base_ns + number * MS), 0, 0, 0
    else:
        t1, t2, t3, t4 = (ntp_from_unix_ns(base_ns + time_ns) for time_ns in times_ns)
    answered = times_ns is not None
    sample = Sample(
        t1=t1,
        t2=t2,
        t3=t3,
        t4=t4,
        sequence_number=number,
        reflector_sequence_number=number if reflector_number is None else reflector_number,
        rank=(number + 1 if rank is None else rank) if answered else 0,
        lateness_ns=0,
        sender_error_estimate=SYNCHRONIZED,
        reflector_error_estimate=SYNCHRONIZED,
        sender_ttl=250 if answered else 0,
        ttl=251 if answered else 0,
        tos=0,
        t1_source=2,
        t4_source=2 if answered else 0,
    )
    return sample._replace(**changes)


def a_measurement(
    samples: Sequence[Sample], duplicates: Sequence[Sample] = (), **changes: Any
) -> Measurement:
    measurement = Measurement(
        sid=bytes(range(16)),
        source=Endpoint(ip_address("192.0.2.1"), 8760),
        destination=Endpoint(ip_address("192.0.2.2"), 18760),
        samples=samples,
        duplicates=duplicates,
        loss_timeout_ns=TIMEOUT,
    )
    return replace(measurement, **changes)


def metrics_of(*samples: Sample, duplicates: Sequence[Sample] = ()) -> Metrics:
    return measure(a_measurement(samples, duplicates))


# ---- delays --------------------------------------------------------------------------------------


def test_delays_follow_their_definitions() -> None:
    one = delays(a_sample(0, (0, 3 * MS, 4 * MS, 9 * MS)))
    assert one == (8 * MS, 3 * MS, 5 * MS, 1 * MS)
    assert one.round_trip == one.send + one.reflect


@given(st.integers(-3600 * SECOND, 3600 * SECOND))
def test_round_trip_knows_no_clock_offset(offset: int) -> None:
    fixed = delays(a_sample(0, (0, 3 * MS, 4 * MS, 9 * MS)))
    moved = delays(a_sample(0, (0, 3 * MS + offset, 4 * MS + offset, 9 * MS)))
    assert abs(moved.round_trip - fixed.round_trip) <= 1
    assert abs(moved.send - fixed.send - offset) <= 1
    assert abs(moved.reflect - fixed.reflect + offset) <= 1


times = st.tuples(*[st.integers(0, 10 * SECOND)] * 4)


@given(times, st.sampled_from([START, NEXT_ERA - 5 * SECOND, NEXT_ERA - 1]))
def test_delays_are_the_nearest_ns_also_across_an_era(
    times_ns: tuple[int, int, int, int], base_ns: int
) -> None:
    found = delays(a_sample(0, times_ns, base_ns=base_ns))
    t1, t2, t3, t4 = times_ns
    # A timestamp falls short of its time by less than 2^-32 s, 0.24 ns.
    assert abs(found.round_trip - ((t4 - t1) - (t3 - t2))) <= 1
    assert (found.send, found.reflect, found.processing) == (t2 - t1, t4 - t3, t3 - t2)


def test_round_trip_is_rounded_once() -> None:
    # Each difference is 0.4 ns of 2^-32 s units; rounded by itself each would vanish.
    units = round(0.4e-9 * 2**32)
    sample = a_sample(0)._replace(t1=0, t2=2 * units, t3=units, t4=units, rank=1)
    assert delays(sample).processing == 0
    assert delays(sample).round_trip == 1


# ---- distributions -------------------------------------------------------------------------------


@given(
    st.lists(st.integers(-(10**12), 10**12), min_size=1),
    st.fractions(0, 100, max_denominator=1000) | st.sampled_from([50, 95, 99, 100]),
)
def test_percentile_is_the_nearest_rank(values: list[int], percent: Fraction) -> None:
    found = Distribution.of(values).percentile(percent)
    candidates = [
        value
        for value in values
        if 100 * sum(other <= value for other in values) >= percent * len(values)
    ]
    assert found == min(candidates)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1))
def test_distribution_ends_and_mean(values: list[int]) -> None:
    distribution = Distribution.of(values)
    assert distribution.minimum == min(values)
    assert distribution.maximum == max(values)
    assert distribution.mean is not None
    error = distribution.mean - Fraction(sum(values), len(values))
    assert Fraction(-1, 2) < error <= Fraction(1, 2)


def test_percentiles_of_a_hundred() -> None:
    distribution = Distribution.of(range(100, 0, -1))
    assert [distribution.percentile(percent) for percent in (0, 1, 50, 95, 100)] == [
        1, 1, 50, 95, 100,
    ]  # fmt: skip
    assert distribution.p95_p50 == 45
    assert distribution.percentile(Fraction(999, 10)) == 100


@pytest.mark.parametrize("percent", [-1, 101])
def test_percentile_refuses_what_is_none(percent: int) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        Distribution.of([1]).percentile(percent)


def test_empty_distribution_knows_nothing() -> None:
    empty = Distribution()
    assert (empty.minimum, empty.median, empty.maximum, empty.mean, empty.p95_p50) == (None,) * 5


@given(st.lists(st.integers(0, 50), unique=True))
def test_reordered_is_having_been_overtaken(numbers: list[int]) -> None:
    overtaken = [
        number
        for place, number in enumerate(numbers)
        if any(other > number for other in numbers[:place])
    ]
    assert reordered(numbers) == len(overtaken)


# ---- edges ---------------------------------------------------------------------------------------


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
    assert found.round_trip.delay.values == (8 * MS,)
    assert found.round_trip.pdv.values == (0,)
    assert found.round_trip.ipdv.values == ()
    assert found.processing.values == (MS,)
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
    assert len(found.round_trip.delay.values) == 1


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


@pytest.mark.parametrize("times_ns", [(9, 8, 8, 20), (1, 20, 20, 9)])
def test_negative_one_way_delay_tells_of_clocks_apart(times_ns: tuple[int, int, int, int]) -> None:
    assert metrics_of(a_sample(0, times_ns)).clocks_apart
    assert not metrics_of(a_sample(0, (0, 1, 1, 2))).clocks_apart


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


def test_first_and_last_are_right_across_an_era() -> None:
    found = metrics_of(
        a_sample(0, (0, 1, 2, 3), base_ns=NEXT_ERA - 2), a_sample(1, (5, 6, 7, 8), base_ns=NEXT_ERA)
    )
    assert (found.first, found.last) == (
        ntp_from_unix_ns(NEXT_ERA - 2),
        ntp_from_unix_ns(NEXT_ERA + 5),
    )


# ---- a network of known fate ---------------------------------------------------------------------


@dataclass(frozen=True)
class Fate:
    """What the network does to a packet: one delay per copy on each way; no copy is a loss."""

    there: tuple[int, ...]
    back: tuple[int, ...]


GAP = 10 * MS
RESIDENCE = MS // 2


def carry(fates: Sequence[Fate]) -> tuple[list[Sample], list[Sample]]:
    """Samples and duplicates as the engine fills them, packet n leaving at n · GAP."""
    at_reflector = sorted(
        (number * GAP + delay, number, copy)
        for number, fate in enumerate(fates)
        for copy, delay in enumerate(fate.there)
    )
    returns = sorted(
        (t2 + RESIDENCE + delay, copy, t2, reflector_number, number)
        for reflector_number, (t2, number, _) in enumerate(at_reflector)
        for copy, delay in enumerate(fates[number].back)
    )
    samples = [a_sample(number)._replace(t1=_at(number * GAP)) for number in range(len(fates))]
    duplicates = []
    for rank, (t4, _, t2, reflector_number, number) in enumerate(returns, 1):
        reply = a_sample(
            number,
            (number * GAP, t2, t2 + RESIDENCE, t4),
            rank=rank,
            reflector_number=reflector_number,
        )
        if samples[number].rank:
            duplicates.append(reply)
        else:
            samples[number] = reply
    return samples, duplicates


def _at(time_ns: int) -> int:
    return ntp_from_unix_ns(START + time_ns)


delay = st.integers(0, 50 * MS)
any_fate = st.builds(
    Fate,
    there=st.lists(delay, max_size=3).map(tuple),
    back=st.lists(delay, max_size=3).map(tuple),
)
# In order and without copies: then loss by direction is exact.
orderly_fate = st.sampled_from(
    [Fate((MS,), (MS,)), Fate((MS,), (MS,)), Fate((), ()), Fate((MS,), ())]
)


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
        assert list(one.delay.values) == sorted(known)
        assert list(one.pdv.values) == sorted(value - min(known) for value in known)
        assert list(one.ipdv.values) == sorted(pairs)


@given(st.lists(st.lists(any_fate, max_size=8), min_size=2, max_size=3))
def test_sessions_together_are_the_sum_of_each(fates_of_each: list[list[Fate]]) -> None:
    measurements = [a_measurement(*carry(fates), drops={"short": 1}) for fates in fates_of_each]
    together = measure(*measurements)
    each = [measure(measurement) for measurement in measurements]
    for count in ("sent", "received", "lost", "send_duplicates", "reflect_duplicates"):
        assert getattr(together, count) == sum(getattr(one, count) for one in each)
    for place in range(4):
        assert together.loss[place] == sum(one.loss[place] for one in each)
    for place in range(3):
        assert together.reordering[place] == sum(one.reordering[place] for one in each)
    for values in ("delay", "pdv", "ipdv"):
        assert list(getattr(together.send, values).values) == sorted(
            value for one in each for value in getattr(one.send, values).values
        )
    assert together.drops == {"short": len(measurements)}


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
