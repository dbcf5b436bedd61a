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
from twamp.control.server import Server
from twamp.engine.session_reflector import SessionReflector
from twamp.protocol.control_messages import (
    ServerGreeting,
    ServerStart,
    SetUpResponse,
)
from twamp.protocol.registries import Modes


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
                mark = accepted._writer.get_extra_info("socket").getsockopt(
                    socket.IPPROTO_IP, socket.IP_TOS
                )
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
