"""The Session-Sender with a ring of samples: sessions longer than their table."""

import asyncio
import time
from array import array
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.scripted_reflector import Request, Script, ScriptedReflector, answer
from twamp.endpoint import Endpoint
from twamp.engine.session_sender import MOST_PACKETS, Collected, SenderConfig, SessionSender

if TYPE_CHECKING:
    from twamp.metrics.sample import Sample

MILLISECOND = 10**6
SPACE_NS = MILLISECOND // 2


class Ring:
    """A session of ``count`` packets over ``size`` rows, collected as it goes."""

    def __init__(self, script: Script, count: int, size: int, **changes: Any) -> None:
        self.script = script
        self.count = count
        self.size = size
        self.changes = changes
        self.samples: list[Sample] = []
        self.duplicates: list[Sample] = []

    def take(self, collected: Collected) -> None:
        self.samples += collected.samples
        self.duplicates += collected.duplicates

    def keep_up(self) -> None:
        self.take(self.sender.collect())
        first = self.sender.collected + self.size - self.sender.room
        self.sender.schedule_more((first + i) * SPACE_NS for i in range(self.sender.room))

    async def run(self, pause: float = 0.005) -> None:
        with (
            ScriptedReflector(self.script) as self.reflector,
            ScriptedReflector.bound("127.0.0.1") as sock,
        ):
            values: dict[str, Any] = {
                "peer": self.reflector.endpoint,
                "schedule": array("Q", range(0, self.size * SPACE_NS, SPACE_NS)),
                "count": self.count,
                "start_ns": time.monotonic_ns() + 10 * MILLISECOND,
                "loss_timeout_ns": 40 * MILLISECOND,
            }
            self.sender = SessionSender(sock, SenderConfig(**(values | self.changes)))
            running = asyncio.create_task(self.sender.run())
            while not running.done():
                await asyncio.wait([running], timeout=pause)
                self.keep_up()
            await running
            self.take(self.sender.collect())
        stats = self.sender.stats()
        replies = sum(sample.rank != 0 for sample in self.samples)
        assert stats.received == replies + len(self.duplicates) + sum(stats.drops.values())
        assert stats.replies == replies


def run(ring: Ring, pause: float = 0.005) -> Ring:
    asyncio.run(asyncio.wait_for(ring.run(pause), 60))
    return ring


def test_every_packet_is_collected_once_and_in_order() -> None:
    ring = run(Ring(answer, 2000, 256))
    assert [sample.sequence_number for sample in ring.samples] == list(range(2000))
    assert [request.sequence_number for request in ring.reflector.requests] == list(range(2000))
    assert {sample.t1_source for sample in ring.samples} == {2}
    # The honest reply tells of its packet: no sample holds another packet's.
    for sample in ring.samples:
        if sample.rank:
            assert sample.reflector_sequence_number == sample.sequence_number + 500
            assert sample.t2 == (3_900_000_000 << 32) + 2 * sample.sequence_number
    answered = sum(sample.rank != 0 for sample in ring.samples)
    assert answered == len(ring.reflector.requests) - ring.sender.stats().drops["late"]
    assert answered > 1000


def test_a_reply_after_the_loss_timeout_is_a_late_drop() -> None:
    withheld: list[Request] = []

    def script(reflector: ScriptedReflector, request: Request) -> None:
        if request.sequence_number < 3:
            withheld.append(request)
        else:
            answer(reflector, request)
        if request.sequence_number == 700:
            for late in withheld:
                answer(reflector, late)

    ring = run(Ring(script, 800, 200))
    assert [sample.rank for sample in ring.samples[:3]] == [0, 0, 0]
    assert ring.sender.stats().drops["late"] >= 3
    assert len(ring.samples) == 800
    assert all(
        sample.reflector_sequence_number == sample.sequence_number + 500
        for sample in ring.samples
        if sample.rank
    )


def test_who_collects_too_slowly_delays_packets_and_loses_none() -> None:
    ring = run(Ring(answer, 300, 32), pause=0.1)
    assert [sample.sequence_number for sample in ring.samples] == list(range(300))
    assert ring.sender.stats().stalls >= 5
    assert max(sample.lateness_ns for sample in ring.samples) > 20 * MILLISECOND


def test_duplicates_come_no_later_than_their_packets() -> None:
    def script(reflector: ScriptedReflector, request: Request) -> None:
        reflector.send(request.reply(sequence_number=2 * request.sequence_number), request)
        reflector.send(request.reply(sequence_number=2 * request.sequence_number + 1), request)

    ring = run(Ring(script, 1000, 256, duplicates_size=64), pause=0.002)
    stats = ring.sender.stats()
    assert stats.duplicates == len(ring.duplicates) > 64
    answered = {sample.sequence_number for sample in ring.samples if sample.rank}
    for sample in ring.duplicates:
        assert sample.sequence_number in answered
        assert sample.reflector_sequence_number == 2 * sample.sequence_number + 1
    assert {name for name, count in stats.drops.items() if count} <= {"no_room", "late"}


def test_stopping_a_ring_that_waits_for_its_owner_ends_it() -> None:
    async def test() -> None:
        with ScriptedReflector(answer) as reflector, ScriptedReflector.bound("127.0.0.1") as sock:
            config = SenderConfig(
                peer=reflector.endpoint,
                schedule=[0, 0],
                count=10,
                start_ns=time.monotonic_ns(),
                loss_timeout_ns=MILLISECOND,
            )
            sender = SessionSender(sock, config)
            running = asyncio.create_task(sender.run())
            async with asyncio.timeout(10):
                while not sender.stats().stalls:
                    await asyncio.sleep(0)
                sender.stop()
                await running
            assert [sample.sequence_number for sample in sender.collect().samples] == [0, 1]
            with pytest.raises(RuntimeError, match="a ring does not keep"):
                _ = sender.samples

    asyncio.run(test())


def test_what_does_not_fit_a_ring_is_refused() -> None:
    with ScriptedReflector.bound("127.0.0.1") as sock, ScriptedReflector.bound("127.0.0.1") as peer:

        def config(**changes: Any) -> SenderConfig:
            values: dict[str, Any] = {
                "peer": Endpoint.from_sockaddr(peer.getsockname()),
                "schedule": [0, 1],
                "start_ns": 0,
                "loss_timeout_ns": 0,
            }
            return SenderConfig(**(values | changes))

        with pytest.raises(ValueError, match="it goes from 0 to 4294967295"):
            SessionSender(sock, config(count=MOST_PACKETS + 1))
        with pytest.raises(OSError, match="Invalid argument"):
            SessionSender(sock, config(schedule=[], count=1))
        sender = SessionSender(sock, config(count=MOST_PACKETS))
        assert sender.room == 0
        with pytest.raises(ValueError, match="1 packets, and there is room for 0"):
            sender.schedule_more([2])
        sender.close()
        finite = SessionSender(sock, config())
        assert finite.room == 0
        finite.close()
