"""A source of sessions without TWAMP-Control serves a finite run and a continuous measurement."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from twamp.config.ping import PingConfig
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionReflector
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.engine.session_source import OpenSession, SessionSource
from twamp.metrics.interval import ReportInterval
from twamp.metrics.measure import Results
from twamp.monitor.watch import Watch
from twamp.ping.run import Run
from twamp.protocol.schedule import make_schedule, parse_intervals

HERE = "127.0.0.1"
PATIENCE = 20  # seconds


@dataclass(frozen=True)
class LightOpenSessions:
    """Sessions that nobody granted, and that nobody ends."""

    sessions: Sequence[OpenSession]

    async def wait_for_the_end(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """There is nobody to tell."""


class LightSessions:
    """TWAMP Light: test packets to a port that is known (RFC 5357 appendix I)."""

    def __init__(self, config: PingConfig, peer: Endpoint) -> None:
        self.warnings: list[str] = []
        self._config = config
        self._peer = peer

    @contextlib.asynccontextmanager
    async def open(self, start_time: int = 0) -> AsyncIterator[LightOpenSessions]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HERE, 0))
            source = Endpoint.from_sockaddr(sock.getsockname())
            yield LightOpenSessions(
                [OpenSession(sid=bytes(16), source=source, destination=self._peer, sock=sock)]
            )

    def sender_config(self, session: OpenSession, start_ns: int) -> SenderConfig:
        waits = parse_intervals(self._config.interval)
        return SenderConfig(
            peer=session.destination,
            schedule=make_schedule(waits, self._config.count, random.Random(1).random),
            start_ns=start_ns,
            loss_timeout_ns=int(self._config.loss_timeout * 10**9),
            padding_length=27,
        )

    def make_sender(self, session: OpenSession, config: SenderConfig) -> SessionSender:
        return SessionSender(session.sock, config)


@contextlib.asynccontextmanager
async def light_reflector() -> AsyncIterator[Endpoint]:
    async with SessionReflector(hash_seed=1) as reflector:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HERE, 0))
            local = Endpoint.from_sockaddr(sock.getsockname())
            reflector.add_light(local, sock)
            yield local


def config_of(**options: object) -> PingConfig:
    return PingConfig(interval="0.002f", loss_timeout="0.2", **options)  # type: ignore[arg-type]


def test_a_finite_run() -> None:
    async def test() -> None:
        async with light_reflector() as peer:
            config = config_of(count=20)
            source: SessionSource = LightSessions(config, peer)
            results = Results.of(await Run(config, source).run())
        assert (results.total.sent, results.total.received) == (20, 20)
        assert results.measurements[0].destination == peer

    asyncio.run(test())


def test_a_continuous_measurement() -> None:
    async def test() -> None:
        async with light_reflector() as peer:
            config = config_of(continuous=True, report_interval="0.2")
            intervals: list[ReportInterval] = []

            def report(interval: ReportInterval) -> None:
                intervals.append(interval)
                if interval.tally.received > 20:
                    watch.stop()

            watch = Watch("it", config, LightSessions(config, peer), report=report, warn=print)
            await asyncio.wait_for(watch.run(), PATIENCE)
        assert intervals[-1].reason == ""
        assert watch.connections == 1
        totals = watch.totals().tally
        assert totals.sent == totals.received > 20

    asyncio.run(test())
