"""The C units that need no thread: the clock, the Error Estimate, the control messages, the index."""

import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twamp._native import ffi, lib
from twamp.protocol.timestamps import (
    ErrorEstimate,
    ntp_from_unix_ns,
    ptp_from_unix_ns,
    unix_ns_from_ntp,
    unix_ns_from_ptp,
)

ROOT = Path(__file__).resolve().parents[2]
VECTORS = json.loads((ROOT / "tests/vectors/vectors.json").read_text())
COMPILER = shutil.which("cc")
U64 = st.integers(0, (1 << 64) - 1)
NS = 1_000_000_000

# ---- clock


@pytest.mark.parametrize("vector", VECTORS["scalars"]["ntp"], ids=lambda vector: vector["wire"])
def test_clock_agrees_with_the_vectors(vector: dict[str, Any]) -> None:
    ntp = lib.tw_clock_ntp(vector["unix"] * NS + vector["nsec"])
    assert f"{ntp:016x}" == vector["wire"]


@given(U64)
@example(2085978496 * NS)  # the first second of era 1
@example(2085978496 * NS - 1)
def test_clock_agrees_with_python_and_the_way_back_is_exact(unix_ns: int) -> None:
    ntp = lib.tw_clock_ntp(unix_ns)
    assert ntp == ntp_from_unix_ns(unix_ns)
    assert unix_ns_from_ntp(ntp, near_unix_ns=unix_ns) == unix_ns


@pytest.mark.parametrize("vector", VECTORS["scalars"]["ptp"], ids=lambda vector: vector["wire"])
def test_ptp_time_agrees_with_the_vectors(vector: dict[str, Any]) -> None:
    ptp = lib.tw_clock_ptp(vector["unix"] * NS + vector["nsec"])
    assert f"{ptp:016x}" == vector["wire"]


@given(U64)
@example((1 << 32) * NS)  # the seconds begin anew
@example((1 << 32) * NS - 1)
def test_ptp_time_agrees_with_python_and_the_way_back_is_exact(unix_ns: int) -> None:
    ptp = lib.tw_clock_ptp(unix_ns)
    assert ptp == ptp_from_unix_ns(unix_ns)
    assert unix_ns_from_ptp(ptp, near_unix_ns=unix_ns) == unix_ns


def edges_of_the_error_estimate() -> list[int]:
    """Every error at which scale or multiplier changes, and its neighbours."""
    exact = [
        (multiplier << scale) * NS >> 32 for scale in range(64) for multiplier in (1, 128, 255)
    ]
    near = {ns + offset for ns in exact for offset in (-1, 0, 1, 2)}
    return sorted(ns for ns in near if 0 <= ns < 1 << 64)


def test_error_estimate_is_the_smallest_that_covers_as_in_python() -> None:
    scales = Counter[int]()
    for error_ns in edges_of_the_error_estimate():
        for synchronized in (False, True):
            expected = ErrorEstimate.covering(error_ns, synchronized=synchronized)
            assert lib.tw_clock_encode_error(error_ns, synchronized) == int(expected), error_ns
            scales[expected.scale] += 1
    assert len(scales) > 55  # it was not the same scale all the time


@given(U64, st.booleans())
def test_error_estimate_agrees_with_python(error_ns: int, synchronized: bool) -> None:
    estimate = ErrorEstimate.from_int(lib.tw_clock_encode_error(error_ns, synchronized))
    assert estimate == ErrorEstimate.covering(error_ns, synchronized=synchronized)
    assert estimate.multiplier > 0
    assert (estimate.multiplier << estimate.scale) * NS >= error_ns << 32


@pytest.mark.parametrize("least_ns", [0, 1, 1_000_000, 60 * NS])
def test_error_estimate_of_the_system_clock(least_ns: int) -> None:
    estimate = ErrorEstimate.from_int(lib.tw_clock_error_estimate(least_ns))
    assert estimate.multiplier > 0
    assert not estimate.ptp_format
    assert estimate.error_ns >= least_ns
    if not estimate.synchronized:
        assert estimate.error_ns >= 16 * NS


