"""The Control-Client against Servers that follow a script, right and wrong."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from tests.support.by_hand import run
from twamp.control.client import ControlClient, SessionRequest
from twamp.errors import IntegrityError, LocalProtocolError, Refused, RemoteProtocolError
from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StopSessions,
)
from twamp.protocol.conversation import Conversation
from twamp.protocol.message import Message
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.states import Role

GREETING = ServerGreeting(Modes.UNAUTHENTICATED, count=1024)
START = ServerStart(Accept.OK)
ACCEPTED = AcceptSession(Accept.OK, port=9000, sid=bytes(range(16)))
REQUEST = SessionRequest(sender_port=7000, receiver_port=7001, padding_length=27, dscp=46)


class Script:
    """Says one thing after another: octets, or the number of octets to read first."""

    def __init__(self, *steps: Message | bytes | int) -> None:
        self.steps = steps
        self.heard = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for step in self.steps:
                if isinstance(step, int):
                    self.heard += await reader.readexactly(step)
                else:
                    writer.write(bytes(step))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await server.wait_closed()


def scripted(
    script: Script, use: Callable[[ControlClient], Coroutine[Any, Any, None]] | None = None
) -> None:
    async def test() -> None:
        async with script.listening() as port:
            client = await ControlClient.connect("127.0.0.1", port, timeout=0.5)
            async with client:
                if use is not None:
                    await use(client)

    run(test)


async def request(client: ControlClient) -> None:
    await client.request_session(REQUEST)


def test_a_whole_round_says_what_the_rfc_says() -> None:
    script = Script(GREETING, 164, START, 112, ACCEPTED, 32, StartAck(Accept.OK), 32)

    async def use(client: ControlClient) -> None:
        session = await client.request_session(REQUEST)
        assert session.sid == ACCEPTED.sid
        assert str(session.reflector) == "[127.0.0.1]:9000"  # the Server's choice of port
        assert str(session.sender) == "[127.0.0.1]:7000"
        await client.start_sessions()
        await client.stop_sessions()
        await asyncio.sleep(0.05)

    scripted(script, use)
    heard = script.heard
    assert SetUpResponse.parse(heard[:164]) == SetUpResponse(Modes.UNAUTHENTICATED)
    asked = RequestTWSession.parse(heard[164:276])
    assert (asked.ip_version, asked.sender_port, asked.receiver_port) == (4, 7000, 7001)
    assert asked.sender_address == asked.receiver_address == asked.sid == bytes(16)
    assert asked.padding_length == 27
    assert asked.type_p_descriptor == 46 << 24
    assert asked.timeout == 2 << 32
    assert StopSessions.parse(heard[308:]) == StopSessions(Accept.OK, number_of_sessions=1)


def test_modes_zero_is_a_refusal() -> None:
    with pytest.raises(Refused, match="offers no mode"):
        scripted(Script(ServerGreeting(Modes(0), count=1024), 164))


def test_a_server_without_unauthenticated_mode_is_told_goodbye() -> None:
    script = Script(ServerGreeting(Modes.ENCRYPTED | Modes.AUTHENTICATED, count=1024), 164)
    with pytest.raises(
        Refused, match="offers encrypted, authenticated, acceptable would be unauth"
    ):
        scripted(script)
    assert SetUpResponse.parse(script.heard) == SetUpResponse(Modes(0))


def test_unknown_modes_on_offer_are_ignored() -> None:
    scripted(Script(ServerGreeting(Modes(0x80000001), count=1024), 164, START, 1))


def test_a_refused_connection_says_how() -> None:
    script = Script(GREETING, 164, ServerStart(Accept.TEMPORARY_RESOURCE_LIMITATION))
    with pytest.raises(Refused, match="Accept 5, temporary resource limitation") as caught:
        scripted(script)
    assert caught.value.accept == 5


def test_many_sessions_are_asked_for_ahead_of_the_answers() -> None:
    """The Server hears four before it answers one, and then one for each answer."""
    requests = [replace(REQUEST, sender_port=7000 + number) for number in range(6)]
    in_turn = (ACCEPTED, 112, ACCEPTED, 112)
    rest = (ACCEPTED, ACCEPTED, ACCEPTED, ACCEPTED)
    script = Script(GREETING, 164, START, 4 * 112, *in_turn, *rest, 1)

    async def use(client: ControlClient) -> None:
        granted = [session async for session in client.request_sessions(requests, ahead=4)]
        assert [session.sender.port for session in granted] == list(range(7000, 7006))

    scripted(script, use)
    heard = script.heard[164:]
    asked = [RequestTWSession.parse(heard[at : at + 112]) for at in range(0, 6 * 112, 112)]
    assert [request.sender_port for request in asked] == list(range(7000, 7006))


def test_a_refusal_ends_the_asking() -> None:
    refusal = bytes([5]) + bytes(47)
    script = Script(GREETING, 164, START, 3 * 112, ACCEPTED, refusal, ACCEPTED, 1)

    async def use(client: ControlClient) -> None:
        sessions = client.request_sessions([REQUEST] * 3)
        assert (await anext(sessions)).sid == ACCEPTED.sid
        with pytest.raises(Refused, match="Accept 5"):
            await anext(sessions)

    scripted(script, use)


@pytest.mark.parametrize("accept", [1, 2, 3, 4, 5, 6, 99])
def test_a_refused_session_says_how_and_the_client_may_go_on(accept: int) -> None:
    refusal = bytes([accept]) + bytes(47)

    async def use(client: ControlClient) -> None:
        with pytest.raises(Refused, match="refused the session: Accept"):
            await client.request_session(REQUEST)
        assert (await client.request_session(REQUEST)).sid == ACCEPTED.sid

    scripted(Script(GREETING, 164, START, 112, refusal, 112, ACCEPTED, 1), use)


def test_a_refused_start_says_how() -> None:
    script = Script(GREETING, 164, START, 112, ACCEPTED, 32, StartAck(Accept.INTERNAL_ERROR))

    async def use(client: ControlClient) -> None:
        await client.request_session(REQUEST)
        await client.start_sessions()

    with pytest.raises(Refused, match="to start the sessions: Accept 2"):
        scripted(script, use)


@pytest.mark.parametrize(
    "script",
    [
        Script(1),
        Script(GREETING, 164, 1),
        Script(GREETING, 164, START, 112, 1),
        Script(bytes(GREETING)[:63], 1),
    ],
    ids=["greeting", "server-start", "accept-session", "half a greeting"],
)
def test_a_server_that_does_not_answer_is_given_up(script: Script) -> None:
    with pytest.raises(RemoteProtocolError, match="does not answer"):
        scripted(script, request)


@pytest.mark.parametrize(
    "script",
    [Script(), Script(bytes(GREETING)[:10]), Script(GREETING, 164), Script(GREETING, 164, START)],
    ids=["at once", "in the greeting", "before server-start", "before accept-session"],
)
def test_a_server_that_hangs_up_is_an_error(script: Script) -> None:
    with pytest.raises((RemoteProtocolError, ConnectionError)):
        scripted(script, request)


@pytest.mark.parametrize(
    ("port", "dscp", "fault"),
    [(99999, 0, "port 99999"), (0, 0, "port 0"), (-1, 0, "port -1"), (862, 64, "DSCP 64")],
)
def test_a_port_or_a_dscp_that_there_cannot_be_is_refused(port: int, dscp: int, fault: str) -> None:
    with pytest.raises(ValueError, match=f"{fault} is out of range"):
        asyncio.run(ControlClient.connect("127.0.0.1", port, dscp=dscp))


def test_messages_out_of_turn_are_our_own_error() -> None:
    async def use(client: ControlClient) -> None:
        with pytest.raises(LocalProtocolError, match="StopSessions is not for the Control-Client"):
            await client.stop_sessions()

    scripted(Script(GREETING, 164, START, 1), use)


def test_a_reset_of_the_connection_is_an_error_that_names_the_server() -> None:
    """Whatever the transport raises: uvloop's write raises RuntimeError on one that is closed."""

    async def test() -> None:
        async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for message, size in ((GREETING, 164), (START, 112), (ACCEPTED, 32)):
                writer.write(bytes(message))
                await reader.readexactly(size)
            writer.write(bytes(StartAck(Accept.OK)))
            await writer.drain()
            linger = struct.pack("ii", 1, 0)  # close with RST
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with await ControlClient.connect("127.0.0.1", port) as client:
                await client.request_session(REQUEST)
                await client.start_sessions()
                with pytest.raises(OSError, match=rf"\[127.0.0.1\]:{port}: Connection reset"):
                    await client.wait_for_the_end()
                with pytest.raises(OSError, match=rf"\[127.0.0.1\]:{port}: "):
                    await client.stop_sessions()

    run(test)
    uvloop.run(test())


