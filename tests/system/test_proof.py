"""The report is what the schedule says: every count and every quantile, against a model of its own.

First with real packets through the relay, by schedules drawn from a seed: the model reads nothing but the
schedule.  Then quantiles: the kernel's times are not ours to set, so a simulated way fills the engine's
rows, with delays of whole 2⁻⁹ s, which are exact in NTP as in nanoseconds.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any, NamedTuple

import pytest

from tests.support.relay import DROP, Fate, Schedule
from tests.system.test_impairment import COUNT, go
from twamp.endpoint import Endpoint
from twamp.engine.native import ffi
from twamp.engine.sample_table import SAMPLE_LAYOUT, SampleTable
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import Results
from twamp.metrics.sample import Measurement, Sample
from twamp.report.json_tree import json_tree

UNTOUCHED = 6  # packets at the end that only pass, so that every loss has an answer behind it


# ---- counts, with real packets -------------------------------------------------------------------


def through(schedule: Schedule, coming: list[int]) -> list[int]:
    """What leaves one way of the relay, copies too; packets have the numbers 0, 1, … as they come."""
    leaving = []
    for number, packet in enumerate(coming):
        fate = schedule.get(number, Fate())
        goes_with = number + fate.hold
        if fate.copies and goes_with < len(coming):
            leaving += [((goes_with, fate.hold > 0, number), packet)] * fate.copies
    return [packet for _, packet in sorted(leaving, key=lambda each: each[0])]


def overtaken(numbers: list[int]) -> int:
    """Those that came after a greater one (RFC 4737 section 3.3)."""
    return sum(any(before > number for before in numbers[:i]) for i, number in enumerate(numbers))


@dataclass
class Expected:
    """What must be reported; ``back`` is the reflector's numbers in the order of their return."""

    at_reflector: list[int]
    back: list[int]

    @property
    def first(self) -> dict[int, int]:
        """Of each answered packet, the number of the reply that came first."""
        found: dict[int, int] = {}
        for number in self.back:
            found.setdefault(self.at_reflector[number], number)
        return found

    def check(self, metrics: Metrics, *, directions: bool) -> None:
        first = self.first
        never_arrived = COUNT - len(set(self.at_reflector))
        assert (metrics.sent, metrics.received) == (COUNT, len(first))
        assert metrics.lost == COUNT - len(first)
        assert metrics.send_duplicates == len(set(self.back)) - len(first)
        assert metrics.reflect_duplicates == len(self.back) - len(set(self.back))
        order = metrics.reordering
        assert order.round_trip == overtaken([*first])
        assert order.reverse == overtaken([*first.values()])
        assert order.forward == overtaken(sorted(first, key=lambda packet: first[packet]))
        if directions:
            loss = metrics.loss
            assert (loss.forward, loss.reverse) == (never_arrived, metrics.lost - never_arrived)


def drawn(rng: random.Random, fates: list[Fate], length: int) -> Schedule:
    """Every fourth packet or so meets one of these fates."""
    return {
        number: rng.choice(fates) for number in range(length - UNTOUCHED) if rng.random() < 0.25
    }


HOLDS = [Fate(hold=1), Fate(hold=3), Fate(hold=UNTOUCHED)]
COPIES = [Fate(copies=2), Fate(copies=3), Fate(copies=2, hold=2)]


@pytest.mark.parametrize("seed", range(6))
def test_losses_and_reordering_are_those_of_the_schedule(seed: int) -> None:
    compare(seed, [DROP, *HOLDS], directions=True)


@pytest.mark.parametrize("seed", range(6, 12))
def test_losses_copies_and_reordering_are_those_of_the_schedule(seed: int) -> None:
    """Which way a packet was lost cannot always be told where others were copied: see Loss."""
    compare(seed, [DROP, *HOLDS, *COPIES], directions=False)


def compare(seed: int, fates: list[Fate], *, directions: bool) -> None:
    rng = random.Random(seed)
    eventful = False
    while not eventful:
        forward = drawn(rng, fates, COUNT)
        at_reflector = through(forward, [*range(COUNT)])
        reverse = drawn(rng, fates, len(at_reflector))
        expected = Expected(at_reflector, through(reverse, [*range(len(at_reflector))]))
        lossy = DROP in forward.values() and DROP in reverse.values()
        eventful = lossy and overtaken(at_reflector) > 1 and overtaken(expected.back) > 1
    outcome = go(forward, reverse, arrivals=len(expected.back), ip_version=4 + 2 * (seed % 2))
    expected.check(outcome.metrics, directions=directions)


# ---- quantiles, exactly --------------------------------------------------------------------------

TICK_NS = 10**9 >> 9  # exact: 10⁹ is a multiple of 2⁹
TICK_NTP = 1 << 23
START = 3_900_000_000 << 32
PERCENTILES = [Decimal(text) for text in ("0", "1", "25", "50", "90", "95", "99", "99.9", "100")]
TIMEOUT = 1000  # ticks


