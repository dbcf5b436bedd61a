"""Nothing answers a reply: responders that are forged against each other fall silent."""

import random
import socket

import pytest

from tests.support.reflector_bench import Bench, endpoint, request, require_silence
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionConfig
from twamp.protocol.packets import ReflectorPacket

PACKETS_OF_A_LOOP = 100


def forge(source: socket.socket, target: Endpoint, packet: bytes) -> None:
    """A packet whose source is another responder's port."""
    source.sendto(packet, target.sockaddr)


def turns_until_silence(one: Bench, other: Bench) -> int:
    """How many packets the two read until no more come."""
    packets = 0
    while packets < PACKETS_OF_A_LOOP:
        read = one.reflector.step(0) + other.reflector.step(0)
        if read == 0:
            return packets
        packets += read
    pytest.fail("they would never fall silent")


@pytest.mark.parametrize("error_estimate", [1, 0])
@pytest.mark.parametrize("padding", [0, 27, 1000])
@pytest.mark.parametrize("kinds", ["sessions", "light", "light and session"])
def test_two_responders_that_answer_each_other_fall_silent(
    kinds: str, padding: int, error_estimate: int
) -> None:
    one, other = (Bench("127.0.0.1", error_estimate="accept") for _ in range(2))
    with one.stack, other.stack:
        for bench, peer in ((one, other), (other, one)):
            if kinds == "light" or (kinds != "sessions" and bench is one):
                bench.reflector.add_light(bench.local, bench.port)
            else:
                bench.reflector.start(
                    bench.reflector.add(
                        SessionConfig(local=bench.local, peer=peer.local), bench.port
                    )
                )
        forge(other.port, one.local, request(7, bytes(padding), error_estimate))
        assert turns_until_silence(one, other) <= 3
        drops = {**one.reflector.stats().drops}
        for name, count in other.reflector.stats().drops.items():
            drops[name] += count
        assert sum(drops.values()) == 1
        assert drops["loop"] + drops["short"] == 1


def test_a_session_does_not_answer_an_echo_of_its_reply(bench: Bench) -> None:
    client, session = bench.session()
    reply = bench.exchange(client, request(padding=bytes(100)))
    bench.send(client, reply)
    require_silence(client)
    assert bench.drops() == {"loop": 1}
    assert bench.reflector.session_stats(session).dropped == 1


def test_padding_of_zeros_or_chance_is_no_reply(bench: Bench) -> None:
    client, _ = bench.session()
    rng = random.Random(5357)
    for number in range(200):
        padding = bytes(100) if number % 2 else rng.randbytes(100)
        reply = bench.exchange(client, request(number, padding))
        assert ReflectorPacket.parse(reply).sequence_number == number
    assert endpoint(client) != bench.local


@pytest.mark.parametrize("how", ["drop", "accept"])
def test_an_error_estimate_of_zero_is_dropped_or_answered_and_counted(how: str) -> None:
    with (bench := Bench("127.0.0.1", error_estimate=how)).stack:
        client, session = bench.session()
        bench.send(client, *(request(number, bytes(27), number % 2) for number in range(4)))
        taken = 4 if how == "accept" else 2
        replies = [ReflectorPacket.parse(client.recv(1 << 16)) for _ in range(taken)]
        assert {reply.sender_error_estimate for reply in replies} == ({0, 1} if taken == 4 else {1})
        zero = taken - 2
        assert bench.reflector.stats().counters["zero_error_estimates"] == zero
        assert bench.reflector.session_stats(session).zero_error_estimates == zero
        assert bench.drops() == ({} if zero else {"error_estimate": 2})


def test_the_first_packet_of_a_started_session_names_its_port(bench: Bench) -> None:
    client, stranger = bench.client(), bench.client()
    peer = endpoint(client)._replace(port=0)
    session = bench.reflector.add(SessionConfig(local=bench.local, peer=peer), bench.port)
    bench.send(client, request())
    assert bench.drops() == {"no_session": 1}
    bench.reflector.start(session)
    for number in range(2):
        reply = ReflectorPacket.parse(bench.exchange(client, request(number, bytes(27))))
        assert reply.sequence_number == number
    bench.send(stranger, request())
    require_silence(stranger)
    assert bench.drops() == {"no_session": 2}
