"""The report says exactly what happened on the way: sender ⇄ relay ⇄ reflector, by schedule.

The relay's schedules are what the report is held to; each expected number below can be counted by
hand from them.  Sender and reflector are the real ones, their packets real packets.
"""

import asyncio
import time
from array import array
from dataclasses import dataclass

import pytest

from tests.support.relay import DROP, Fate, Relay, Schedule
from tests.support.scripted_reflector import LOOPBACK, ScriptedReflector
from tests.support.sessions import exact
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.engine.statistics import ReflectorStats
from twamp.metrics.figures import Loss, Metrics, Reordering
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement

MILLISECOND = 10**6
COUNT = 40
LOSS_TIMEOUT_NS = 5000 * MILLISECOND  # only a failing test waits so long


@dataclass
class Outcome:
    """What each of the three has to tell."""

    sender: SessionSender
    relay: Relay
    reflected: ReflectorStats
    metrics: Metrics

    @property
    def answered(self) -> list[int]:
        return [sample.sequence_number for sample in self.sender.samples if sample.rank]


async def _session(
    relay: Relay, reflector: SessionReflector, ip_version: int, loss_timeout_ns: int, arrivals: int
) -> SessionSender:
    host = LOOPBACK[ip_version]
    with ScriptedReflector.bound(host) as port, ScriptedReflector.bound(host) as sock:
        relay.destination = Endpoint.from_sockaddr(port.getsockname())
        reflector.start(
            reflector.add(SessionConfig(local=relay.destination, peer=relay.back), port)
        )
        config = SenderConfig(
            peer=relay.front,
            schedule=array("Q", range(0, COUNT * MILLISECOND, MILLISECOND)),
            start_ns=time.monotonic_ns() + 20 * MILLISECOND,
            loss_timeout_ns=loss_timeout_ns,
            padding_length=27,
        )
        sender = SessionSender(sock, config)
        running = asyncio.create_task(sender.run())
        while not running.done() and (
            sender.sent < COUNT
            or sender.stats().received < arrivals
            or len(relay.forward.came) < COUNT
            or len(relay.reverse.came) < len(relay.forward.went)
        ):
            await asyncio.sleep(0.002)
        sender.stop(drain=False)
        await running
        return sender


def go(
    forward: Schedule | None = None,
    reverse: Schedule | None = None,
    *,
    arrivals: int,
    ip_version: int = 4,
    loss_timeout_ns: int = LOSS_TIMEOUT_NS,
) -> Outcome:
    """One session of 40 packets, over when ``arrivals`` datagrams have come back to the sender."""

    async def run() -> Outcome:
        async with SessionReflector(maximum_sessions=1) as reflector:
            with Relay(ip_version, forward, reverse) as relay:
                # The sender reads on for five seconds, whatever it then counts as late.
                sender = await _session(relay, reflector, ip_version, LOSS_TIMEOUT_NS, arrivals)
        measurement = Measurement(
            sid=bytes(16),
            source=relay.back,
            destination=relay.front,
            samples=sender.samples,
            duplicates=sender.duplicates,
            loss_timeout_ns=loss_timeout_ns,
            drops=sender.stats().drops,
            send_errors=sender.stats().send_errors,
        )
        return Outcome(sender, relay, reflector.stats(), measure(measurement))

    outcome = asyncio.run(run())
    require_the_three_to_agree(outcome, arrivals)
    return outcome


def require_the_three_to_agree(outcome: Outcome, arrivals: int) -> None:
    """What one sent the next one got, to the packet: nothing was lost but by the relay."""
    relay, stats = outcome.relay, outcome.sender.stats()
    assert stats.sent == len(relay.forward.came) == COUNT
    assert outcome.reflected.received == len(relay.forward.went)
    assert outcome.reflected.reflected == len(relay.reverse.came) == len(relay.forward.went)
    assert stats.received == len(relay.reverse.went) == arrivals
    assert sum(stats.drops.values()) == 0
    assert {int.from_bytes(octets[:4]) for octets in relay.forward.came} == set(range(COUNT))


def numbers_of_lost(outcome: Outcome) -> list[int]:
    return sorted(set(range(COUNT)) - set(outcome.answered))


@pytest.mark.parametrize("ip_version", [4, 6], ids=["IPv4", "IPv6"])
def test_a_clean_way_is_reported_clean(ip_version: int) -> None:
    outcome = go(arrivals=COUNT, ip_version=ip_version)
    metrics = outcome.metrics
    assert (metrics.sent, metrics.received, metrics.lost) == (COUNT, COUNT, 0)
    assert (metrics.send_duplicates, metrics.reflect_duplicates) == (0, 0)
    assert metrics.reordering == Reordering(0, 0, 0)
    assert metrics.loss == Loss(0, 0, 0, 0)
    assert (metrics.send_hops.maximum, metrics.reflect_hops.maximum) == (0, 0)


