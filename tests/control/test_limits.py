"""Each limit of connections and sessions, seen by clients on the wire."""

import asyncio
import contextlib
from ipaddress import ip_network

from tests.support.by_hand import ANSWER_WITHIN, Probe, RawClient, Responder, dropped, run
from twamp.config.reflector import ReflectorConfig
from twamp.config.users import Users
from twamp.protocol.control_messages import ServerGreeting, ServerStart, SetUpResponse
from twamp.protocol.registries import Accept, Modes


async def greeted_modes(responder: Responder, host: str = "127.0.0.1") -> Modes | None:
    """The Modes that a client from ``host`` is greeted with; None when it is cut off before."""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", responder.port, local_addr=(host, 0)
        )
    except ConnectionResetError:
        return None
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return ServerGreeting.parse(await reader.readexactly(64)).modes
    except (ConnectionResetError, asyncio.IncompleteReadError):
        return None
    finally:
        writer.close()


async def gone(responder: Responder, connections: int = 0) -> None:
    """Waits until so many connections are left."""
    async with asyncio.timeout(ANSWER_WITHIN):
        while len(responder.server.connections) > connections:
            await asyncio.sleep(0.005)


def test_client_list_refuses_before_the_greeting() -> None:
    async def test() -> None:
        async with Responder.listening(client_list=("127.0.0.2/31", "::1")) as responder:
            assert await greeted_modes(responder, "127.0.0.1") is None
            assert await greeted_modes(responder, "127.0.0.4") is None
            assert await greeted_modes(responder, "127.0.0.2") == Modes.UNAUTHENTICATED
            assert await greeted_modes(responder, "127.0.0.3") == Modes.UNAUTHENTICATED
            assert responder.server.service.rejected == {"client_list": 2}
            async with RawClient.connected(responder, "::1"):
                pass

    run(test)


def test_a_client_has_so_many_connections_and_others_theirs() -> None:
    async def test() -> None:
        async with (
            Responder.listening(maximum_connections_per_client=1) as responder,
            RawClient.connected(responder),
        ):
            assert await greeted_modes(responder, "127.0.0.1") == Modes(0)
            assert await greeted_modes(responder, "127.0.0.2") == Modes.UNAUTHENTICATED
            assert responder.server.service.rejected == {"maximum_connections_per_client": 1}

    run(test)


def test_silent_connections_take_nobody_a_place_and_are_gone_after_the_handshake_timeout() -> None:
    async def test() -> None:
        async with Responder.listening(maximum_connections=1, handshake_timeout=1) as responder:
            silent = [await asyncio.open_connection("127.0.0.1", responder.port) for _ in range(20)]
            async with RawClient.connected(responder) as client:
                with Probe() as probe:
                    assert (await client.ask(probe.request())).accept is Accept.OK
                await gone(responder, 1)
                assert responder.server.service.handshake_timeouts == 20
                with Probe() as probe:
                    assert (await client.ask(probe.request())).accept is Accept.OK
            for _, writer in silent:
                writer.close()

    run(test)


def test_octets_that_trickle_do_not_extend_the_handshake() -> None:
    async def test() -> None:
        async with Responder.listening(handshake_timeout=1) as responder:
            reader, writer = await asyncio.open_connection("127.0.0.1", responder.port)
            await reader.readexactly(64)
            sent = 0
            octets = bytes(SetUpResponse(Modes.UNAUTHENTICATED))
            with contextlib.suppress(ConnectionError):
                for octet in octets:
                    writer.write(bytes([octet]))
                    await writer.drain()
                    sent += 1
                    await asyncio.sleep(0.05)
            assert sent < len(octets)
            assert responder.server.service.handshake_timeouts == 1
            writer.close()

    run(test)


def test_who_answers_when_the_last_place_is_taken_is_refused_for_now() -> None:
    async def test() -> None:
        async with (
            Responder.listening(maximum_connections=1) as responder,
            RawClient.connected(responder, set_up=False) as late,
        ):
            await late.read(ServerGreeting)
            async with RawClient.connected(responder):
                late.send(SetUpResponse(Modes.UNAUTHENTICATED))
                answer = await late.read(ServerStart)
                assert answer.accept is Accept.TEMPORARY_RESOURCE_LIMITATION
                assert await late.read_eof() == b""
                assert responder.server.service.rejected == {"maximum_connections": 1}

    run(test)


def test_a_connection_lasts_no_longer_than_its_maximum_duration() -> None:
    async def test() -> None:
        async with (
            Responder.listening(maximum_connection_duration=1) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                session = await client.ask(probe.request())
                await client.start()
                await probe.measure(session.port)
                assert await client.read_eof() == b""
            await responder.sessions_left(0)
            assert responder.server.events["maximum_connection_duration"] == 1

    run(test)


def test_new_limits_are_in_force_at_once_and_keep_what_there_is() -> None:
    async def test() -> None:
        async with (
            Responder.listening(handshake_timeout=3600) as responder,
            RawClient.connected(responder) as client,
            RawClient.connected(responder, set_up=False),
        ):
            with Probe() as probe:
                session = await client.ask(probe.request())
                await client.start()
                config = ReflectorConfig(
                    port=0,
                    client_list=(ip_network("127.0.0.9/32"),),
                    handshake_timeout=1,
                    test_ports=(20000, 20010),
                    maximum_sessions_per_connection=1,
                )
                responder.server.reconfigure(config, Users())
                assert await greeted_modes(responder, "127.0.0.1") is None
                assert await greeted_modes(responder, "127.0.0.9") == Modes.UNAUTHENTICATED
                await gone(responder, 1)  # the silent one, by the new timeout
                await probe.measure(session.port)

    run(test)


def test_the_new_refwait_is_for_sessions_that_run() -> None:
    async def test() -> None:
        async with Responder.listening() as responder, RawClient.connected(responder) as client:
            with Probe() as probe:
                await client.ask(probe.request())
                await client.start()
                responder.server.reconfigure(
                    ReflectorConfig(port=0, test_inactivity_timeout=1), Users()
                )
                await responder.sessions_left(0)

    run(test)


def test_a_modes_change_is_for_the_next_greeting_and_who_was_greeted_may_answer() -> None:
    async def test() -> None:
        users = Users({"alice": b"open sesame"})
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder, set_up=False) as early,
        ):
            assert (await early.read(ServerGreeting)).modes == Modes.UNAUTHENTICATED
            responder.server.reconfigure(ReflectorConfig(port=0, mode=("encrypted",)), users)
            assert await greeted_modes(responder) == Modes.ENCRYPTED
            early.send(SetUpResponse(Modes.UNAUTHENTICATED))
            assert (await early.read(ServerStart)).accept is Accept.OK

    run(test)


def test_rate_limit_drops_what_a_client_sends_too_much() -> None:
    async def test() -> None:
        async with (
            Responder.listening(rate_limit=1) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                session = await client.ask(probe.request())
                await client.start()
                for _ in range(200):
                    probe.send(session.port)
                await dropped(responder, "rate_limit", 100)
                stats = responder.reflector.stats()
                assert stats.reflected + stats.drops["rate_limit"] == stats.received

    run(test)
