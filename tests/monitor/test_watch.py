"""Measuring without an end: intervals, connections that break, and memory that does not grow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tests.support.by_hand import Responder, free_port
from tests.support.relay import DROP, Fate, Relay
from twamp.config.ping import PingConfig
from twamp.config.target import Target
from twamp.config.users import Users
from twamp.control.client import Credentials
from twamp.engine.session_sender import SenderConfig
from twamp.engine.session_source import OpenSession
from twamp.errors import ConfigError
from twamp.metrics.interval import ReportInterval
from twamp.monitor.backoff import Backoff
from twamp.monitor.watch import MOST_ROWS, Watch, rows_for
from twamp.ping.sessions import TwampSessions

PATIENCE = 20.0  # seconds after which a test gives up; none waits as long when all is well


class Measuring:
    """A continuous measurement of a port of 127.0.0.1, and what it told."""

    def __init__(
        self, port: int, sessions: Any = TwampSessions, *, most: int = 2**32 - 1, **options: Any
    ):
        defaults: dict[str, Any] = {
            "continuous": True,
            "interval": "0.002f",
            "loss_timeout": "0.1",
            "report_interval": "0.2",
            "port_range": "0",
        }
        config = PingConfig(**(defaults | options))
        target = Target("127.0.0.1", "127.0.0.1", port)
        self.intervals: list[ReportInterval] = []
        self.warnings: list[str] = []
        self._told = asyncio.Event()
        random = Random(1)
        self.continuous: Watch = Watch(
            "it",
            config,
            sessions(config, target),
            report=self._report,
            warn=self.warnings.append,
            random=random,
            backoff=Backoff(random, first=0.02, most=0.05),
            most_packets=most,
        )

    def _report(self, interval: ReportInterval) -> None:
        self.intervals.append(interval)
        self._told.set()

    async def until(self, condition: Callable[[ReportInterval], bool]) -> ReportInterval:
        """The next interval of which that is true."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self._told.clear()
                await self._told.wait()
                if condition(self.intervals[-1]):
                    return self.intervals[-1]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.continuous.run())
        try:
            yield
            self.continuous.stop()
            await asyncio.wait_for(task, PATIENCE)
        finally:
            task.cancel()
            await asyncio.wait([task])

    def assert_books_balance(self) -> None:
        """Intervals follow each other and add up to the totals."""
        for earlier, later in zip(self.intervals, self.intervals[1:], strict=False):
            assert earlier.end_ns == later.begin_ns
        totals = self.continuous.totals()
        for name in ("sent", "received", "late", "forward", "reverse", "unknown", "send_errors"):
            parts = [getattr(interval.tally, name) for interval in self.intervals]
            assert getattr(totals.tally, name) == sum(parts), name
        assert sum(totals.tally.loss) == totals.tally.lost


def test_each_packet_is_in_one_interval() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            one = Measuring(responder.port, session_count=2)
            async with one.running():
                for _ in range(3):
                    interval = await one.until(lambda interval: interval.tally.received > 20)
                    assert not interval.reason
            one.assert_books_balance()
            totals = one.continuous.totals()
            assert totals.tally.sent == totals.tally.received + totals.tally.lost
            assert totals.tally.lost == 0
            assert len(totals.tallies) == 2
            assert min(tally.received for tally in totals.tallies) > 30
            assert totals.tally.round_trip.delay.count == totals.tally.received
            await responder.sessions_left(0)
        assert one.warnings == []
        assert one.continuous.connections == 1

    asyncio.run(test())


def test_a_server_that_goes_and_comes_back_is_measured_again() -> None:
    async def test() -> None:
        port = free_port()
        one = Measuring(port)
        options: dict[str, Any] = {"listen_address": ("127.0.0.1",), "port": port}
        async with one.running():
            never = await one.until(lambda interval: not interval.measured)
            assert "Connection refused" in never.reason
            async with Responder.listening(**options):
                await one.until(lambda interval: interval.tally.received > 20)
            gone = await one.until(lambda interval: not interval.measured)
            assert gone.tally.sent == 0
            assert "Connection refused" in gone.reason
            async with Responder.listening(**options):
                again = await one.until(lambda interval: interval.tally.received > 20)
                assert again.measured_ns > 0
                await one.until(lambda interval: not interval.reason)
                assert one.continuous.is_open
        one.assert_books_balance()
        assert one.continuous.connections == 2
        assert sum("trying again" in warning for warning in one.warnings) >= 2
        assert one.warnings[-1] == "it: measuring again"

    asyncio.run(test())


