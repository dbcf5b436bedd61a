"""Tallies: on any session what the exact metrics say, whole or in parts."""

from collections.abc import Sequence
from dataclasses import fields
from random import Random
from typing import NamedTuple

import pytest

from twamp.endpoint import Endpoint
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement, Sample
from twamp.metrics.tally import SessionFold, Tally
from twamp.metrics.values import Values
from twamp.protocol.timestamps import ErrorEstimate, ntp_from_unix_ns

MS = 1_000_000
TIMEOUT_NS = 20 * MS
BEGIN_NS = 1_800_000_000 * 10**9
END = Endpoint.from_sockaddr(("127.0.0.1", 1))


class Reply(NamedTuple):
    """A reply that arrived, in the order of arrival; times in Unix ns."""

    t4: int
    number: int
    reflected: int
    t2: int


def replies(random: Random, departures: Sequence[int]) -> list[Reply]:
    """Packets lost, copied, late and overtaken on either way, at random."""
    spread = random.choice([0, MS // 2, 5 * MS])
    loss, copies = random.choice([0, 0.1, 0.5]), random.choice([0, 0.1])
    there = []  # (arrival at the reflector, number)
    for number, t1 in enumerate(departures):
        for _ in range(1 + (random.random() < copies)):
            if random.random() >= loss:
                there.append((t1 + 1000 + random.randint(0, spread), number))  # noqa: PERF401
    back = []
    for reflected, (t2, number) in enumerate(sorted(there)):
        for _ in range(1 + (random.random() < copies)):
            if random.random() >= loss / 2:
                late = TIMEOUT_NS if random.random() < 0.02 else 0
                t4 = t2 + 1500 + late + random.randint(0, spread)
                back.append(Reply(t4, number, reflected, t2))
    return sorted(back)


def a_session(random: Random, count: int) -> Measurement:
    departures = [BEGIN_NS + number * MS for number in range(count)]
    samples: dict[int, Sample] = {}
    duplicates = []
    estimate = int(ErrorEstimate.covering(5000, synchronized=random.random() < 0.9))
    for rank, (t4, number, reflected, t2) in enumerate(replies(random, departures), 1):
        sample = Sample(
            t1=ntp_from_unix_ns(departures[number]),
            t2=ntp_from_unix_ns(t2),
            t3=ntp_from_unix_ns(t2 + 500),
            t4=ntp_from_unix_ns(t4),
            sequence_number=number,
            reflector_sequence_number=reflected,
            rank=rank,
            lateness_ns=random.randint(0, 5000),
            sender_error_estimate=0x8107,
            reflector_error_estimate=estimate,
            sender_ttl=random.choice([254, 255]),
            ttl=253,
            tos=random.choice([0, 46 << 2, 3]),
            t1_source=2,
            t4_source=random.choice([1, 2]),
        )
        if number in samples:
            duplicates.append(sample)
        else:
            samples[number] = sample
    silent = Sample(*[0] * 15)
    rows = [
        samples.get(
            number,
            silent._replace(
                t1=ntp_from_unix_ns(t1),
                sequence_number=number,
                t1_source=0 if random.random() < 0.02 else 2,
            ),
        )
        for number, t1 in enumerate(departures)
    ]
    return Measurement(
        sid=bytes(16),
        source=END,
        destination=END,
        samples=rows,
        duplicates=duplicates,
        loss_timeout_ns=TIMEOUT_NS,
    )


def fold(measurement: Measurement, tallies: list[Tally], random: Random) -> None:
    """All of a session, in batches such as come of a ring, over the tallies in turn."""
    session = SessionFold(measurement.loss_timeout_ns)
    rows, copies = list(measurement.samples), list(measurement.duplicates)
    share = -(-len(rows) // len(tallies))
    for place, tally in enumerate(tallies):
        left = rows[place * share : (place + 1) * share]
        while left:
            batch, left = left[: (size := random.randint(1, 30))], left[size:]
            numbers = range(batch[-1].sequence_number + 1)
            session.add_duplicates(copy for copy in copies if copy.sequence_number in numbers)
            copies = [copy for copy in copies if copy.sequence_number not in numbers]
            session.add(batch, tally)
    session.finish(tallies[-1])


def counts(of: Tally | Metrics) -> dict[str, object]:
    names = ("sent", "received", "lost", "send_duplicates", "reflect_duplicates", "reordering")
    return {name: getattr(of, name) for name in names}


def same_but_for_percentiles(histogram: Values, distribution: Values) -> None:
    """Percentiles are right to 0.1 %, all else is exact."""
    for name in ("count", "minimum", "maximum", "mean", "standard_deviation"):
        assert getattr(histogram, name) == getattr(distribution, name), name
    near = distribution.percentile(95)
    if near is not None:
        assert histogram.percentile(95) == pytest.approx(near, rel=0.001)


# What a tally cannot say as exactly as the samples, and what a finite run does not have.
LEFT_OUT = {"round_trip", "send", "reflect", "processing", "lateness", "stalls", "drops"}


@pytest.mark.parametrize("seed", range(60))
def test_a_tally_has_the_figures_of_the_samples(seed: int) -> None:
    random = Random(seed)
    measurement = a_session(random, random.choice([1, 10, 300]))
    exact, tally = measure(measurement), Tally()
    fold(measurement, [tally], random)
    found = tally.metrics()
    compared = {field.name for field in fields(Metrics)} - LEFT_OUT
    assert len(compared) > 15
    for name in compared:
        assert getattr(found, name) == getattr(exact, name), name
    same_but_for_percentiles(found.processing, exact.processing)
    same_but_for_percentiles(found.lateness, exact.lateness)
    for name in ("round_trip", "send", "reflect"):
        mine, theirs = getattr(found, name), getattr(exact, name)
        assert (mine.jitter, mine.error_ns) == (theirs.jitter, theirs.error_ns)
        same_but_for_percentiles(mine.delay, theirs.delay)
        same_but_for_percentiles(mine.ipdv, theirs.ipdv)
        assert mine.pdv.maximum == theirs.pdv.maximum
        pdv = theirs.pdv.percentile(99)
        if pdv is not None:
            allowed = theirs.delay.percentile(99) / 1000 + 1
            assert mine.pdv.percentile(99) == pytest.approx(pdv, abs=allowed)


def test_the_sessions_of_this_test_have_everything_in_them() -> None:
    totals = Tally()
    for seed in range(60):
        random = Random(seed)
        fold(a_session(random, random.choice([1, 10, 300])), [totals], random)
    assert min(totals.loss) > 10
    assert min(totals.reordering) > 10
    assert min(totals.send_duplicates, totals.reflect_duplicates) > 10


@pytest.mark.parametrize("seed", range(20))
def test_parts_add_up_to_the_whole(seed: int) -> None:
    random = Random(seed)
    measurement = a_session(random, 300)
    exact = measure(measurement)
    parts = [Tally() for _ in range(4)]
    fold(measurement, parts, random)
    whole = Tally.of(parts)
    assert counts(whole) == counts(exact)
    assert whole.round_trip.ipdv.count == exact.round_trip.ipdv.count
    assert whole.round_trip.delay.mean == exact.round_trip.delay.mean
    assert whole.sender_error_ns == exact.sender_error_ns
    assert whole.send.delay.standard_deviation == exact.send.delay.standard_deviation
    for part in (*parts, whole):
        assert sum(part.loss) == part.lost
        assert min(part.loss) >= 0


def test_an_empty_tally_knows_nothing() -> None:
    tally = Tally.of([Tally(), Tally()])
    assert tally == Tally()
    found = tally.metrics()
    assert (found.first, found.send.error_ns, found.round_trip.jitter) == (None, None, None)
    assert not found.synchronized
    assert not found.clocks_apart


def test_jitter_is_the_latest_of_a_session_and_the_greatest_of_several() -> None:
    before, after, silent = Tally(), Tally(), Tally()
    before.send.jitter, after.send.jitter = 7, 5
    assert Tally.of([before, after, silent]).send.jitter == 7
    for later in (after, silent):
        before.merge(later)
    assert before.send.jitter == 5


def test_counters_add_up() -> None:
    tally = Tally()
    tally.add_counters(drops={"late": 2, "short": 0}, send_errors=1, stalls=3)
    tally.merge(tally)
    assert (tally.drops, tally.send_errors, tally.stalls) == ({"late": 4}, 2, 6)
