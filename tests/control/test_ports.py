"""The pool of test ports: which port a session gets, and who shares it."""

import asyncio
import socket
from ipaddress import ip_address
from weakref import WeakKeyDictionary

import pytest

from tests.support.by_hand import (
    ANSWER_WITHIN,
    Probe,
    RawClient,
    Responder,
    free_port,
    run,
)
from twamp.control.ports import Ports
from twamp.endpoint import Endpoint
from twamp.protocol.control_messages import (
    AcceptSession,
)
from twamp.protocol.registries import Accept

HOST = Endpoint(ip_address("127.0.0.1"), 0)
SENDER = Endpoint(ip_address("192.0.2.1"), 7000)
HELD: WeakKeyDictionary[Ports, set[tuple[int, Endpoint]]] = WeakKeyDictionary()


def sender(number: int) -> Endpoint:
    return SENDER._replace(port=8000 + number)


def at(port: int) -> Endpoint:
    return HOST._replace(port=port)


def given(ports: Ports, wanted: int = 0, sender: Endpoint = SENDER) -> int | None:
    """The port that the next session of a sender gets when every port can be opened."""
    mine = HELD.setdefault(ports, set())
    for local in ports.candidates(at(wanted), sender):
        if (local.port, sender) not in mine:
            ports.use(local, sender)
            mine.add((local.port, sender))
            return local.port
    return None


def give_back(ports: Ports, port: int, sender: Endpoint = SENDER) -> None:
    ports.release(at(port), sender)
    HELD[ports].remove((port, sender))


def test_hundreds_of_ports_that_another_responder_has_are_passed_over() -> None:
    ports = Ports((18760, 19960))
    tried = [local.port for local in ports.candidates(at(0), SENDER)]
    assert len(tried) == len(set(tried)) >= 1000


def test_unused_ports_are_given_in_turn_and_then_shared() -> None:
    ports = Ports((7000, 7002))
    assert [given(ports, sender=sender(n)) for n in range(7)] == [
        *(7000, 7001, 7002),
        *(7000, 7001, 7002, 7000),
    ]


def test_the_wanted_port_comes_first_if_it_is_in_the_range() -> None:
    ports = Ports((7000, 7002))
    assert given(ports, wanted=7002) == 7002
    assert given(ports, wanted=7002, sender=sender(1)) == 7002
    assert given(ports, wanted=9999) == 7000


def test_a_sender_has_each_port_once_and_then_none() -> None:
    ports = Ports((7000, 7003))
    assert given(ports, wanted=7002, sender=sender(1)) == 7002
    assert [given(ports) for _ in range(5)] == [7000, 7001, 7003, 7002, None]
    give_back(ports, 7001)
    assert [given(ports), given(ports)] == [7001, None]


def test_a_port_that_another_program_has_is_passed_over_and_tried_again_later() -> None:
    ports = Ports((7000, 7001))
    candidates = ports.candidates(HOST, SENDER)
    assert [next(candidates), next(candidates)] == [at(7000), at(7001)]
    ports.use(at(7001), SENDER)
    assert list(ports.candidates(HOST, sender(1))) == [at(7000), at(7001)]


def test_however_many_ports_other_programs_have_the_free_one_is_found() -> None:
    ports = Ports((7000, 7999))
    candidates = ports.candidates(HOST, SENDER)
    assert [local.port for local in candidates] == list(range(7000, 8000))
    for local in ports.candidates(HOST, SENDER):
        if local.port == 7999:
            ports.use(local, SENDER)
            break
    assert given(ports, sender=sender(1)) == 7000  # the others' come again, in their order


def test_a_port_given_back_comes_last() -> None:
    ports = Ports((7000, 7003))
    assert [given(ports), given(ports)] == [7000, 7001]
    give_back(ports, 7000)
    assert [given(ports) for _ in range(4)] == [7002, 7003, 7000, None]


@pytest.mark.parametrize("senders", [1, 5000])
def test_the_search_takes_no_longer_with_more_sessions(senders: int) -> None:
    """Whether one sender has a session on each port, or each session has a sender of its own."""
    ports = Ports((7000, 11999))
    held: set[tuple[int, int]] = set()
    tried = 0
    for number in range(10_000):
        for local in ports.candidates(HOST, sender(number % senders)):
            tried += 1
            if (local.port, number % senders) not in held:
                ports.use(local, sender(number % senders))
                held.add((local.port, number % senders))
                break
    assert len(held) == 5000 * (1 if senders == 1 else 2)
    assert tried <= 20_000


def test_a_port_is_used_until_its_last_session_releases_it() -> None:
    ports = Ports((7000, 7000))
    for number in range(2):
        ports.use(at(7000), sender(number))
    assert not ports.is_used(at(7000)._replace(address=ip_address("127.0.0.2")))
    ports.release(at(7000), sender(0))
    assert ports.is_used(at(7000))
    ports.release(at(7000), sender(1))
    assert not ports.is_used(at(7000))


def test_another_range_is_for_new_sessions_and_keeps_the_uses() -> None:
    ports = Ports((7000, 7001))
    assert given(ports) == 7000
    ports.reconfigure((7001, 7002))
    assert str(ports) == "7001-7002"
    assert [given(ports) for _ in range(2)] == [7001, 7002]
    assert ports.is_used(at(7000))
    give_back(ports, 7000)
    assert given(ports) is None


def test_the_last_descriptors_are_not_for_test_ports() -> None:
    with pytest.raises(OSError, match="Too many open files"):
        Ports((1, 65535), descriptors=lambda: 3).open(HOST)


def test_a_socket_is_opened_on_the_port_and_the_device() -> None:
    with Ports((1, 65535), "lo").open(HOST) as sock:
        assert Endpoint.from_sockaddr(sock.getsockname()).address == HOST.address
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b"lo\0"


def test_a_port_of_another_program_cannot_be_opened() -> None:
    with Probe() as stranger, pytest.raises(OSError, match="in use"):
        Ports((1, 65535)).open(at(stranger.port))


# ---- over the wire -------------------------------------------------------------------------------


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
