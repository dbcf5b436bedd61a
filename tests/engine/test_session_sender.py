"""Session-Sender: what it sends, what it makes of the replies, and how it ends."""

import asyncio
import errno
import os
import socket
from random import Random
from typing import Any

import pytest

from tests.support.scripted_reflector import (
    Request,
    ScriptedReflector,
    answer,
)
from tests.support.scripted_sessions import (
    MILLISECOND,
    assert_books_balance,
    config_for,
    drops,
    fixed,
    measure,
)
from twamp._native import ffi
from twamp.endpoint import Endpoint
from twamp.engine.sample_table import SAMPLE_LAYOUT
from twamp.engine.session_sender import SessionSender
from twamp.metrics.sample import Sample

NONE, USER, KERNEL = 0, 1, 2
UNIX_EPOCH_IN_NTP = 2_208_988_800


def ntp(unix_ns: int) -> int:
    seconds, nanoseconds = divmod(unix_ns, 10**9)
    return (seconds + UNIX_EPOCH_IN_NTP << 32) + (nanoseconds << 32) // 10**9


def test_the_table_is_laid_out_as_the_compiler_lays_it_out() -> None:
    fields = [field for field in ffi.typeof("struct tw_sample").fields if field[0] != "reserved"]
    assert tuple(name for name, _ in fields) == Sample._fields
    assert ffi.sizeof("struct tw_sample") == SAMPLE_LAYOUT.size
    table = ffi.new("struct tw_sample[2]")
    values = [
        (1 << 8 * ffi.sizeof(member.type)) // 3 if name != "lateness_ns" else -12345
        for name, member in fields
    ]
    for (name, _), value in zip(fields, values, strict=True):
        setattr(table[1], name, value)
    assert SAMPLE_LAYOUT.unpack_from(ffi.buffer(table), SAMPLE_LAYOUT.size) == tuple(values)


@pytest.mark.parametrize("ip_version", [4, 6])
def test_an_honest_reply_fills_every_column(ip_version: int) -> None:
    def script(reflector: ScriptedReflector, request: Request) -> None:
        if ip_version == 4:
            reflector.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33)
            reflector.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)
        else:
            reflector.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 33)
            reflector.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xB8)
        answer(reflector, request)

    sender, reflector = measure(script, ip_version, schedule=fixed(50))

    assert len(sender.samples) == len(reflector.requests) == 50
    for number, (sample, request) in enumerate(
        zip(sender.samples, reflector.requests, strict=True)
    ):
        assert sample.sequence_number == request.sequence_number == number
        assert sample.reflector_sequence_number == number + 500
        assert sample.rank == number + 1
        assert sample.t2 == (3_900_000_000 << 32) + 2 * number
        assert sample.t3 == sample.t2 + 1
        assert sample.sender_error_estimate == request.error_estimate
        assert request.error_estimate & 0xFF
        assert sample.reflector_error_estimate == 0x8107
        assert sample.sender_ttl == 77
        assert (sample.ttl, sample.tos) == (33, 0xB8)
        assert sample.lateness_ns >= 0
    assert drops(sender.stats()) == {}


@pytest.mark.parametrize("ip_version", [4, 6])
def test_every_departure_and_arrival_has_the_kernels_stamp(ip_version: int) -> None:
    sender, reflector = measure(answer, ip_version, schedule=fixed(200))

    assert {(sample.t1_source, sample.t4_source) for sample in sender.samples} == {(KERNEL, KERNEL)}
    assert sender.stats().refused_stamps == 0
    # The packet's own T1 is read before it leaves: a stamp of another packet would not fit between.
    for sample, request in zip(sender.samples, reflector.requests, strict=True):
        assert request.timestamp <= sample.t1 <= ntp(request.receive_ns) <= sample.t4


def answer_from_elsewhere(reflector: ScriptedReflector, request: Request) -> None:
    """Two replies: from another port, and from another address."""
    with ScriptedReflector.bound("127.0.0.1") as other_port:
        other_port.sendto(request.reply(), request.source)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_address:
        other_address.bind(("127.0.0.2", reflector.endpoint.port))
        other_address.sendto(request.reply(), request.source)
    reflector.replies += 2


