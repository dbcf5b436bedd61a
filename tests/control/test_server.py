"""The Server: it listens, admits clients, protects each from the others, and ends."""

import asyncio
import errno
import socket

import pytest

from tests.support.by_hand import (
    Probe,
    RawClient,
    Responder,
    run,
)
from twamp.config.reflector import ReflectorConfig
from twamp.config.users import Users
from twamp.control.listeners import BUFFER
from twamp.control.server import Server, reset
from twamp.engine.session_reflector import SessionReflector
from twamp.protocol.control_messages import (
    ServerGreeting,
    ServerStart,
    SetUpResponse,
)
from twamp.protocol.registries import Accept, Modes


def test_too_many_connections_are_greeted_with_no_mode() -> None:
    async def test() -> None:
        async with (
            Responder.listening(maximum_connections=1) as responder,
            RawClient.connected(responder),
            RawClient.connected(responder, set_up=False) as second,
        ):
            assert (await second.read(ServerGreeting)).modes == Modes(0)
            assert await second.read_eof() == b""

    run(test)


def test_a_client_that_stalls_inside_a_message_harms_nobody_else() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as stalled,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                stalled.writer.write(bytes(probe.request())[:50])
                await stalled.writer.drain()
                port = (await client.ask(probe.request())).port
                await client.start()
                await probe.measure(port)

    run(test)


def test_a_flood_of_requests_that_never_reads_harms_nobody_else() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as flood,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                refused = bytes(probe.request(conf_sender=1))
                for _ in range(200):
                    flood.writer.write(refused * 100)
                port = (await client.ask(probe.request())).port
                await client.start()
                await probe.measure(port)
                flood.writer.transport.abort()

    run(test)


def test_the_control_connection_answers_with_the_dscp_of_the_syn() -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 10 << 2)
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", responder.port))
                await asyncio.get_running_loop().sock_recv(sock, 64)
                accepted = next(iter(responder.server._connections))
                mark = accepted.channel.sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)
                assert mark == 10 << 2

    run(test)


def test_a_port_in_use_is_an_oserror() -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            with pytest.raises(OSError, match="in use") as caught:
                async with Responder.listening(port=responder.port):
                    pass
            assert caught.value.errno == errno.EADDRINUSE

    run(test)


def test_the_end_of_the_server_ends_everything() -> None:
    async def test() -> None:
        async with SessionReflector(maximum_sessions=8) as reflector:
            async with Server(ReflectorConfig(port=0), reflector) as server:
                responder = Responder(server, reflector)
                client = RawClient(*await asyncio.open_connection("127.0.0.1", responder.port))
                await client.read(ServerGreeting)
                client.send(SetUpResponse(Modes.UNAUTHENTICATED))
                await client.read(ServerStart)
                with Probe() as probe:
                    await client.ask(probe.request())
                    await client.start()
            assert reflector.stats().sessions == 0
            assert await client.read_eof() == b""
            client.writer.close()

    run(test)


def test_a_client_that_resets_while_its_token_is_opened_leaves_a_line_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        users = Users({"alice": b"open sesame"})
        async with Responder.listening(users) as responder:
            reader, writer = await asyncio.open_connection("127.0.0.1", responder.port)
            await reader.readexactly(64)
            writer.write(bytes(SetUpResponse(Modes.ENCRYPTED, key_id=b"nobody".ljust(80, b"\0"))))
            await writer.drain()
            while responder.server.service.authenticator.tokens == 0:
                await asyncio.sleep(0.002)
            reset(writer.get_extra_info("socket").dup())
            writer.transport.abort()
            while responder.server.connections:
                await asyncio.sleep(0.002)
            assert responder.server.events["connection_failed"] == 0

    with caplog.at_level("INFO"):
        run(test)
    assert caplog.text.count("disconnected: ") == 1
    assert "Traceback" not in caplog.text
    assert "never retrieved" not in caplog.text


def test_an_unforeseen_error_ends_one_connection_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("surprise")

    async def test() -> None:
        async with Responder.listening() as responder:
            with monkeypatch.context() as patched:
                patched.setattr("twamp.control.connection.judge", failing)
                async with RawClient.connected(responder) as client:
                    with Probe() as probe:
                        client.send(probe.request())
                        assert await client.read_eof() == b""
            assert responder.server.events["connection_failed"] == 1
            assert not responder.server.connections
            async with RawClient.connected(responder):
                pass

    run(test)
    assert "RuntimeError surprise, " in caplog.text
    assert "Traceback" not in caplog.text


def test_accepted_connections_have_small_buffers_and_notice_a_host_that_vanishes() -> None:
    async def test() -> None:
        async with Responder.listening() as responder, RawClient.connected(responder):
            [accepted] = responder.server.connections
            sock = accepted.channel.sock
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                assert sock.getsockopt(socket.SOL_SOCKET, option) <= 2 * BUFFER

    run(test)


def test_pipelined_commands_of_one_client_leave_turns_to_others() -> None:
    """The answers of another client come long before all of the flood is read."""

    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as flood,
            RawClient.connected(responder, "127.0.0.1", source="127.0.0.2") as client,
        ):
            with Probe() as probe:
                flood.writer.write(bytes(probe.request(conf_sender=1)) * 1000)
                assert (await client.ask(probe.request())).accept is Accept.OK
                assert responder.server.sessions.rejected["not_supported"] < 500
                flood.writer.transport.abort()

    run(test)