@pytest.mark.parametrize("ip_version", [4, 6], ids=["IPv4", "IPv6"])
def test_forward_loss(ip_version: int) -> None:
    lost = [0, 7, 8, 30]
    outcome = go(dict.fromkeys(lost, DROP), arrivals=COUNT - 4, ip_version=ip_version)
    assert numbers_of_lost(outcome) == lost == outcome.relay.forward.dropped
    assert (outcome.metrics.received, outcome.metrics.lost) == (COUNT - 4, 4)
    assert outcome.metrics.loss == Loss(forward=4)
    assert outcome.metrics.reordering == Reordering(0, 0, 0)
    # The reflector numbers what reaches it.
    numbers = [s.reflector_sequence_number for s in outcome.sender.samples if s.rank]
    assert numbers == list(range(COUNT - 4))


@pytest.mark.parametrize("ip_version", [4, 6], ids=["IPv4", "IPv6"])
def test_reverse_loss(ip_version: int) -> None:
    lost = [0, 7, 8, 30]
    outcome = go(None, dict.fromkeys(lost, DROP), arrivals=COUNT - 4, ip_version=ip_version)
    assert numbers_of_lost(outcome) == lost == outcome.relay.reverse.dropped
    assert outcome.metrics.lost == 4
    assert outcome.metrics.loss == Loss(reverse=4)


def test_loss_in_both_directions_is_told_apart() -> None:
    # Replies are numbered as they come: reply 3 answers packet 5, for 1 and 2 did not arrive.
    outcome = go({1: DROP, 2: DROP, 20: DROP}, {3: DROP, 30: DROP}, arrivals=COUNT - 5)
    assert numbers_of_lost(outcome) == [1, 2, 5, 20, 33]
    assert outcome.metrics.loss == Loss(forward=3, reverse=2)


def test_what_is_lost_after_the_last_reply_is_lost_somewhere() -> None:
    outcome = go({COUNT - 1: DROP}, {COUNT - 2: DROP, 4: DROP}, arrivals=COUNT - 3)
    assert numbers_of_lost(outcome) == [4, COUNT - 2, COUNT - 1]
    assert outcome.metrics.loss == Loss(reverse=1, unknown=2)


def test_everything_lost_is_reported_as_such() -> None:
    outcome = go(dict.fromkeys(range(COUNT), DROP), arrivals=0)
    metrics = outcome.metrics
    assert (metrics.sent, metrics.received, metrics.lost) == (COUNT, 0, COUNT)
    assert metrics.loss == Loss(unknown=COUNT)
    assert metrics.round_trip.delay.median is None


def test_forward_duplicates() -> None:
    copies = {3: Fate(copies=2), 10: Fate(copies=4), 39: Fate(copies=2)}
    outcome = go(copies, arrivals=COUNT + 5)
    metrics = outcome.metrics
    assert (metrics.sent, metrics.received, metrics.lost) == (COUNT, COUNT, 0)
    assert (metrics.send_duplicates, metrics.reflect_duplicates) == (5, 0)
    copied = [sample.sequence_number for sample in outcome.sender.duplicates]
    assert copied == [3, 10, 10, 10, 39]
    assert metrics.reordering == Reordering(0, 0, 0)


def test_reverse_duplicates() -> None:
    copies = {3: Fate(copies=2), 10: Fate(copies=4), 39: Fate(copies=2)}
    outcome = go(None, copies, arrivals=COUNT + 5)
    metrics = outcome.metrics
    assert (metrics.received, metrics.lost) == (COUNT, 0)
    assert (metrics.send_duplicates, metrics.reflect_duplicates) == (0, 5)
    for again in outcome.sender.duplicates:
        first = outcome.sender.samples[again.sequence_number]
        assert (again.t2, again.t3) == (first.t2, first.t3)
        assert again.reflector_sequence_number == first.reflector_sequence_number


def test_duplicates_of_both_directions_are_told_apart() -> None:
    # Packet 5 arrives three times and is answered by replies 5, 6, 7; reply 6 comes back twice.
    outcome = go({5: Fate(copies=3)}, {6: Fate(copies=2)}, arrivals=COUNT + 3)
    metrics = outcome.metrics
    assert (metrics.received, metrics.lost) == (COUNT, 0)
    assert (metrics.send_duplicates, metrics.reflect_duplicates) == (2, 1)