def test_the_sender_tells_apart_what_the_script_does() -> None:
    withheld: list[Request] = []

    def script(reflector: ScriptedReflector, request: Request) -> None:
        match request.sequence_number:
            case 1:
                pass
            case 2:
                reflector.send(request.reply(sequence_number=70), request)
                reflector.send(request.reply(sequence_number=71), request)
            case 3:
                withheld.append(request)
            case 4:
                reflector.send(request.reply(), request)
                reflector.send(withheld[0].reply(), request)
            case 5:
                answer_from_elsewhere(reflector, request)
            case 6:
                reflector.send(request.reply()[:40], request)
                reflector.send(b"", request)
            case 7:
                reflector.send(request.reply(error_estimate=0x8100), request)
            case 8:
                reflector.send(request.reply(sender_sequence_number=11), request)
                reflector.send(request.reply(sender_sequence_number=12), request)
                reflector.send(request.reply(sender_sequence_number=2**32 - 1), request)
            case 10:
                reflector.send(request.reply() + bytes(1400), request)
            case 11:
                reflector.send(request.reply() + bytes(65507 - 41), request)
            case _:
                answer(reflector, request)

    # Packet 11 goes long after its number was used in vain.
    schedule = fixed(11)
    schedule.append(300 * MILLISECOND)
    sender, reflector = measure(script, schedule=schedule)

    answered = [sample.sequence_number for sample in sender.samples if sample.rank]
    assert answered == [0, 2, 3, 4, 9, 10, 11]
    assert sender.samples[3].rank > sender.samples[4].rank
    assert [sample.reflector_sequence_number for sample in sender.duplicates] == [71]
    first, again = sender.samples[2], sender.duplicates[0]
    assert first.reflector_sequence_number == 70
    assert (again.sequence_number, again.t1, again.t1_source) == (2, first.t1, KERNEL)
    assert again.rank == first.rank + 1
    stats = sender.stats()
    assert drops(stats) == {"foreign": 2, "short": 2, "error_estimate": 1, "sequence": 3}
    assert stats.received == reflector.replies


def test_a_reply_that_does_not_repeat_what_was_sent_is_dropped() -> None:
    def script(reflector: ScriptedReflector, request: Request) -> None:
        estimate = request.error_estimate ^ 0x8000
        for forged in (
            request.reply(sender_timestamp=request.timestamp + 1),
            request.reply(sender_timestamp=0),
            request.reply(sender_error_estimate=estimate),
            request.reply(sender_error_estimate=0),
        ):
            reflector.send(forged, request)
        answer(reflector, request)

    sender, _ = measure(script, schedule=fixed(10))
    assert drops(sender.stats()) == {"echo": 40}
    assert [sample.rank for sample in sender.samples] == [*range(1, 11)]
    assert not sender.duplicates


def test_a_reply_larger_than_a_packet_can_be_is_dropped() -> None:
    def script(reflector: ScriptedReflector, request: Request) -> None:
        reflector.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        reflector.send(request.reply() + bytes(65508 - 41), request)

    sender, _ = measure(script, 6, schedule=fixed(2))
    assert drops(sender.stats()) == {"long": 2}


def test_ptp_timestamps_become_ntp() -> None:
    unix_s, nanoseconds = 1_700_000_000, 123_456_789

    def script(reflector: ScriptedReflector, request: Request) -> None:
        receive_ns = nanoseconds + request.sequence_number
        reply = request.reply(
            error_estimate=0xC107,
            receive_timestamp=unix_s << 32 | receive_ns,
            timestamp=unix_s + 1 << 32 | 2**32 - 1,
        )
        reflector.send(reply, request)

    sender, _ = measure(script)
    for sample in sender.samples:
        assert sample.t2 == ntp(unix_s * 10**9 + nanoseconds + sample.sequence_number)
        # Nanoseconds that no second has: 4.29 s, carried.
        assert sample.t3 == ntp((unix_s + 1) * 10**9 + 2**32 - 1)


def test_ptp_seconds_beyond_era_0_wrap() -> None:
    def script(reflector: ScriptedReflector, request: Request) -> None:
        reflector.send(
            request.reply(error_estimate=0x4001, receive_timestamp=2_085_978_496 << 32), request
        )

    sender, _ = measure(script, schedule=fixed(1))
    assert sender.samples[0].t2 == 0


def test_any_octets_of_a_reply_are_counted_and_harmless() -> None:
    random = Random(20)

    def script(reflector: ScriptedReflector, request: Request) -> None:
        for _ in range(5):
            octets = bytearray(request.reply() + random.randbytes(30))
            for _ in range(random.randrange(4)):
                octets[random.randrange(41)] = random.choice([0, 1, 255, random.randrange(256)])
            length = random.choice([0, 39, 40, 41, 42, random.randrange(72)])
            reflector.send(bytes(octets[:length]), request)

    sender, reflector = measure(script, schedule=fixed(200), duplicates_size=50)

    stats = sender.stats()
    assert stats.replies + stats.duplicates > 150
    assert stats.received == reflector.replies
    assert set(drops(stats)) == {"short", "error_estimate", "sequence", "echo", "no_room"}
    assert len(sender.duplicates) == 50


def test_duplicates_beyond_the_table_are_a_named_drop() -> None:
    def script(reflector: ScriptedReflector, request: Request) -> None:
        for _ in range(3):
            answer(reflector, request)

    sender, _ = measure(script, schedule=fixed(2), duplicates_size=3)
    assert len(sender.duplicates) == 3
    assert drops(sender.stats()) == {"no_room": 1}


