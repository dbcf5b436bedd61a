"""Session sources: one without a control connection opens, measures and stops; no key is shown."""

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

from tests.support.reflector_bench import bound, endpoint
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionReflector
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.engine.session_source import OpenSession, SessionSource
from twamp.protocol.crypto import PacketKeys

MS = 1_000_000


class LightSessions:
    """Sessions that need no far end to agree."""

    def __init__(self, sessions: Sequence[OpenSession]) -> None:
        self.sessions = sessions
        self.stopped = False

    async def wait_for_the_end(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.stopped = True


class LightSource:
    """Opens one session with a TWAMP Light reflector."""

    def __init__(self, reflector: Endpoint) -> None:
        self.warnings: list[str] = []
        self._reflector = reflector

    @asynccontextmanager
    async def open(self, start_time: int = 0) -> AsyncIterator[LightSessions]:
        with bound("127.0.0.1") as sock:
            yield LightSessions(
                [
                    OpenSession(
                        sid=bytes(16),
                        source=endpoint(sock),
                        destination=self._reflector,
                        sock=sock,
                    )
                ]
            )

    def sender_config(self, session: OpenSession, start_ns: int) -> SenderConfig:
        return SenderConfig(
            peer=session.destination,
            schedule=array("Q", range(0, 10 * MS, MS)),
            start_ns=start_ns,
            loss_timeout_ns=100 * MS,
            padding_length=27,
        )

    def make_sender(self, session: OpenSession, config: SenderConfig) -> SessionSender:
        return SessionSender(session.sock, config)


async def measured(source: SessionSource) -> SessionSender:
    """A run as any measurement makes it, knowing the source only by its shape."""
    async with source.open() as opened:
        [session] = opened.sessions
        sender = source.make_sender(session, source.sender_config(session, time.monotonic_ns()))
        await sender.run()
        await opened.stop()
    return sender


def test_a_source_without_a_control_connection_measures() -> None:
    async def test() -> SessionSender:
        async with SessionReflector() as reflector:
            with bound("127.0.0.1") as port:
                reflector.start(reflector.add_light(endpoint(port), port))
                return await measured(LightSource(endpoint(port)))

    sender = asyncio.run(test())
    assert [sample.rank > 0 for sample in sender.samples] == [True] * 10


def test_the_keys_of_a_session_are_not_shown() -> None:
    with bound("127.0.0.1") as sock:
        session = OpenSession(
            sid=bytes(16),
            source=endpoint(sock),
            destination=Endpoint(ip_address("192.0.2.1"), 862),
            sock=sock,
            keys=PacketKeys(b"k" * 16, b"h" * 32),
        )
        assert "keys" not in repr(session)
        assert "kkkk" not in repr(session)
