"""The Server over the wire: what a client says, what it gets, and what it cannot do to others."""

import asyncio
import errno
import socket

import pytest

from tests.support.by_hand import (
    ANSWER_WITHIN,
    Probe,
    RawClient,
    Responder,
    dropped,
    free_port,
    run,
)
from twamp.config.reflector import ReflectorConfig
from twamp.control.server import Server
from twamp.engine.session_reflector import SessionReflector
from twamp.protocol.control_messages import (
    AcceptSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartSessions,
    StopSessions,
)
from twamp.protocol.registries import Accept, Modes

IP_RECVTTL = 12  # linux/in.h; the socket module lacks it


# ---- a session -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_session_from_request_to_stop_in_three_rounds(host: str) -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder, host) as client,
        ):
            for _ in range(3):
                with Probe(host) as one, Probe(host) as two:
                    accepted = [await client.ask(probe.request()) for probe in (one, two)]
                    assert [answer.accept for answer in accepted] == [Accept.OK, Accept.OK]
                    assert accepted[0].sid != accepted[1].sid
                    await client.start()
                    for probe, answer in zip((one, two), accepted, strict=True):
                        for sequence_number in range(3):
                            reply = await probe.measure(answer.port)
                            assert reply.sequence_number == sequence_number
                            assert reply.sender_ttl == 64  # the probe does not set it
                    client.send(StopSessions(Accept.OK, number_of_sessions=2))
                    # Packets on their way after Stop-Sessions are still reflected (Timeout 2 s).
                    client.send(one.request(receiver_port=1, conf_sender=1))
                    assert (await client.read(AcceptSession)).accept is Accept.NOT_SUPPORTED
                    await one.measure(accepted[0].port)

    run(test)


def test_nothing_is_reflected_before_start_nor_later_what_came_before_it() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                port = (await client.ask(probe.request())).port
                probe.send(port)
                await dropped(responder, "not_started")
                await client.start()
                assert (await probe.measure(port)).sequence_number == 0
                assert probe.nothing_came()

    run(test)


def test_nothing_is_reflected_later_than_timeout_after_stop() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe, Probe() as other:
                port = (await client.ask(probe.request(timeout=0))).port
                await client.ask(other.request(receiver_port=port))  # keeps the socket open
                await client.start()
                await probe.measure(port)
                client.send(StopSessions(Accept.OK, number_of_sessions=2))
                await responder.sessions_left(1)
                probe.send(port)
                await dropped(responder, "no_session")
                assert probe.nothing_came()
                await other.measure(port)

    run(test)


def test_pipelined_and_merged_messages_are_answered_in_order() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder, set_up=False) as client,
        ):
            await client.read(ServerGreeting)
            with Probe() as probe, Probe() as other:
                client.send(
                    SetUpResponse(Modes.UNAUTHENTICATED),
                    probe.request(),
                    other.request(conf_receiver=1),
                    StartSessions(),
                )
                assert (await client.read(ServerStart)).accept is Accept.OK
                answer = await client.read(AcceptSession)
                assert (await client.read(AcceptSession)).accept is Accept.NOT_SUPPORTED
                assert (await client.read(StartAck)).accept is Accept.OK
                await probe.measure(answer.port)

    run(test)


def test_a_conversation_in_single_octets() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder, set_up=False) as client,
        ):
            await client.read(ServerGreeting)
            with Probe() as probe:
                for message in (SetUpResponse(Modes.UNAUTHENTICATED), probe.request()):
                    for octet in bytes(message):
                        client.writer.write(bytes([octet]))
                        await client.writer.drain()
                        await asyncio.sleep(0)
                await client.read(ServerStart)
                assert (await client.read(AcceptSession)).accept is Accept.OK

    run(test)


# ---- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [2, 4, 8, 3, 16, 17, 1 | 512])
def test_a_mode_that_was_not_offered_is_refused_in_full(mode: int) -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder, set_up=False) as client,
        ):
            await client.read(ServerGreeting)
            client.send(SetUpResponse(Modes(mode)))
            start = await client.read(ServerStart)  # all 48 octets
            assert (start.accept, start.start_time) == (Accept.NOT_SUPPORTED, 0)
            assert await client.read_eof() == b""

    run(test)


def test_mode_zero_is_a_silent_goodbye() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder, set_up=False) as client,
        ):
            await client.read(ServerGreeting)
            client.send(SetUpResponse(Modes(0)))
            assert await client.read_eof() == b""

    run(test)


