"""One connection over the wire: its messages, its modes, its timers, and clients that break rules."""

import asyncio

import pytest

from tests.support.by_hand import (
    Probe,
    RawClient,
    Responder,
    run,
)
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


def test_challenges_differ_and_salt_and_start_time_do_not() -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            greetings, starts = [], []
            for _ in range(2):
                async with RawClient.connected(responder, set_up=False) as client:
                    greetings.append(await client.read(ServerGreeting))
                    client.send(SetUpResponse(Modes.UNAUTHENTICATED))
                    starts.append(await client.read(ServerStart))
            assert greetings[0].challenge != greetings[1].challenge
            assert greetings[0].salt == greetings[1].salt != bytes(16)  # for an hour
            assert greetings[0].count >= 1024
            assert greetings[0].count.bit_count() == 1
            assert starts[0].start_time == starts[1].start_time != 0

    run(test)


def test_an_unexpected_command_is_refused_and_the_next_one_served() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            client.writer.write(b"\4" + bytes(47))  # Fetch-Session, of OWAMP
            assert (await client.read(AcceptSession)).accept is Accept.NOT_SUPPORTED
            with Probe() as probe:
                assert (await client.ask(probe.request())).accept is Accept.OK
            client.writer.write(b"\xc8" + bytes(15))  # nobody knows how long this one is
            assert (await client.read(AcceptSession)).accept is Accept.NOT_SUPPORTED
            assert await client.read_eof() == b""

    run(test)


@pytest.mark.parametrize("count", [0, 2, 2**32 - 1])
def test_stop_sessions_with_a_wrong_count_ends_the_connection_and_its_sessions(count: int) -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                await client.ask(probe.request())
                await client.start()
                client.send(StopSessions(Accept.OK, number_of_sessions=count))
                assert await client.read_eof() == b""
                await responder.sessions_left(0)

    run(test)


def test_a_request_while_sessions_run_ends_the_connection() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                await client.ask(probe.request())
                await client.start()
                client.send(probe.request())
                assert await client.read_eof() == b""

    run(test)


def test_a_refused_request_keeps_the_connection() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                answer = await client.ask(probe.request(conf_sender=1))
                assert answer == AcceptSession(Accept.NOT_SUPPORTED)  # Port and SID are zero, too
                assert (await client.ask(probe.request())).accept is Accept.OK
            assert responder.server.sessions.rejected == {"not_supported": 1}

    run(test)


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


def test_servwait_closes_an_idle_connection() -> None:
    async def test() -> None:
        async with (
            Responder.listening(server_inactivity_timeout=1) as responder,
            RawClient.connected(responder) as client,
        ):
            assert await client.read_eof() == b""

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


def test_to_start_without_a_session_is_refused() -> None:
    """SERVWAIT does not run in TEST, so a connection without a session would last for ever."""

    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            client.send(StartSessions())
            assert (await client.read(StartAck)).accept is Accept.FAILURE
            assert await client.read_eof() == b""

    run(test)
