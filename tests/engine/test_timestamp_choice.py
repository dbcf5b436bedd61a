"""Who reads the clock for T2, and in which format T2 and T3 leave."""

import asyncio
import os
import socket
import time
from array import array
from typing import Any

import pytest

from tests.support.reflector_bench import Bench, await_kernel_stamps, bound, endpoint, request
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.protocol.crypto import PacketCipher, PacketKeys, Protection
from twamp.protocol.packets import (
    ReflectorPacket,
    SecuredReflectorPacket,
    SecuredSenderPacket,
    SenderPacket,
)
from twamp.protocol.timestamps import NS, ErrorEstimate, ntp_from_unix_ns, unix_ns_from_ptp

MS = 1_000_000
SO_TIMESTAMPING = 65
EVERY_STAMP = 1 << 3 | 1 << 4
ASKED_STAMPS = 1 << 7 | 1 << 11  # SOF_TIMESTAMPING_OPT_ID, OPT_TSONLY
KEYS = PacketKeys(bytes(range(16)), bytes(range(32)))
MODES = {Protection.AUTHENTICATED: 2, Protection.ENCRYPTED: 4}


def sockets() -> int:
    """How many this process has open."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except FileNotFoundError:  # the one that listed the directory
            continue
    return count


# ---- T2


@pytest.mark.parametrize("timestamp", ["auto", "kernel"])
def test_the_kernel_stamps_where_it_can(timestamp: str) -> None:
    await_kernel_stamps()
    with (bench := Bench("127.0.0.1", timestamp=timestamp)).stack:
        client, session = bench.session()
        bench.send(client, *(request(number) for number in range(20)))
        assert bench.reflector.stats().receive_sources == {"kernel": 20, "user": 0, "hardware": 0}
        assert bench.reflector.session_stats(session).last_source == "kernel"
        assert bench.port.getsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING) == (
            EVERY_STAMP | ASKED_STAMPS
        )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_told_to_this_program_reads_the_clock(host: str) -> None:
    """Even of a socket that came with stamps on."""
    with (bench := Bench(host, timestamp="user")).stack:
        bench.port.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, EVERY_STAMP)
        client, session = bench.session()
        assert bench.port.getsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING) == 0
        client.sendto(request(), bench.local.sockaddr)
        arrived_ns = time.time_ns()
        while time.time_ns() < arrived_ns + 4 * MS:
            pass
        read = ntp_from_unix_ns(time.time_ns())
        bench.turn(1)
        reply = ReflectorPacket.parse(client.recv(2048))
        assert read <= reply.receive_timestamp <= reply.timestamp  # it waited, and nobody knows
        assert ErrorEstimate.from_int(reply.error_estimate).error_ns >= MS
        assert bench.reflector.stats().receive_sources == {"kernel": 0, "user": 1, "hardware": 0}
        assert bench.reflector.session_stats(session).last_source == "user"
        assert bench.reflector.stats().counters["refused_stamps"] == 0


@pytest.mark.parametrize(("timestamp", "more"), [("auto", 1), ("kernel", 1), ("user", 0)])
def test_only_who_wants_stamps_keeps_them_on(timestamp: str, more: int) -> None:
    """Stamps cost every packet of the machine a reading of the clock."""
    before = sockets()
    reflector = SessionReflector(timestamp=timestamp)
    try:
        assert sockets() == before + more
    finally:
        reflector.close()
    assert sockets() == before


# ---- the format (RFC 8186)


def require_now_in_ptp(
    packet: ReflectorPacket | SecuredReflectorPacket, before_ns: int, after_ns: int
) -> None:
    for timestamp in (packet.receive_timestamp, packet.timestamp):
        assert timestamp & 0xFFFFFFFF < NS
    t2_ns, t3_ns = (
        unix_ns_from_ptp(timestamp) for timestamp in (packet.receive_timestamp, packet.timestamp)
    )
    assert before_ns <= t2_ns <= t3_ns <= after_ns
    assert ErrorEstimate.from_int(packet.error_estimate).ptp_format


@pytest.mark.parametrize("timestamp", ["auto", "user"])
@pytest.mark.parametrize("error_estimate", [0x9421, 0xD421])
def test_in_ptp_format_both_stamps_are_and_the_senders_is_untouched(
    timestamp: str, error_estimate: int
) -> None:
    with (bench := Bench("127.0.0.1", timestamp=timestamp, timestamp_format="ptp")).stack:
        bench.reflector.add_light(bench.local, bench.port)
        client = bench.client()
        asked = SenderPacket(4711, 0xEAEBFDCEFFFFFFFF, error_estimate, padding=bytes(27))
        before_ns = time.time_ns()
        reply = ReflectorPacket.parse(bench.exchange(client, bytes(asked)))
        require_now_in_ptp(reply, before_ns, time.time_ns())
        assert reply.sender_timestamp == asked.timestamp
        assert reply.sender_error_estimate == error_estimate


def test_a_session_that_has_negotiated_nothing_has_ntp_beside_a_light_one_in_ptp() -> None:
    """RFC 8186 section 2.2."""
    with (bench := Bench("127.0.0.1", timestamp_format="ptp")).stack:
        bench.reflector.add_light(bench.local, bench.port)
        known, _ = bench.session()
        stranger = bench.client()
        before = ntp_from_unix_ns(time.time_ns())
        for client in (known, stranger):  # in one batch, and one chunk of replies
            client.sendto(request(padding=bytes(27)), bench.local.sockaddr)
        bench.turn(2)
        reply = ReflectorPacket.parse(known.recv(1 << 16))
        assert before <= reply.receive_timestamp <= reply.timestamp
        assert not ErrorEstimate.from_int(reply.error_estimate).ptp_format
        other = ReflectorPacket.parse(stranger.recv(1 << 16))
        assert ErrorEstimate.from_int(other.error_estimate).ptp_format


@pytest.mark.parametrize("protection", Protection)
def test_in_the_secured_modes_the_format_stays_ntp(protection: Protection) -> None:
    with (bench := Bench("127.0.0.1", timestamp_format="ptp")).stack:
        client = bench.client()
        config = SessionConfig(
            local=bench.local, peer=endpoint(client), mode=MODES[protection], keys=KEYS
        )
        bench.reflector.start(bench.reflector.add(config, bench.port))
        cipher = PacketCipher(protection, KEYS)
        asked = SecuredSenderPacket(4711, 0xEAEBFDCEFFFFFFFF, 0x9421)
        before = ntp_from_unix_ns(time.time_ns())
        reply = bench.exchange(client, cipher.seal_sender_packet(bytes(asked)))
        opened = SecuredReflectorPacket.parse(cipher.open_reflector_packet(reply))
        assert before <= opened.receive_timestamp <= opened.timestamp
        assert not ErrorEstimate.from_int(opened.error_estimate).ptp_format
        assert opened.sender_timestamp == asked.timestamp
        assert opened.sender_error_estimate == asked.error_estimate


@pytest.mark.parametrize("timestamp_format", ["ntp", "ptp"])
def test_our_own_sender_reads_either_format(timestamp_format: str) -> None:
    async def measure() -> SessionSender:
        async with SessionReflector(timestamp_format=timestamp_format) as reflector:
            with bound("127.0.0.1") as port, bound("127.0.0.1") as client:
                local = endpoint(port)
                reflector.add_light(local, port)
                config = SenderConfig(
                    peer=local,
                    schedule=array("Q", range(0, 20 * MS, MS)),
                    start_ns=time.monotonic_ns(),
                    loss_timeout_ns=500 * MS,
                    padding_length=27,
                )
                sender = SessionSender(client, config)
                await sender.run()
                return sender

    sender = asyncio.run(measure())
    for sample in sender.samples:
        assert sample.rank
        is_ptp = ErrorEstimate.from_int(sample.reflector_error_estimate).ptp_format
        assert is_ptp == (timestamp_format == "ptp")
        assert sample.t1 <= sample.t2 <= sample.t3 <= sample.t4


# ---- names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"timestamp": "atomic"},
            r"timestamp is 'atomic': choose one of auto, kernel, user, hardware",
        ),
        ({"timestamp": ""}, r"timestamp is ''"),
        ({"timestamp_format": "PTP"}, r"timestamp_format is 'PTP': choose one of ntp, ptp"),
    ],
)
def test_unknown_names_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SessionReflector(**options)
