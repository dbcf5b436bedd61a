"""Every packet that is not answered is a drop with a name."""

import contextlib
import socket
import time

import pytest

from tests.support.reflector_bench import (
    TIMEOUT_MS,
    Bench,
    request,
    require_silence,
)
from twamp.protocol.packets import ReflectorPacket

PACKET_MAX = 65507
LATER = (1 << 64) - 1
IPV6_DONTFRAG = 62


@pytest.mark.parametrize("octets", [b"", b"\0", request()[:13]])
def test_too_short_is_a_drop(bench: Bench, octets: bytes) -> None:
    client, session = bench.session()
    bench.send(client, octets)
    require_silence(client)
    assert bench.drops() == {"short": 1}
    stats = bench.reflector.session_stats(session)
    assert (stats.received, stats.reflected, stats.dropped) == (1, 0, 1)
    assert stats.last_packet_ns == 0  # what is ignored keeps no session alive


@pytest.mark.parametrize("length", [PACKET_MAX + 1, 65527])
def test_too_long_is_a_drop(bench6: Bench, length: int) -> None:
    """65,508 octets and more only fit into IPv6."""
    client, _ = bench6.session()
    bench6.send(client, request(padding=bytes(length - 14)))
    require_silence(client)
    assert bench6.drops() == {"long": 1}
    assert len(bench6.exchange(client, request(padding=bytes(PACKET_MAX - 14)))) == PACKET_MAX


@pytest.mark.parametrize("error_estimate", [0, 0x8000, 0x3F00])
def test_multiplier_zero_is_a_drop(bench: Bench, error_estimate: int) -> None:
    """RFC 4656 section 4.1.2: the packet is corrupt."""
    client, _ = bench.session()
    bench.send(client, request(error_estimate=error_estimate))
    require_silence(client)
    assert bench.drops() == {"error_estimate": 1}


def test_before_start_is_a_drop_and_never_answered_later(bench: Bench) -> None:
    client, session = bench.session(started=False)
    bench.send(client, request(1), request(2))
    assert bench.drops() == {"not_started": 2}
    assert bench.reflector.session_stats(session).last_packet_ns == 0
    bench.reflector.start(session)
    assert bench.reflector.step(0) == 0
    require_silence(client)
    reply = ReflectorPacket.parse(bench.exchange(client, request(3)))
    assert (reply.sequence_number, reply.sender_sequence_number) == (0, 3)


def test_after_the_deadline_is_a_drop_and_before_it_is_not(bench: Bench) -> None:
    client, session = bench.session()
    bench.reflector.finish(session, LATER)
    bench.exchange(client, request())
    bench.reflector.finish(session, time.monotonic_ns())
    bench.send(client, request())
    require_silence(client)
    assert bench.drops() == {"stopped": 1}
    bench.reflector.finish(session, time.monotonic_ns() + 60_000_000_000)
    bench.exchange(client, request())
    assert bench.drops() == {"stopped": 1}


def test_a_session_that_never_started_does_not_start_by_finishing(bench: Bench) -> None:
    client, session = bench.session(started=False)
    bench.reflector.finish(session, LATER)
    bench.send(client, request())
    assert bench.drops() == {"not_started": 1}


def test_a_full_send_buffer_is_a_drop(bench6: Bench) -> None:
    """A reply that is cut in two finds no room for its second half; the next ones go on."""
    bench6.port.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    client, session = bench6.session()
    longest = request(padding=bytes(PACKET_MAX - 14))
    bench6.send(client, request(1), longest, request(2))
    replies = [ReflectorPacket.parse(client.recv(1 << 16)) for _ in range(2)]
    assert [reply.sender_sequence_number for reply in replies] == [1, 2]
    require_silence(client)
    assert bench6.drops() == {"send_buffer": 1}
    stats = bench6.reflector.session_stats(session)
    assert (stats.received, stats.reflected, stats.dropped) == (3, 2, 1)


def drain(client: socket.socket) -> int:
    """Reads what is there; how many packets."""
    client.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while client.recv(2048):
            count += 1
    client.settimeout(TIMEOUT_MS / 1000)
    return count


def test_what_the_receive_buffer_had_no_room_for_is_reported() -> None:
    """Packets that nobody could read.  What the socket had lost before it came here is not ours."""
    with (bench := Bench("127.0.0.1", receive_buffer=4096)).stack:
        client = bench.client()
        bench.port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def flood_and_drain() -> int:
            for number in range(200):
                client.sendto(request(number), bench.local.sockaddr)
            while bench.reflector.step(0):
                pass
            bench.exchange(client, request())  # brings the news of what was lost behind the last
            return drain(client)

        for _ in range(2):  # the second time the socket comes with the losses of the first
            before = bench.reflector.stats().counters["overflows"]
            for number in range(200):
                client.sendto(request(number), bench.local.sockaddr)
            session = bench.add(client, started=False)
            while bench.reflector.step(0):
                pass
            bench.reflector.start(session)
            bench.exchange(client, request())
            assert bench.reflector.stats().counters["overflows"] == before
            answered = flood_and_drain()
            assert bench.reflector.stats().counters["overflows"] - before == 200 - answered > 100
            bench.reflector.remove(session)
            bench.reflector.step(0)
        bench.drops()


def test_a_reply_that_the_kernel_refuses_is_a_drop(bench6: Bench) -> None:
    """Told not to cut packets, it says EMSGSIZE; the next ones go on."""
    bench6.port.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
    client, _ = bench6.session()
    longest = request(padding=bytes(PACKET_MAX - 14))
    bench6.send(client, longest, longest, request(1))
    assert ReflectorPacket.parse(client.recv(1 << 16)).sender_sequence_number == 1
    require_silence(client)
    assert bench6.drops() == {"send_refused": 2}


def test_last_packet_is_the_last_good_one(bench: Bench) -> None:
    client, session = bench.session()
    before = time.monotonic_ns()
    bench.exchange(client, request())
    first = bench.reflector.session_stats(session).last_packet_ns
    assert before <= first <= time.monotonic_ns()
    bench.send(client, b"", request(error_estimate=0))
    assert bench.reflector.session_stats(session).last_packet_ns == first
    bench.exchange(client, request())
    assert bench.reflector.session_stats(session).last_packet_ns > first