def test_an_unknown_mode_bit_is_ignored() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder, set_up=False) as client,
        ):
            await client.read(ServerGreeting)
            client.send(SetUpResponse(Modes(1 | 1 << 20)))
            assert (await client.read(ServerStart)).accept is Accept.OK

    run(test)


def test_greetings_differ_and_start_time_does_not() -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            greetings, starts = [], []
            for _ in range(2):
                async with RawClient.connected(responder, set_up=False) as client:
                    greetings.append(await client.read(ServerGreeting))
                    client.send(SetUpResponse(Modes.UNAUTHENTICATED))
                    starts.append(await client.read(ServerStart))
            assert greetings[0].challenge != greetings[1].challenge
            assert greetings[0].salt != greetings[1].salt
            assert greetings[0].count >= 1024
            assert greetings[0].count.bit_count() == 1
            assert starts[0].start_time == starts[1].start_time != 0

    run(test)


# ---- limits, timers, and clients that misbehave --------------------------------------------------------


def test_more_sessions_than_a_connection_may_have_are_refused_until_some_stop() -> None:
    async def test() -> None:
        async with (
            Responder.listening(maximum_sessions_per_connection=2) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as one, Probe() as two, Probe() as three:
                for probe in (one, two):
                    assert (await client.ask(probe.request())).accept is Accept.OK
                answer = await client.ask(three.request())
                assert answer == AcceptSession(Accept.TEMPORARY_RESOURCE_LIMITATION)
                await client.start()
                client.send(StopSessions(Accept.OK, number_of_sessions=2))
                assert (await client.ask(three.request())).accept is Accept.OK

    run(test)


def test_the_oldest_stopped_session_gives_way_when_the_engine_is_full() -> None:
    async def test() -> None:
        async with (
            Responder.listening(maximum_sessions=1) as responder,
            RawClient.connected(responder) as client,
            RawClient.connected(responder) as other,
        ):
            with Probe() as one, Probe() as two:
                assert (await client.ask(one.request())).accept is Accept.OK
                answer = await other.ask(two.request())
                assert answer == AcceptSession(Accept.TEMPORARY_RESOURCE_LIMITATION)
                await client.start()
                client.send(StopSessions(Accept.OK, number_of_sessions=1))
                await client.ask(one.request(conf_sender=1))  # the Stop has been read
                assert (await other.ask(two.request())).accept is Accept.OK

    run(test)


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


def test_a_client_that_dies_frees_its_sessions_and_ports() -> None:
    async def test() -> None:
        port = free_port()
        async with Responder.listening(test_ports=(port, port)) as responder:
            with Probe() as probe:
                async with RawClient.connected(responder) as client:
                    await client.ask(probe.request())
                    await client.start()
                    client.writer.transport.abort()
                await responder.sessions_left(0)
                async with asyncio.timeout(ANSWER_WITHIN):
                    while responder.reflector.stats().sockets:
                        await asyncio.sleep(0.002)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind(("127.0.0.1", port))  # anybody may have it now

    run(test)


def test_a_stopped_session_outlives_its_connection_until_its_timeout() -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            with Probe() as probe:
                async with RawClient.connected(responder) as client:
                    port = (await client.ask(probe.request())).port
                    await client.start()
                    client.send(StopSessions(Accept.OK, number_of_sessions=1))
                    await client.writer.drain()
                await probe.measure(port)

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


def test_servwait_closes_an_idle_connection() -> None:
    async def test() -> None:
        async with (
            Responder.listening(server_inactivity_timeout=1) as responder,
            RawClient.connected(responder) as client,
        ):
            assert await client.read_eof() == b""

    run(test)


def test_refwait_ends_a_silent_session_and_a_late_stop_is_still_right() -> None:
    async def test() -> None:
        async with (
            Responder.listening(test_inactivity_timeout=1) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe, Probe() as again:
                await client.ask(probe.request())
                await client.start()
                await responder.sessions_left(0)
                client.send(StopSessions(Accept.OK, number_of_sessions=1))
                assert (await client.ask(again.request())).accept is Accept.OK

    run(test)


def test_servwait_runs_again_when_refwait_has_ended_every_session() -> None:
    async def test() -> None:
        async with (
            Responder.listening(
                test_inactivity_timeout=1, server_inactivity_timeout=1
            ) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                await client.ask(probe.request())
                await client.start()
                assert await client.read_eof() == b""

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