# ---- control messages: octets laid out as the kernel does

SOL_SOCKET = socket.SOL_SOCKET
IP = socket.IPPROTO_IP
IPV6 = socket.IPPROTO_IPV6
TIMESTAMPING_OLD, TIMESTAMPING_NEW, RXQ_OVFL = 37, 65, 40
IP_TTL, IP_TOS, IP_RECVERR, IP_PKTINFO = 2, 1, 11, 8
IPV6_HOPLIMIT, IPV6_TCLASS, IPV6_RECVERR, IPV6_PKTINFO = 52, 67, 25, 50
WORD = struct.calcsize("@N")
HEADER = struct.calcsize("@Nii")


def control(level: int, kind: int, octets: bytes, length: int | None = None) -> bytes:
    """One control message; ``length`` to lie about it."""
    true_length = HEADER + len(octets)
    header = struct.pack("@Nii", true_length if length is None else length, level, kind)
    return (header + octets).ljust(-(-true_length // WORD) * WORD, b"\0")


def stamps_old(seconds: int, nanoseconds: int) -> bytes:
    return struct.pack("@6l", seconds, nanoseconds, 0, 0, 0, 0)


def stamps_new(seconds: int, nanoseconds: int) -> bytes:
    return struct.pack("=6q", seconds, nanoseconds, 0, 0, 0, 0)


def integer(value: int) -> bytes:
    return struct.pack("@i", value)


def parse(octets: bytes, offset: int = 0) -> tuple[int, int, int, int]:
    """(kernel_ns, ttl, tos, overflows) of octets that stand at ``offset`` in a buffer of that size."""
    buffer = ffi.new("uint8_t[]", offset + len(octets))
    ffi.buffer(buffer)[offset:] = octets
    rx = ffi.new("struct tw_rx *")
    lib.tw_cmsg_parse(buffer + offset, len(octets), rx)
    return rx.stamps.kernel_ns, rx.ttl, rx.tos, rx.overflows


NOTHING = (0, 255, 0, 0)


@pytest.mark.parametrize("offset", range(9))
def test_control_messages_are_read_at_any_alignment(offset: int) -> None:
    octets = (
        control(SOL_SOCKET, TIMESTAMPING_NEW, stamps_new(1_700_000_000, 123_456_789))
        + control(IP, IP_TTL, integer(63))
        + control(IP, IP_TOS, b"\xb8")
    )
    assert parse(octets, offset) == (1_700_000_000_123_456_789, 63, 0xB8, 0)


def test_control_messages_of_ipv6_and_the_old_stamps() -> None:
    octets = (
        control(IPV6, IPV6_TCLASS, integer(0x2E << 2))
        + control(IPV6, IPV6_HOPLIMIT, integer(1))
        + control(SOL_SOCKET, TIMESTAMPING_OLD, stamps_old(5, 6))
    )
    assert parse(octets) == (5 * NS + 6, 1, 0xB8, 0)


def test_no_control_message_means_ttl_255_and_no_stamp() -> None:
    assert parse(b"") == NOTHING


WELL_FORMED = {
    "stamp, old": (SOL_SOCKET, TIMESTAMPING_OLD, stamps_old(7, 8)),
    "stamp, new": (SOL_SOCKET, TIMESTAMPING_NEW, stamps_new(7, 8)),
    "TTL": (IP, IP_TTL, integer(7)),
    "TOS": (IP, IP_TOS, b"\x07"),
    "hop limit": (IPV6, IPV6_HOPLIMIT, integer(7)),
    "traffic class": (IPV6, IPV6_TCLASS, integer(7)),
    "overflows": (SOL_SOCKET, RXQ_OVFL, integer(7)),
}


@pytest.mark.parametrize("name", WELL_FORMED)
def test_a_control_message_of_another_level_type_or_length_is_passed_over(name: str) -> None:
    level, kind, octets = WELL_FORMED[name]
    behind = control(IP, IP_TTL, integer(9))
    assert parse(control(level, kind, octets)) != NOTHING
    for wrong in (
        control(level + 100, kind, octets),
        control(level, kind + 100, octets),
        control(level, kind, octets[:-1]),
        control(level, kind, octets + b"\0"),
        control(level, kind, b""),
    ):
        assert parse(wrong) == NOTHING
        assert parse(wrong + behind) == (0, 9, 0, 0)  # and the next one is still found


@pytest.mark.parametrize(
    "stamp", [(-1, 0), (0, -1), (0, NS), (1 << 62, 0), (9_223_372_036, 999_999_999)]
)
@pytest.mark.parametrize(
    ("kind", "layout"), [(TIMESTAMPING_OLD, stamps_old), (TIMESTAMPING_NEW, stamps_new)]
)
def test_a_stamp_that_is_no_time_is_none(kind: int, layout: Any, stamp: tuple[int, int]) -> None:
    assert parse(control(SOL_SOCKET, kind, layout(*stamp))) == NOTHING


@pytest.mark.parametrize("length", [0, 1, HEADER - 1, HEADER + 5, 1 << 31, (1 << 64) - 1])
def test_a_length_beyond_the_buffer_or_below_the_header_ends_the_reading(length: int) -> None:
    first = control(IP, IP_TTL, integer(9))
    assert parse(first + control(IP, IP_TOS, b"\x07", length=length)[: HEADER + 4]) == (0, 9, 0, 0)


def test_a_control_buffer_cut_anywhere_is_read_as_far_as_it_goes() -> None:
    """The copy has the exact size, so AddressSanitizer sees a read beyond it."""
    octets = control(IP, IP_TTL, integer(9)) + control(IP, IP_TOS, b"\x07")
    results = [parse(octets[:size]) for size in range(len(octets) + 1)]
    assert Counter(results) == {
        NOTHING: HEADER + 4,
        (0, 9, 0, 0): len(octets) - (HEADER + 4) - (WORD - 1),
        (0, 9, 7, 0): WORD,
    }


def model(octets: bytes) -> tuple[int, int, int, int]:
    """The same, to be read."""
    kernel_ns, ttl, tos, overflows = NOTHING
    while len(octets) >= HEADER:
        length, level, kind = struct.unpack_from("@Nii", octets)
        if length < HEADER or length > len(octets):
            break
        body = octets[HEADER:length]
        match level, kind, len(body):
            case (1, 65, 48):
                seconds, ns = struct.unpack_from("=2q", body)
                sane = 0 <= seconds < 9_223_372_036 and 0 <= ns < NS
                kernel_ns = seconds * NS + ns if sane else 0
            case (0, 2, 4) | (41, 52, 4):
                ttl = struct.unpack("@i", body)[0] & 0xFF
            case (0, 1, 1):
                tos = body[0]
            case (41, 67, 4):
                tos = struct.unpack("@i", body)[0] & 0xFF
            case (1, 40, 4):
                overflows = struct.unpack("@I", body)[0]
        octets = octets[-(-length // WORD) * WORD :]
    return kernel_ns, ttl, tos, overflows


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    """Control messages as the kernel writes them, some of them wrong in one respect."""
    kinds = [row for row in WELL_FORMED.values() if row[1] != TIMESTAMPING_OLD]
    buffer = b""
    for level, kind, octets in draw(st.lists(st.sampled_from(kinds), max_size=6)):
        body = draw(
            st.sampled_from([octets, octets, octets[:-1], octets + b"\0", bytes(len(octets))])
        )
        lie = draw(
            st.sampled_from([None] * 5 + [HEADER - 1, HEADER + 1, HEADER + len(body) + 1, 1 << 20])
        )
        buffer += control(level, kind, body, lie)
    return buffer[: draw(st.one_of(st.just(len(buffer)), st.integers(0, len(buffer))))]


def test_control_messages_are_read_as_the_model_reads_them() -> None:
    names = ("stamp", "ttl", "tos", "overflows")
    hits = Counter[str]()

    @settings(max_examples=500, derandomize=True, database=None)
    @given(nearly_right())
    def agree(octets: bytes) -> None:
        expected = model(octets)
        assert parse(octets) == expected
        for name, value, absent in zip(names, expected, NOTHING, strict=True):
            hits[name] += value != absent

    agree()
    assert all(hits[name] > 20 for name in names), hits


ASKED_IPV4 = struct.pack("@i4s4s", 7, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 255]))
ASKED_IPV6 = struct.pack("@16sI", bytes(range(16)), 7)


def parse_asked(octets: bytes) -> tuple[int, bytes, int]:
    """(IP version, address, interface) that a packet was sent to."""
    buffer = ffi.new("uint8_t[]", octets)
    rx = ffi.new("struct tw_rx *")
    lib.tw_cmsg_parse(buffer, len(octets), rx)
    return rx.asked_ip_version, bytes(rx.asked), rx.interface


@pytest.mark.parametrize("behind", [b"", control(IP, IP_TTL, integer(9))])
def test_the_address_that_was_asked_is_that_of_the_packets_header(behind: bytes) -> None:
    """Not the one that the kernel would answer a broadcast from."""
    narrow = control(IP, IP_PKTINFO, ASKED_IPV4)
    wide = control(IPV6, IPV6_PKTINFO, ASKED_IPV6)
    assert parse_asked(narrow + behind) == (4, bytes([192, 0, 2, 255]).ljust(16, b"\0"), 7)
    assert parse_asked(wide + behind) == (6, bytes(range(16)), 7)
    assert parse(narrow + behind) == parse(wide + behind) == parse(behind)


@pytest.mark.parametrize(
    ("level", "kind", "octets"), [(IP, IP_PKTINFO, ASKED_IPV4), (IPV6, IPV6_PKTINFO, ASKED_IPV6)]
)
def test_anything_else_is_no_address_that_was_asked(level: int, kind: int, octets: bytes) -> None:
    for wrong in (
        b"",
        control(level ^ IPV6, kind, octets),
        control(level, kind + 1, octets),
        control(level, kind, octets[:-1]),
        control(level, kind, octets + b"\0"),
        control(level, kind, octets)[:-8],
    ):
        assert parse_asked(wrong) == (0, bytes(16), 0)


# ---- transmit stamps from the error queue


def extended_error(origin: int = 4, errno: int = 42, info: int = 0, number: int = 5) -> bytes:
    """struct sock_extended_err; by default ENOMSG from SO_EE_ORIGIN_TIMESTAMPING, SCM_TSTAMP_SND."""
    return struct.pack("@IBBBBII", errno, origin, 0, 0, 0, info, number)


def parse_departure(octets: bytes) -> tuple[int, int] | None:
    buffer = ffi.new("uint8_t[]", octets)
    departure = ffi.new("struct tw_departure *")
    known = lib.tw_cmsg_parse_departure(buffer, len(octets), departure)
    return (departure.id, departure.stamps.kernel_ns) if known else None


STAMP = control(SOL_SOCKET, TIMESTAMPING_NEW, stamps_new(7, 8))
AFTER_IPV4 = bytes(16)
AFTER_IPV6 = bytes(28)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        control(IP, IP_RECVERR, extended_error() + AFTER_IPV4),
        control(IPV6, IPV6_RECVERR, extended_error() + AFTER_IPV6),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_transmit_stamp_is_its_number_and_its_time(error: bytes, reverse: bool) -> None:
    assert parse_departure(error + STAMP if reverse else STAMP + error) == (5, 7 * NS + 8)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        STAMP,
        control(IP, IP_RECVERR, extended_error() + AFTER_IPV4),
        STAMP + control(IP, IP_RECVERR, extended_error()),
        STAMP + control(IP, IP_RECVERR, extended_error() + AFTER_IPV6),
        STAMP + control(IPV6, IPV6_RECVERR, extended_error() + AFTER_IPV4),
        STAMP + control(IP, IP_RECVERR, extended_error(origin=2) + AFTER_IPV4),  # ICMP
        STAMP + control(IP, IP_RECVERR, extended_error(errno=111) + AFTER_IPV4),
        STAMP + control(IP, IP_RECVERR, extended_error(info=2) + AFTER_IPV4),  # SCM_TSTAMP_ACK
        control(SOL_SOCKET, TIMESTAMPING_NEW, stamps_new(0, 0))
        + control(IP, IP_RECVERR, extended_error() + AFTER_IPV4),
    ],
)
def test_anything_else_is_no_transmit_stamp(octets: bytes) -> None:
    assert parse_departure(octets) is None


