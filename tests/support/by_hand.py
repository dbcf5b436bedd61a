"""A Server on loopback, and a client and a prober by hand, for tests."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, Self, TypeVar

from twamp.config.reflector import ReflectorConfig
from twamp.config.users import Users
from twamp.control.server import Server
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionReflector
from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartSessions,
)
from twamp.protocol.message import Message
from twamp.protocol.packets import ReflectorPacket, SenderPacket
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.timestamps import interval_from_ns

SECOND = 1_000_000_000
ANSWER_WITHIN = 5.0  # a bound, not a measurement: what does not come by then is not coming
MessageT = TypeVar("MessageT", bound=Message)


class Listening(Protocol):
    """What has a TCP port to connect to."""

    @property
    def port(self) -> int: ...


class Responder:
    """A Server and its Session-Reflector on loopback."""

    def __init__(self, server: Server, reflector: SessionReflector) -> None:
        self.server = server
        self.reflector = reflector
        self.port = server.addresses[0].port

    @classmethod
    @asynccontextmanager
    async def listening(cls, users: Users | None = None, **options: Any) -> AsyncIterator[Self]:
        options.setdefault("port", 0)
        config = ReflectorConfig(**options)
        async with (
            SessionReflector(
                maximum_sessions=config.maximum_sessions,
                rate_limit=config.rate_limit,
                error_estimate=config.error_estimate,
            ) as reflector,
            Server(config, reflector, users) as server,
        ):
            yield cls(server, reflector)

    async def sessions_left(self, count: int) -> None:
        """Waits until the engine holds ``count`` sessions."""
        async with asyncio.timeout(ANSWER_WITHIN):
            while self.reflector.stats().sessions != count:
                await asyncio.sleep(0.005)


class RawClient:
    """A client without a state machine: it says whatever a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connected(
        cls,
        responder: Listening,
        host: str = "127.0.0.1",
        *,
        set_up: bool = True,
        source: str | None = None,
    ) -> AsyncIterator[Self]:
        local = None if source is None else (source, 0)
        client = cls(*await asyncio.open_connection(host, responder.port, local_addr=local))
        try:
            if set_up:
                greeting = await client.read(ServerGreeting)
                assert greeting.modes == Modes.UNAUTHENTICATED
                client.send(SetUpResponse(Modes.UNAUTHENTICATED))
                assert (await client.read(ServerStart)).accept is Accept.OK
            yield client
        finally:
            client.writer.close()

    def send(self, *messages: Message) -> None:
        self.writer.write(b"".join(map(bytes, messages)))

    async def read(self, kind: type[MessageT]) -> MessageT:
        async with asyncio.timeout(ANSWER_WITHIN):
            return kind.parse(await self.reader.readexactly(kind.LAYOUT.size))

    async def ask(self, request: RequestTWSession) -> AcceptSession:
        self.send(request)
        return await self.read(AcceptSession)

    async def start(self) -> None:
        self.send(StartSessions())
        assert (await self.read(StartAck)).accept is Accept.OK

    async def read_eof(self) -> bytes:
        """What still comes before the Server closes."""
        async with asyncio.timeout(ANSWER_WITHIN):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


class Probe:
    """A UDP socket that sends test packets by hand."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        self.port = Endpoint.from_sockaddr(self.sock.getsockname()).port
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def request(self, **fields: Any) -> RequestTWSession:
        version = 6 if self.sock.family == socket.AF_INET6 else 4
        fields.setdefault("receiver_port", 0)
        fields.setdefault("timeout", interval_from_ns(2 * SECOND))
        return RequestTWSession(**{"ip_version": version, "sender_port": self.port} | fields)

    def send(self, port: int, host: str | None = None, error_estimate: int = 1) -> int:
        number = next(self._numbers)
        default = "::1" if self.sock.family == socket.AF_INET6 else "127.0.0.1"
        packet = SenderPacket(number, 0, error_estimate, padding=bytes(27))
        self.sock.sendto(bytes(packet), (host or default, port))
        return number

    async def receive(self) -> ReflectorPacket:
        async with asyncio.timeout(ANSWER_WITHIN):
            octets = await asyncio.get_running_loop().sock_recv(self.sock, 65535)
        return ReflectorPacket.parse(octets)

    async def measure(self, port: int, host: str | None = None) -> ReflectorPacket:
        """Sends one packet and returns its reply."""
        number = self.send(port, host)
        reply = await self.receive()
        assert reply.sender_sequence_number == number
        return reply

    def nothing_came(self) -> bool:
        try:
            self.sock.recv(65535)
        except BlockingIOError:
            return True
        return False


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def dropped(responder: Responder, reason: str, count: int = 1) -> None:
    """Waits until the engine has counted so many drops for that reason."""
    async with asyncio.timeout(ANSWER_WITHIN):
        while responder.reflector.stats().drops[reason] < count:
            await asyncio.sleep(0.002)


def free_port() -> int:
    with Probe() as probe:
        return probe.port
