"""The life of test sessions, over the wire: accepted, started, stopped and ended."""

import asyncio
import socket
import struct

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
from twamp.protocol.control_messages import (
    AcceptSession,
    StopSessions,
)
from twamp.protocol.registries import Accept

IP_RECVTTL = 12  # linux/in.h; the socket module lacks it


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


def test_a_timeout_for_ever_ends_after_maximum_timeout_though_packets_come() -> None:
    async def test() -> None:
        async with Responder.listening(maximum_timeout=0) as responder:
            with Probe() as probe:
                async with RawClient.connected(responder) as client:
                    port = (await client.ask(probe.request(timeout=(1 << 64) - 1))).port
                    await client.start()
                    await probe.measure(port)
                    client.send(StopSessions(Accept.OK, number_of_sessions=1))
                    async with asyncio.timeout(ANSWER_WITHIN):
                        while responder.reflector.stats().sessions:
                            probe.send(port)
                            await asyncio.sleep(0.002)

    run(test)


def test_sessions_that_linger_count_and_the_oldest_of_the_connection_gives_way() -> None:
    async def test() -> None:
        async with (
            Responder.listening(maximum_sessions_per_connection=2) as responder,
            RawClient.connected(responder) as client,
            RawClient.connected(responder) as another,
        ):
            with Probe() as one, Probe() as two, Probe() as three:
                ports = [(await client.ask(each.request())).port for each in (one, two)]
                await client.start()
                client.send(StopSessions(Accept.OK, number_of_sessions=2))
                assert (await client.ask(three.request())).accept is Accept.OK
                assert responder.reflector.stats().sessions == 2
                await two.measure(ports[1])  # one has gone, two lingers
                assert (await another.ask(one.request())).accept is Accept.OK
                assert responder.reflector.stats().sessions == 3

    run(test)


def test_a_client_that_connects_again_does_not_escape_the_limit() -> None:
    async def test() -> None:
        async with Responder.listening(
            maximum_sessions_per_connection=2, maximum_connections_per_client=1
        ) as responder:
            with Probe() as one, Probe() as two:
                for _ in range(5):
                    async with RawClient.connected(responder) as client:
                        for each in (one, two):
                            assert (await client.ask(each.request())).accept is Accept.OK
                        assert responder.reflector.stats().sessions == 2
                        await client.start()
                        client.send(StopSessions(Accept.OK, number_of_sessions=2))
                        client.writer.write_eof()
                        assert await client.read_eof() == b""
                    async with asyncio.timeout(ANSWER_WITHIN):
                        while responder.server.connections:
                            await asyncio.sleep(0.002)

    run(test)


def test_what_one_connection_pipelines_leaves_no_crowd_of_sessions() -> None:
    async def test() -> None:
        async with (
            Responder.listening(maximum_timeout=3600) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                forever = probe.request(timeout=(1 << 64) - 1)
                for _ in range(50):
                    assert (await client.ask(forever)).accept is Accept.OK
                    await client.start()
                    client.send(StopSessions(Accept.OK, number_of_sessions=1))
                    assert responder.reflector.stats().sessions <= 8

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


def test_a_new_session_takes_the_place_of_one_that_waits_for_its_timeout() -> None:
    async def test() -> None:
        port = free_port()
        async with (
            Responder.listening(test_ports=(port, port)) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                for _ in range(3):
                    assert (await client.ask(probe.request())).port == port
                    await client.start()
                    assert (await probe.measure(port)).sequence_number == 0
                    client.send(StopSessions(Accept.OK, number_of_sessions=1))

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


def test_each_address_field_may_be_zero_on_its_own() -> None:
    async def test() -> None:
        other = bytes([127, 0, 0, 3]) + bytes(12)
        async with (
            Responder.listening(sender_address_list=["127.0.0.3"]) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe("127.0.0.3") as there, Probe() as here:
                elsewhere = await client.ask(there.request(sender_address=other))
                at_three = await client.ask(here.request(receiver_address=other))
                await client.start()
                await there.measure(elsewhere.port)
                await here.measure(at_three.port, "127.0.0.3")

    run(test)


def test_only_the_sender_of_the_session_is_answered() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe, Probe() as stranger:
                port = (await client.ask(probe.request())).port
                await client.start()
                stranger.send(port)
                await dropped(responder, "no_session")
                await probe.measure(port)
                assert stranger.nothing_came()

    run(test)


def test_replies_carry_the_dscp_that_was_asked_for() -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                probe.sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
                probe.sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
                port = (await client.ask(probe.request(type_p_descriptor=46 << 24))).port
                await client.start()
                probe.send(port)
                await asyncio.get_running_loop().sock_recv(probe.sock, 0)  # waits, and takes it
                probe.send(port)
                async with asyncio.timeout(ANSWER_WITHIN):
                    while True:
                        try:
                            _, control, _, _ = probe.sock.recvmsg(65535, 256)
                            break
                        except BlockingIOError:
                            await asyncio.sleep(0.002)
                marks = {kind: octets for _, kind, octets in control}
                assert marks[socket.IP_TOS][0] == 46 << 2
                assert struct.unpack("i", marks[socket.IP_TTL]) == (255,)

    run(test)


def test_error_estimates_of_zero_are_answered_and_named_once_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe, Probe() as other:
                port = (await client.ask(probe.request(timeout=0))).port
                await client.ask(other.request(timeout=0))
                await client.start()
                for _ in range(3):
                    probe.send(port, error_estimate=0)
                    assert (await probe.receive()).sender_error_estimate == 0
                client.send(StopSessions(Accept.OK, number_of_sessions=2))
                await responder.sessions_left(0)

    run(test)
    named = [line for line in caplog.messages if "Multiplier 0" in line]
    assert len(named) == 1
    assert ": 3 packets had an Error Estimate" in named[0]


@pytest.mark.parametrize("translation", [False, True])
def test_with_port_translation_the_first_packet_names_the_sender_port(translation: bool) -> None:
    async def test() -> None:
        async with (
            Responder.listening(port_translation=translation) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as asked, Probe() as translated, Probe("127.0.0.2") as stranger:
                port = (await client.ask(asked.request())).port
                translated.send(port)
                await dropped(responder, "no_session")
                await client.start()
                stranger.send(port)
                await dropped(responder, "no_session", 2)
                if translation:
                    await translated.measure(port)
                    asked.send(port)
                    await dropped(responder, "no_session", 3)
                else:
                    await asked.measure(port)

    run(test)


def test_a_session_has_a_rate_limit_by_the_option() -> None:
    async def test() -> None:
        async with (
            Responder.listening(session_rate_limit=1) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                port = (await client.ask(probe.request())).port
                await client.start()
                for _ in range(64):
                    probe.send(port)
                await dropped(responder, "rate_limit", 30)

    run(test)