@pytest.mark.parametrize(("info", "queued"), [(0, 0), (1, 1)], ids=["SND", "SCHED"])
def test_a_packet_that_is_ready_for_the_device_has_not_left(info: int, queued: int) -> None:
    octets = STAMP + control(IP, IP_RECVERR, extended_error(info=info) + AFTER_IPV4)
    departure = ffi.new("struct tw_departure *")
    assert lib.tw_cmsg_parse_departure(ffi.new("uint8_t[]", octets), len(octets), departure)
    assert departure.queued == queued


# ---- units in C, with what a live kernel does not give


@pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc) on this machine")
@pytest.mark.parametrize(
    ("program", "units"),
    [
        ("clock_test", ["kernel/clock.c"]),
        ("stamp_test", ["kernel/stamp.c", "kernel/device_clock.c"]),
        ("index_test", ["reflector/index.c"]),
        (
            "pool_test",
            ["reflector/pool.c", "reflector/index.c", "reflector/rate_limit.c", "packet/reflect.c"],
        ),
        (
            "rate_limit_test",
            ["reflector/rate_limit.c", "reflector/index.c"],
        ),
        ("client_list_test", ["reflector/client_list.c"]),
        ("t3_correction_test", ["reflector/t3_correction.c"]),
        (
            "t3_error_test",
            [
                "reflector/t3_error.c",
                "reflector/t3_correction.c",
                "reflector/histogram.c",
                "kernel/address.c",
                "kernel/clock.c",
                "kernel/mmsg.c",
                "kernel/rehearsal.c",
                "kernel/device_clock.c",
                "kernel/stamp.c",
                "kernel/cmsg.c",
                "kernel/options.c",
            ],
        ),
    ],
)
def test_unit_in_c(program: str, units: list[str], tmp_path: Path) -> None:
    sources = [ROOT / "tests/csrc" / f"{program}.c", *(ROOT / "csrc" / unit for unit in units)]
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
    options += os.environ.get("TWAMP_TEST_CFLAGS", "").split()  # .ci/sanitize
    subprocess.run(
        [str(COMPILER), *options, "-o", str(tmp_path / program), *map(str, sources)], check=True
    )
    result = subprocess.run([tmp_path / program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_clock_that_stamps_is_the_systems() -> None:
    """Kernel stamps and time.time_ns() must be one clock, or no stamp would be believed."""
    before = time.time_ns()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(SOL_SOCKET, TIMESTAMPING_NEW, 1 << 3 | 1 << 4)
        while True:  # the kernel turns stamping on a moment after it was asked to
            sock.sendto(b"", sock.getsockname())
            _, messages, _, _ = sock.recvmsg(1, 256)
            octets = b"".join(control(*message) for message in messages)
            if octets:
                break
    stamp, *_ = parse(octets)
    assert before <= stamp <= time.time_ns()