def test_a_session_ends_before_its_numbers_do_and_a_new_one_follows() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            one = Measuring(responder.port, most=300, interval="0.001f")
            async with one.running():
                async with asyncio.timeout(PATIENCE):
                    while one.continuous.connections < 4:
                        await asyncio.sleep(0.01)
            one.assert_books_balance()
            totals = one.continuous.totals().tally
            assert totals.sent >= 900
            assert totals.lost == 0
            assert one.warnings == []

    asyncio.run(test())


class Detour(TwampSessions):
    """Its packets go by way of a relay."""

    relay: Relay

    def sender_config(self, session: OpenSession, start_ns: int) -> SenderConfig:
        config = super().sender_config(session, start_ns)
        self.relay.destination = config.peer
        return SenderConfig(**{**vars(config), "peer": self.relay.front})

    def _request(self, *arguments: Any) -> Any:
        request = super()._request(*arguments)
        port = self.relay.back.port
        return type(request)(**{**vars(request), "sender_port": port})


def test_what_is_lost_copied_and_overtaken_is_counted() -> None:
    forward = {10: DROP, 11: DROP, 40: Fate(copies=2), 60: Fate(hold=2)}
    reverse = {20: DROP, 30: Fate(copies=3)}

    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            with Relay(4, forward, reverse) as Detour.relay:
                one = Measuring(responder.port, Detour, loss_timeout="0.5", report_interval="0.4")
                async with one.running():
                    await one.until(lambda _: one.continuous.totals().tally.sent > 100)
            one.assert_books_balance()
            tally = one.continuous.totals().tally
            assert (tally.forward, tally.reverse) == (2, 1)
            assert (tally.send_duplicates, tally.reflect_duplicates) == (1, 2)
            assert tally.reordered == tally.reordered_forward == 1

    asyncio.run(test())


def test_after_silence_new_sessions_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twamp.monitor.watch.SILENCE_SECONDS", 0.2)
    forward = dict.fromkeys(range(300), DROP)

    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            with Relay(4, forward) as Detour.relay:
                one = Measuring(responder.port, Detour)
                async with one.running():
                    silent = await one.until(lambda interval: interval.tally.sent > 0)
                    assert silent.tally.received == 0
                    assert silent.measured
                    await one.until(lambda interval: interval.tally.received > 0)
            one.assert_books_balance()
            assert one.continuous.connections >= 2
            assert any("no reply for" in warning for warning in one.warnings)

    asyncio.run(test())


def test_stopping_while_there_is_nobody_ends_it_at_once() -> None:
    async def test() -> None:
        one = Measuring(free_port())
        async with one.running():
            await one.until(lambda interval: not interval.measured)
        assert not any(interval.measured for interval in one.intervals)
        assert one.continuous.connections == 0

    asyncio.run(test())


def test_a_cancelled_measurement_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            one = Measuring(responder.port)
            task = asyncio.create_task(one.continuous.run())
            await one.until(lambda interval: interval.tally.received > 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            one.assert_books_balance()
            await responder.sessions_left(0)

    asyncio.run(test())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval": "0f"}, "interval: '0f' never waits"),
        ({"interval": "0.000001f"}, f"packets in memory; {MOST_ROWS} is the most"),
    ],
)
def test_what_would_need_too_much_memory_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rows_for(PingConfig(continuous=True, **options))


def test_the_ring_has_room_for_what_is_under_way() -> None:
    assert rows_for(PingConfig(interval="1f")) == 256
    assert rows_for(PingConfig(interval="0.001f,0.003f", loss_timeout=Decimal(2))) > 1000


def test_a_secured_target_is_measured() -> None:
    async def test() -> None:
        users = Users({"alice": b"secret"})
        credentials = Credentials("alice", b"secret")
        async with Responder.listening(
            users, listen_address=("127.0.0.1",), pbkdf2_count=1024
        ) as responder:

            def secured(config: PingConfig, target: Target) -> TwampSessions:
                return TwampSessions(config, target, credentials)

            one = Measuring(responder.port, secured, user="alice", auth_mode="E", most=400)
            async with one.running():
                await one.until(lambda _: one.continuous.connections >= 2)
            tally = one.continuous.totals().tally
            assert tally.received == tally.sent >= 400
            assert not tally.drops

    asyncio.run(test())