@pytest.mark.parametrize("ip_version", [4, 6])
def test_packets_go_with_the_ttl_and_dscp_of_the_configuration(ip_version: int) -> None:
    _, reflector = measure(answer, ip_version, dscp=46, ttl=254)
    assert {(request.ttl, request.tos) for request in reflector.requests} == {(254, 46 << 2)}
    _, reflector = measure(answer, ip_version)
    assert {(request.ttl, request.tos) for request in reflector.requests} == {(255, 0)}


def test_padding_is_a_window_that_moves() -> None:
    octets = Random(5).randbytes(27 + 255)
    _, reflector = measure(answer, schedule=fixed(300, 100_000), padding_length=27, padding=octets)
    assert len(reflector.requests) == 300
    for request in reflector.requests:
        start = request.sequence_number & 255
        assert request.octets[14:] == octets[start : start + 27]


def test_padding_is_random_unless_zeros_were_asked_for() -> None:
    _, reflector = measure(answer, padding_length=100)
    assert {len(request.octets) for request in reflector.requests} == {114}
    assert len({request.octets[14:] for request in reflector.requests}) == 10
    _, reflector = measure(answer, padding_length=100, zero_padding=True)
    assert {request.octets[14:] for request in reflector.requests} == {bytes(100)}


def test_padding_that_is_too_little_is_refused() -> None:
    with ScriptedReflector.bound("127.0.0.1") as sock:
        peer = Endpoint.from_sockaddr(sock.getsockname())
        config = config_for(peer, padding_length=10, padding=bytes(264))
        with pytest.raises(ValueError, match="264 octets; it needs 265"):
            SessionSender(sock, config)


def test_ten_thousand_packets_a_second_lose_no_reply() -> None:
    sender, reflector = measure(answer, schedule=fixed(15_000, 100_000))
    stats = sender.stats()
    assert stats.sent == 15_000
    # What a slow reflector had no room for is not the sender's loss.
    assert stats.replies == reflector.replies >= 1_000
    answered = [sample for sample in sender.samples if sample.rank]
    assert {(sample.t1_source, sample.t4_source) for sample in answered} == {(KERNEL, KERNEL)}


def test_packets_that_the_kernel_refuses_do_not_end_the_session() -> None:
    async def session() -> SessionSender:
        with ScriptedReflector.bound("127.0.0.1") as sock:
            # Broadcast without SO_BROADCAST: EACCES.
            peer = Endpoint.from_sockaddr(("255.255.255.255", 9))
            sender = SessionSender(sock, config_for(peer, loss_timeout_ns=0))
            await sender.run()
            return sender

    sender = asyncio.run(session())
    stats = sender.stats()
    assert (stats.sent, stats.send_errors, stats.send_errno) == (0, 10, errno.EACCES)
    assert [sample.sequence_number for sample in sender.samples] == list(range(10))
    assert {(sample.t1_source, sample.rank) for sample in sender.samples} == {(NONE, 0)}


def test_departure_stamps_stay_with_their_packets_after_refused_sends() -> None:
    """The packets need fragments, and are refused while the test has IPV6_DONTFRAG set."""

    async def session() -> tuple[SessionSender, ScriptedReflector]:
        def script(reflector: ScriptedReflector, request: Request) -> None:
            answer(reflector, request)
            if request.sequence_number % 10 == 7:
                asyncio.get_running_loop().create_task(refuse_some())

        async def refuse_some() -> None:
            errors = sender.stats().send_errors
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)
            while sender.stats().send_errors < errors + 2:
                await asyncio.sleep(0)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 0)

        with ScriptedReflector(script, 6) as reflector, ScriptedReflector.bound("::1") as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
            config = config_for(
                reflector.endpoint, schedule=fixed(60, 2 * MILLISECOND), padding_length=65493
            )
            sender = SessionSender(sock, config)
            await sender.run()
            return sender, reflector

    sender, reflector = asyncio.run(session())
    assert_books_balance(sender)
    stats = sender.stats()
    assert stats.send_errors >= 4
    assert stats.send_errno == errno.EMSGSIZE
    assert stats.sent + stats.send_errors == 60
    assert len(reflector.requests) > 20
    for request in reflector.requests:
        sample = sender.samples[request.sequence_number]
        assert sample.t1_source == KERNEL
        assert request.timestamp <= sample.t1 <= ntp(request.receive_ns)


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"peer": Endpoint.from_sockaddr(("::1", 9, 0, 0))}, errno.EAFNOSUPPORT),
        ({"peer": Endpoint.from_sockaddr(("127.0.0.1", 0))}, errno.EINVAL),
        ({"padding_length": 65494}, errno.EMSGSIZE),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(changes: dict[str, Any], number: int) -> None:
    with ScriptedReflector.bound("127.0.0.1") as sock:
        before = sorted(os.listdir("/proc/self/fd"))
        changes = {"peer": Endpoint.from_sockaddr(sock.getsockname())} | changes
        config = config_for(**changes)
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            SessionSender(sock, config)
        assert caught.value.errno == number
        assert sorted(os.listdir("/proc/self/fd")) == before
