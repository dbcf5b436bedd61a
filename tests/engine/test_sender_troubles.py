"""ICMP errors about a session's packets, and replies that are taken on request alone."""

import asyncio
import struct
from typing import Any

import pytest

from tests.support.scripted_reflector import LOOPBACK, Request, ScriptedReflector
from tests.support.scripted_sessions import assert_books_balance, config_for, drops, fixed, measure
from twamp.endpoint import Endpoint
from twamp.engine.native import ffi, lib
from twamp.engine.session_sender import SessionSender

EMSGSIZE, ECONNREFUSED, EHOSTUNREACH = 90, 111, 113
LOCAL, ICMP, ICMP6, TIMESTAMPING = 1, 2, 3, 4  # SO_EE_ORIGIN_…
HOST = bytes([192, 0, 2, 254])
SYNCHRONISED = 0x8000


@pytest.mark.parametrize("version", [4, 6])
def test_port_unreachable_is_counted_and_every_packet_is_sent_all_the_same(version: int) -> None:
    """An error about an earlier packet makes a later send fail, once; that one is tried again."""

    async def session() -> SessionSender:
        with ScriptedReflector.bound(LOOPBACK[version]) as gone:
            peer = Endpoint.from_sockaddr(gone.getsockname())
        with ScriptedReflector.bound(LOOPBACK[version]) as sock:
            config = config_for(peer, schedule=fixed(50, 1000), loss_timeout_ns=100_000_000)
            sender = SessionSender(sock, config)
            await sender.run()
            return sender

    sender = asyncio.run(session())
    stats = sender.stats()
    assert (stats.sent, stats.send_errors) == (50, 0)
    assert stats.icmp["port_unreachable"] > 0
    assert stats.icmp_source is not None
    assert str(stats.icmp_source.address) == LOOPBACK[version]
    assert_books_balance(sender)


def without_estimate(reflector: ScriptedReflector, request: Request) -> None:
    reflector.send(request.reply(error_estimate=SYNCHRONISED), request)


def test_replies_without_an_estimate_are_of_a_clock_that_is_not_synchronised() -> None:
    sender, _ = measure(without_estimate, zero_estimate=True)
    assert sender.stats().without_estimate == 10
    assert [sample.reflector_error_estimate for sample in sender.samples] == [0] * 10
    sender, _ = measure(without_estimate)
    assert drops(sender.stats()) == {"error_estimate": 10}


def test_replies_of_another_port_are_named_and_taken_on_request() -> None:
    with ScriptedReflector.bound("127.0.0.1") as other:
        source = Endpoint.from_sockaddr(other.getsockname())

        def from_there(reflector: ScriptedReflector, request: Request) -> None:
            other.sendto(request.reply(), request.source)

        sender, _ = measure(from_there)
        assert drops(sender.stats()) == {"foreign": 10}
        assert sender.stats().foreign == source
        sender, _ = measure(from_there, any_source=True)
        assert drops(sender.stats()) == {}
        assert all(sample.rank for sample in sender.samples)


def error_message(version: int, origin: int, kind: int, code: int, number: int, info: int) -> bytes:
    """A control message of IP_RECVERR or IPV6_RECVERR."""
    error = struct.pack("=IBBBBII", number, origin, kind, code, 0, info, 0)
    if version == 4:
        offender, level, name = struct.pack("=HH4s8x", 2, 0, HOST), 0, 11
    else:
        offender, level, name = struct.pack("=HHI16sI", 10, 0, 0, bytes(15) + b"\1", 0), 41, 25
    octets = error + offender
    return struct.pack("=QII", 16 + len(octets), level, name) + octets.ljust(
        -(-len(octets) // 8) * 8
    )


@pytest.mark.parametrize(
    ("message", "kind", "mtu"),
    [
        (error_message(4, ICMP, 3, 4, EMSGSIZE, 1400), lib.TW_ICMP_TOO_BIG, 1400),
        (error_message(6, ICMP6, 2, 0, EMSGSIZE, 1280), lib.TW_ICMP_TOO_BIG, 1280),
        (error_message(4, ICMP, 3, 3, ECONNREFUSED, 0), lib.TW_ICMP_PORT_UNREACHABLE, 0),
        (error_message(6, ICMP6, 1, 4, ECONNREFUSED, 0), lib.TW_ICMP_PORT_UNREACHABLE, 0),
        (error_message(4, ICMP, 3, 13, EHOSTUNREACH, 0), lib.TW_ICMP_PROHIBITED, 0),
        (error_message(6, ICMP6, 1, 1, EHOSTUNREACH, 0), lib.TW_ICMP_PROHIBITED, 0),
        (error_message(4, ICMP, 3, 1, EHOSTUNREACH, 0), lib.TW_ICMP_UNREACHABLE, 0),
        (error_message(6, ICMP6, 1, 3, EHOSTUNREACH, 0), lib.TW_ICMP_UNREACHABLE, 0),
        (error_message(4, ICMP, 11, 0, EHOSTUNREACH, 0), lib.TW_ICMP_OTHER, 0),
        (error_message(6, ICMP6, 3, 0, EHOSTUNREACH, 0), lib.TW_ICMP_OTHER, 0),
        (error_message(4, LOCAL, 0, 0, EMSGSIZE, 1500), 0, 1500),
    ],
)
def test_errors_are_read(message: bytes, kind: int, mtu: int) -> None:
    icmp = parse(message)
    assert icmp is not None
    assert (icmp.kind, icmp.mtu) == (kind, mtu)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        error_message(4, TIMESTAMPING, 0, 0, 42, 0),
        error_message(4, LOCAL, 0, 0, ECONNREFUSED, 0),
        error_message(4, ICMP, 3, 3, ECONNREFUSED, 0)[:-1],
    ],
)
def test_anything_else_is_none(message: bytes) -> None:
    assert parse(message) is None


def parse(message: bytes) -> Any:
    icmp = ffi.new("struct tw_icmp_error *")
    buffer = ffi.from_buffer("uint8_t[]", bytearray(message))
    return icmp if lib.tw_cmsg_parse_icmp(buffer, len(message), icmp) else None


def test_a_session_ends_when_every_packet_has_been_answered() -> None:
    """Not at the loss timeout, which here is beyond every patience; copies that come soon still count."""

    def twice(reflector: ScriptedReflector, request: Request) -> None:
        reflector.send(request.reply(), request)
        later = asyncio.get_running_loop().call_later
        later(0.02, reflector.send, request.reply(), request)

    async def session() -> SessionSender:
        with (
            ScriptedReflector(twice) as reflector,
            ScriptedReflector.bound(LOOPBACK[4]) as sock,
        ):
            sender = SessionSender(
                sock, config_for(reflector.endpoint, loss_timeout_ns=3600 * 10**9)
            )
            await asyncio.wait_for(sender.run(), 30)
            return sender

    stats = asyncio.run(session()).stats()
    assert (stats.replies, stats.duplicates) == (10, 10)
