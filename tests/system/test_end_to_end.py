"""All four roles on loopback, under asyncio and under uvloop."""

import asyncio
import socket
import time
from array import array
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from tests.support.by_hand import Responder
from twamp.control.client import ControlClient, SessionRequest
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement

MS = 1_000_000
SECOND = 1_000_000_000
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    def runner(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as loop:
            loop.run(asyncio.wait_for(coroutine, 60))

    return runner


async def measure_once(
    port: int, host: str, *, sessions: int, count: int, interval_ns: int, padding_length: int = 27
) -> list[Metrics]:
    """What a user would write: connect, ask, start, measure, stop."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    async with await ControlClient.connect(host, port) as client:
        socks = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(sessions)]
        try:
            senders, accepted = [], []
            for sock in socks:
                sock.bind((host, 0))
                request = SessionRequest(
                    sender_port=sock.getsockname()[1],
                    receiver_port=0,
                    padding_length=padding_length,
                )
                accepted.append(await client.request_session(request))
            for sock, session in zip(socks, accepted, strict=True):
                config = SenderConfig(
                    peer=session.reflector,
                    schedule=array("Q", range(0, count * interval_ns, interval_ns)),
                    start_ns=time.monotonic_ns() + 50 * MS,
                    loss_timeout_ns=300 * MS,
                    padding_length=padding_length,
                )
                senders.append(SessionSender(sock, config))
            await client.start_sessions()
            await asyncio.gather(*(sender.run() for sender in senders))
            await client.stop_sessions()
        finally:
            for sock in socks:
                sock.close()
    return [
        measure(
            Measurement(
                sid=session.sid,
                source=session.sender,
                destination=session.reflector,
                samples=sender.samples,
                duplicates=sender.duplicates,
                loss_timeout_ns=300 * MS,
            )
        )
        for session, sender in zip(accepted, senders, strict=True)
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("padding_length", [0, 27, 100, 1400])
def test_one_session(
    run: Callable[[Coroutine[Any, Any, None]], None], host: str, padding_length: int
) -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            [metrics] = await measure_once(
                responder.port,
                host,
                sessions=1,
                count=50,
                interval_ns=2 * MS,
                padding_length=padding_length,
            )
            assert (metrics.sent, metrics.lost) == (50, 0)
            stats = responder.reflector.stats()
            assert stats.received == stats.reflected == 50
            assert stats.receive_sources["kernel"] == 50

    run(test())


def test_a_hundred_sessions_on_one_connection(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    async def test() -> None:
        async with Responder.listening(maximum_sessions_per_connection=100) as responder:
            everything = await measure_once(
                responder.port, "127.0.0.1", sessions=100, count=10, interval_ns=20 * MS
            )
            assert [(metrics.sent, metrics.lost) for metrics in everything] == [(10, 0)] * 100

    run(test())


def test_two_clients_at_once(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            both = await asyncio.gather(
                *(
                    measure_once(responder.port, host, sessions=3, count=20, interval_ns=5 * MS)
                    for host in ("127.0.0.1", "::1")
                )
            )
            for everything in both:
                assert [(m.sent, m.lost) for m in everything] == [(20, 0)] * 3

    run(test())


def test_the_order_of_the_four_timestamps_holds_on_one_host(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            [metrics] = await measure_once(
                responder.port, "127.0.0.1", sessions=1, count=200, interval_ns=1 * MS
            )
            # T1 <= T2 <= T3 <= T4 on every packet: all four are the clock of one host.
            for distribution in (metrics.send.delay, metrics.processing, metrics.reflect.delay):
                assert distribution.count == 200
                assert (distribution.minimum or 0) >= 0

    run(test())
