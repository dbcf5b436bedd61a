"""What is granted and what is refused, ports and addresses, over the wire."""

import asyncio
import socket
import struct
from typing import Any

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
from twamp.protocol.control_messages import AcceptSession, StopSessions
from twamp.protocol.registries import Accept

IP_RECVTTL = 12  # linux/in.h; the socket module lacks it


# ---- refusals --------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[dict[str, Any], Accept]] = {
    "IPVN 5": ({"ip_version": 5}, Accept.NOT_SUPPORTED),
    "Conf-Sender": ({"conf_sender": 1}, Accept.NOT_SUPPORTED),
    "Conf-Receiver": ({"conf_receiver": 1}, Accept.NOT_SUPPORTED),
    "slots": ({"number_of_schedule_slots": 1}, Accept.NOT_SUPPORTED),
    "packets": ({"number_of_packets": 1}, Accept.NOT_SUPPORTED),
    "PHB in Type-P": ({"type_p_descriptor": 1 << 30}, Accept.NOT_SUPPORTED),
    "low bits in Type-P": ({"type_p_descriptor": 1}, Accept.NOT_SUPPORTED),
    "padding": ({"padding_length": 65507 - 111}, Accept.NOT_SUPPORTED),
    "Sender Port 0": ({"sender_port": 0}, Accept.NOT_SUPPORTED),
    "a stranger's Receiver Address": (
        {"receiver_address": bytes([192, 0, 2, 9]) + bytes(12)},
        Accept.NOT_SUPPORTED,
    ),
    "multicast Receiver Address": (
        {"receiver_address": bytes([224, 0, 0, 1]) + bytes(12)},
        Accept.NOT_SUPPORTED,
    ),
    "broadcast Sender Address": (
        {"sender_address": b"\xff" * 4 + bytes(12)},
        Accept.NOT_SUPPORTED,
    ),
    "zero IPv6 addresses on IPv4": ({"ip_version": 6}, Accept.NOT_SUPPORTED),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_request_keeps_the_connection(name: str) -> None:
    fields, accept = REFUSALS[name]

    async def test() -> None:
        async with (
            Responder.listening() as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as probe:
                answer = await client.ask(probe.request(**fields))
                assert answer == AcceptSession(accept)  # Port and SID are zero, too
                assert (await client.ask(probe.request())).accept is Accept.OK

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


# ---- ports and addresses ---------------------------------------------------------------------------


def test_the_asked_receiver_port_is_honoured_in_range_and_replaced_outside() -> None:
    async def test() -> None:
        port = free_port()
        async with (
            Responder.listening(test_ports=(port, port)) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as one, Probe() as two:
                assert (await client.ask(one.request(receiver_port=port))).port == port
                answer = await client.ask(two.request(receiver_port=port - 1))
                assert (answer.accept, answer.port) == (Accept.OK, port)

    run(test)


def test_a_single_port_is_shared_and_the_second_session_of_one_sender_is_refused() -> None:
    async def test() -> None:
        port = free_port()
        async with (
            Responder.listening(test_ports=(port, port)) as responder,
            RawClient.connected(responder) as client,
        ):
            with Probe() as one, Probe() as two:
                assert (await client.ask(one.request())).port == port
                assert (await client.ask(two.request())).port == port
                answer = await client.ask(one.request())
                assert answer == AcceptSession(Accept.TEMPORARY_RESOURCE_LIMITATION)
                await client.start()
                assert (await one.measure(port)).sequence_number == 0
                assert (await two.measure(port)).sequence_number == 0
                assert (await one.measure(port)).sequence_number == 1

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


def test_ports_in_use_by_other_programs_are_passed_over() -> None:
    async def test() -> None:
        with Probe() as stranger:
            ports = (stranger.port, min(stranger.port + 20, 65535))
            async with (
                Responder.listening(test_ports=ports) as responder,
                RawClient.connected(responder) as client,
            ):
                with Probe() as probe:
                    answer = await client.ask(probe.request(receiver_port=stranger.port))
                    assert answer.accept is Accept.OK
                    assert answer.port != stranger.port

    run(test)


def test_no_port_left_is_a_temporary_refusal() -> None:
    async def test() -> None:
        with Probe() as stranger:
            ports = (stranger.port, stranger.port)
            async with (
                Responder.listening(test_ports=ports) as responder,
                RawClient.connected(responder) as client,
            ):
                with Probe() as probe:
                    for _ in range(2):
                        answer = await client.ask(probe.request())
                        assert answer == AcceptSession(Accept.TEMPORARY_RESOURCE_LIMITATION)

    run(test)


def test_each_address_field_may_be_zero_on_its_own() -> None:
    async def test() -> None:
        other = bytes([127, 0, 0, 3]) + bytes(12)
        async with (
            Responder.listening() as responder,
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