def test_a_copy_whose_first_reply_is_lost_is_no_loss() -> None:
    outcome = go({5: Fate(copies=2)}, {5: DROP}, arrivals=COUNT)
    assert outcome.metrics.lost == 0
    assert outcome.sender.samples[5].reflector_sequence_number == 6


def test_forward_reordering() -> None:
    # One overtaken by one, one by three: two packets came after a later one (RFC 4737).
    outcome = go({4: Fate(hold=1), 20: Fate(hold=3)}, arrivals=COUNT)
    order = [*range(4), 5, 4, *range(6, 20), 21, 22, 23, 20, *range(24, COUNT)]
    assert outcome.relay.forward.order == order
    by_rank = sorted(outcome.sender.samples, key=lambda sample: sample.rank)
    assert [sample.sequence_number for sample in by_rank] == order
    assert outcome.metrics.reordering == Reordering(round_trip=2, forward=2, reverse=0)
    assert outcome.metrics.lost == 0


def test_reverse_reordering() -> None:
    outcome = go(None, {4: Fate(hold=1), 20: Fate(hold=3)}, arrivals=COUNT)
    assert outcome.metrics.reordering == Reordering(round_trip=2, forward=0, reverse=2)
    assert outcome.metrics.lost == 0


def test_what_is_put_in_order_again_on_the_way_back_is_still_reordered_each_way() -> None:
    # Packet 4 arrives after 5, and its reply, number 5, overtakes that of packet 5, number 4.
    outcome = go({4: Fate(hold=1)}, {4: Fate(hold=1)}, arrivals=COUNT)
    assert outcome.metrics.reordering == Reordering(round_trip=0, forward=1, reverse=1)


@pytest.mark.parametrize("ip_version", [4, 6], ids=["IPv4", "IPv6"])
def test_a_delay_is_in_its_direction_and_in_no_other_packet(ip_version: int) -> None:
    forward = {10: Fate(delay_ns=200 * MILLISECOND)}
    reverse = {20: Fate(delay_ns=300 * MILLISECOND)}
    outcome = go(forward, reverse, arrivals=COUNT, ip_version=ip_version)
    send, reflect = outcome.metrics.send.delay, outcome.metrics.reflect.delay
    slow = outcome.sender.samples[10]
    assert slow.t2 - slow.t1 >= 200 * MILLISECOND * 2**32 // 10**9
    [slower] = [s for s in outcome.sender.samples if s.reflector_sequence_number == 20]
    assert slower.t4 - slower.t3 >= 300 * MILLISECOND * 2**32 // 10**9
    # What the relay itself took of each packet is within what was measured of it.
    for direction, delay in ((outcome.relay.forward, send), (outcome.relay.reverse, reflect)):
        took = sorted(departure.went_ns - departure.came_ns for departure in direction.went)
        assert all(inside <= whole for inside, whole in zip(took, exact(delay), strict=True))
    assert outcome.metrics.lost == 0


def test_a_reply_after_the_loss_timeout_is_lost_and_late() -> None:
    timeout_ns = 400 * MILLISECOND
    outcome = go(
        {10: Fate(delay_ns=timeout_ns), 12: DROP}, arrivals=COUNT - 1, loss_timeout_ns=timeout_ns
    )
    assert outcome.metrics.loss.late >= 1
    assert outcome.metrics.loss.forward == 1
    assert outcome.metrics.lost == outcome.metrics.loss.late + 1
    assert 10 in outcome.answered


def test_everything_at_once() -> None:
    forward = {
        2: DROP,  # replies from here on are numbered one less
        6: Fate(copies=2),  # replies 5 and 6; from here on number for number again
        12: Fate(hold=2),  # arrives after 14, as reply 14; 13 and 14 are replies 12 and 13
        25: DROP,  # from here on one less
    }
    reverse = {
        9: DROP,  # packet 9
        16: Fate(copies=3),  # packet 16
        30: Fate(hold=1),  # packet 31, after 32
    }
    outcome = go(forward, reverse, arrivals=COUNT - 2 + 1 - 1 + 2)
    metrics = outcome.metrics
    assert numbers_of_lost(outcome) == [2, 9, 25]
    assert metrics.loss == Loss(forward=2, reverse=1)
    assert (metrics.send_duplicates, metrics.reflect_duplicates) == (1, 2)
    assert metrics.reordering == Reordering(round_trip=2, forward=1, reverse=1)