class Way(NamedTuple):
    """What happens to one packet, in ticks; None: lost on that way."""

    there: int | None
    residence: int
    back: int | None


def a_way(rng: random.Random) -> Way:
    delays = [None if rng.random() < 0.05 else int(rng.paretovariate(1.2) * 5) for _ in range(2)]
    return Way(delays[0], rng.randrange(4), delays[1])


def rows(ways: list[Way], interval: int, offset: int) -> tuple[Sequence[Sample], int]:
    """The engine's table, octet for octet, after a session whose reflector's clock is ``offset`` ahead."""
    arriving = sorted(
        (n * interval + way.there, n) for n, way in enumerate(ways) if way.there is not None
    )
    numbers = {n: number for number, (_, n) in enumerate(arriving)}
    returning = sorted(
        (n * interval + way.there + way.residence + way.back, n)
        for n, way in enumerate(ways)
        if way.there is not None and way.back is not None
    )
    ranks = {n: rank for rank, (_, n) in enumerate(returning, 1)}
    octets = b""
    for n, way in enumerate(ways):
        times = [n * interval, 0, 0, 0]
        if n in ranks:
            assert way.there is not None
            assert way.back is not None
            arrival = times[0] + way.there + offset
            times[1:] = [arrival, arrival + way.residence, 0]
            times[3] = times[2] - offset + way.back
        known = [True, *[n in ranks] * 3]
        stamps = [START + TICK_NTP * t if k else 0 for t, k in zip(times, known, strict=True)]
        octets += SAMPLE_LAYOUT.pack(
            *stamps, n, numbers.get(n, 0), ranks.get(n, 0), 0, 0x8101, 0x8101, 250, 251, 0, 2, 2
        )
    table = ffi.new("struct tw_sample[]", len(ways))
    ffi.buffer(table)[:] = octets
    rows = ffi.cast("struct tw_sample *", table)
    return SampleTable(table, rows, len(ways)), len(returning)


def quantile(values: list[int], percent: Decimal) -> int:
    """The least value that at least so many per cent of all do not exceed, found by counting."""
    return min(v for v in values if 100 * sum(w <= v for w in values) >= percent * len(values))


def expected_values(values: list[int]) -> dict[str, Any]:
    whole = [value * TICK_NS for value in values]
    return {
        "min": min(whole),
        "median": quantile(whole, Decimal(50)),
        "max": max(whole),
        "percentiles": {f"{p:f}": quantile(whole, p) for p in PERCENTILES},
    }


def said(values: dict[str, Any]) -> dict[str, Any]:
    wanted = {f"{p:f}" for p in PERCENTILES}
    percentiles = {key: value for key, value in values["percentiles"].items() if key in wanted}
    return {key: values[key] for key in ("min", "median", "max")} | {"percentiles": percentiles}


@pytest.mark.parametrize("offset", [0, 700, -300], ids=["no offset", "ahead", "behind"])
@pytest.mark.parametrize("seed", range(5))
def test_every_quantile_is_that_of_the_schedule(seed: int, offset: int) -> None:
    rng = random.Random(seed)
    interval = rng.choice([1, 3, 20])
    ways = [a_way(rng) for _ in range(rng.choice([7, 100, 501]))]
    samples, answered = rows(ways, interval, offset)
    end = Endpoint(IPv4Address("192.0.2.1"), 9000)
    measurement = Measurement(
        sid=bytes(16),
        source=end,
        destination=end,
        samples=samples,
        loss_timeout_ns=TIMEOUT * TICK_NS,
    )
    tree = json_tree(
        Results.of([measurement]), version="", configuration={}, percentiles=PERCENTILES
    )
    [result] = tree["results"]
    came = {
        n: (way.there, way.residence, way.back)
        for n, way in enumerate(ways)
        if way.there is not None and way.back is not None and sum(way) <= TIMEOUT  # type: ignore[arg-type]
    }
    kinds: dict[str, dict[int, int]] = {
        "round-trip-time": {n: there + back for n, (there, _, back) in came.items()},
        "send-time": {n: there + offset for n, (there, _, _) in came.items()},
        "reflect-time": {n: back - offset for n, (_, _, back) in came.items()},
    }
    for kind, values in kinds.items():
        least = min(values.values())
        neighbours = [values[n] - values[n - 1] for n in values if n - 1 in values]
        assert said(result[kind]) == expected_values([*values.values()])
        assert said(result[kind]["pdv-rfc5481"]) == expected_values(
            [value - least for value in values.values()]
        )
        assert said(result[kind]["ipdv-rfc3393"]) == expected_values(neighbours)
    residences = [residence for _, residence, _ in came.values()]
    assert said(result["reflector-processing-time"]) == expected_values(residences)
    packets = result["packets"]
    assert packets["num-pkts-lost"] == len(ways) - len(came)
    assert packets["lost"]["late"] == answered - len(came)
    assert Counter(sample.rank > 0 for sample in samples)[True] == answered