def test_a_wrong_hmac_names_the_server() -> None:
    class Wrong:
        def next_message(self, now_ns: int) -> Message:
            raise IntegrityError("wrong HMAC", accept=1)

    async def use(client: ControlClient) -> None:
        client._conversation = Wrong()  # type: ignore[assignment]
        with pytest.raises(
            IntegrityError, match=rf"\[127.0.0.1\]:{client.remote.port}: wrong HMAC"
        ):
            client._next_message(0)
        client._conversation = conversation

    conversation = Conversation(Role.CONTROL_CLIENT, now_ns=0)
    scripted(Script(GREETING, 164, START, 1), use)


@pytest.mark.parametrize(
    "text",
    [b"HTTP/1.0 400 Bad request\r\n" + bytes(64), b"SSH-2.0-OpenSSH_9.6\r\n", b"220 mail\r\n"],
)
def test_a_server_of_something_else_is_named_as_such(text: bytes) -> None:
    said = text.partition(b"\r")[0][:12].decode()
    with pytest.raises(RemoteProtocolError, match=rf"is no TWAMP Server: it says '{said}'"):
        scripted(Script(text))


def test_an_unsupported_session_has_a_remedy() -> None:
    async def use(client: ControlClient) -> None:
        asked = replace(REQUEST, receiver_address=client.remote.address, padding_length=9000)
        with pytest.raises(Refused, match=r"127\.0\.0\.1 .* -Z .* 9000 octets of --padding"):
            await client.request_session(asked)

    refusal = AcceptSession(Accept.NOT_SUPPORTED, port=0, sid=bytes(16))
    scripted(Script(GREETING, 164, START, 112, refusal), use)
