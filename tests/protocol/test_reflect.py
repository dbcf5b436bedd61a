"""The reflection: Python against recorded packets, C against Python."""

import ctypes
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.vectors import CAPTURED, VECTORS
from twamp._native import ffi, lib
from twamp.protocol.packets import ReflectorPacket, SenderPacket
from twamp.protocol.reflect import Arrival, Drop, reflect, stamp

CSRC = Path(__file__).resolve().parents[2] / "csrc"
COMPILER = shutil.which("cc")

PLAIN = [vector for vector in VECTORS["test_packets"] if vector["mode"] == "unauthenticated"]
# Of the features, those that leave the unauthenticated layouts as they are.
AS_PLAIN = [
    vector
    for vector in VECTORS["test_packet_features"]
    if vector["name"]
    in (
        "unauth, padding 40, truncation",
        "unauth, reflect-octets 10 of 40, truncation",
        "unauth, sender NTP, reflector PTPv2 (Z=1)",
        "TWAMP Light, stateless (sequence number copied)",
    )
]
Reflecting = Callable[[bytes, Arrival], bytes | Drop]
Stamping = Callable[[bytes, int], bytes]
GUARD = 64  # octets behind the longest reply allowed


def reflecting_by(tw_reflect: Any) -> Reflecting:
    """Python's view of a C reflection; every octet that it has no business with is watched."""

    def reflecting(request: bytes, arrival: Arrival) -> bytes | Drop:
        room = max(len(request), ReflectorPacket.LAYOUT.size)
        # Exactly as long as the request, so that AddressSanitizer sees a read beyond its end.
        octets = ffi.new("uint8_t[]", len(request))
        ffi.memmove(octets, request, len(request))
        reply = ffi.new("uint8_t[]", b"\xa5" * (room + GUARD))
        length = tw_reflect(
            octets, len(request), ffi.new("struct tw_arrival *", arrival._asdict()), reply
        )
        written = max(length, 0)
        assert written <= room
        assert bytes(reply)[written : room + GUARD] == b"\xa5" * (room + GUARD - written)
        if length < 0:
            drops = [drop for drop in Drop if getattr(lib, f"TW_DROP_{drop.name}") == -length]
            assert drops, f"C drops it for reason {-length}, Python has no such reason"
            return drops[0]
        return bytes(ffi.buffer(reply, length))

    return reflecting


reflect_in_c = reflecting_by(lib.tw_reflect)


def stamp_in_c(reply: bytes, timestamp: int) -> bytes:
    octets = ffi.new("uint8_t[]", len(reply))
    ffi.memmove(octets, reply, len(reply))
    lib.tw_reflect_stamp(octets, timestamp)
    return bytes(octets)


BOTH = pytest.mark.parametrize(
    ("reflecting", "stamping"),
    [pytest.param(reflect, stamp, id="python"), pytest.param(reflect_in_c, stamp_in_c, id="c")],
)


@BOTH
@pytest.mark.parametrize("vector", PLAIN + AS_PLAIN, ids=lambda v: v.get("name", v.get("ttl")))
def test_generated_packets_are_reflected_to_the_octet(
    vector: dict[str, Any], reflecting: Reflecting, stamping: Stamping
) -> None:
    expected = bytes.fromhex(vector["reflector_packet"])
    answer = ReflectorPacket.parse(expected)
    arrival = Arrival(
        answer.receive_timestamp, answer.sequence_number, answer.error_estimate, answer.sender_ttl
    )
    reply = reflecting(bytes.fromhex(vector["sender_packet"]), arrival)
    assert isinstance(reply, bytes)
    assert stamping(reply, answer.timestamp) == expected


@BOTH
def test_captured_packets_are_reflected_as_the_reference_does(
    reflecting: Reflecting, stamping: Stamping
) -> None:
    reflected = 0
    for conversation in CAPTURED["conversations"]:
        if conversation["mode"] not in (1, 8):
            continue
        packets = [(r["dir"], bytes.fromhex(r["packet"])) for r in conversation["test"]]
        requests = {
            SenderPacket.parse(octets).sequence_number: octets
            for direction, octets in packets
            if direction == "sender"
        }
        for direction, expected in packets:
            if direction == "sender":
                continue
            answer = ReflectorPacket.parse(expected)
            arrival = Arrival(
                answer.receive_timestamp,
                answer.sequence_number,
                answer.error_estimate,
                answer.sender_ttl,
            )
            reply = reflecting(requests[answer.sender_sequence_number], arrival)
            assert isinstance(reply, bytes)
            assert stamping(reply, answer.timestamp) == expected
            reflected += 1
    assert reflected >= 8


@BOTH
@pytest.mark.parametrize(
    ("length", "expected"), [(14, 41), (40, 41), (41, 41), (42, 42), (1472, 1472)]
)
def test_a_reply_is_as_long_as_the_request_and_never_shorter_than_its_header(
    length: int, expected: int, reflecting: Reflecting, stamping: Stamping
) -> None:
    request = bytes(SenderPacket(1, 2, 3, padding=bytes(range(256)) * 6))[:length]
    reply = reflecting(request, Arrival(0, 0, 1, 64))
    assert isinstance(reply, bytes)
    assert len(reply) == expected
    assert reply[41:] == request[14 : 14 + max(0, length - 41)]  # the first octets stay


# ---- C equals Python, and the comparison can fail --------------------------------------------------

# Around the thresholds: random octets alone would hardly ever reach the reflecting branch.
LENGTHS = st.sampled_from([0, 1, 13, 14, 15, 40, 41, 42, 67, 68, 69, 100]) | st.integers(0, 200)


@st.composite
def requests(draw: Callable[..., Any]) -> bytes:
    octets = bytearray(draw(st.binary(min_size=200, max_size=200)))
    octets[13] = draw(st.sampled_from([0, 1, 255]) | st.integers(0, 255))
    return bytes(octets[: draw(LENGTHS)])


ARRIVALS = st.builds(
    Arrival,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 255),
)
LONGEST = bytes(SenderPacket(1, 2, 3)) + random.Random(1).randbytes(lib.TW_PACKET_MAX - 14)


def compare(reflecting: Reflecting) -> Counter[object]:
    """Holds ``reflecting`` to Python's on a thousand packets; returns how often each outcome came."""
    hits: Counter[object] = Counter()

    # Phase.generate alone: a mutant is to be found, not to be shown at its smallest.
    @settings(
        max_examples=1000,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(requests(), ARRIVALS)
    def agree(request: bytes, arrival: Arrival) -> None:
        expected = reflect(request, arrival)
        hits[expected if isinstance(expected, Drop) else len(expected) > 41] += 1
        assert reflecting(request, arrival) == expected

    agree()
    arrival = Arrival(1, 2, 3, 4)
    assert reflecting(LONGEST, arrival) == reflect(LONGEST, arrival)
    return hits


def test_c_equals_python_on_random_packets() -> None:
    hits = compare(reflect_in_c)
    for outcome in (Drop.SHORT, Drop.ERROR_ESTIMATE, True, False):
        assert hits[outcome] >= 30, hits


def test_the_packet_that_the_kernel_had_to_cut_is_dropped_in_c() -> None:
    octets = ffi.new("uint8_t[]", lib.TW_PACKET_MAX + 1)
    reply = ffi.new("uint8_t[]", lib.TW_PACKET_MAX)
    ffi.memmove(octets, LONGEST, len(LONGEST))
    arrival = ffi.new("struct tw_arrival *")
    assert lib.tw_reflect(octets, len(octets), arrival, reply) == -lib.TW_DROP_LONG
    assert lib.tw_reflect(octets, len(octets) - 1, arrival, reply) == lib.TW_PACKET_MAX


# What a slip of the pen would make of csrc/packet/reflect.c; none that would crash instead of being wrong.
MUTANTS = [
    ("length < request_head", "length <= request_head"),
    ("length < request_head", "length < reply_head"),
    ("length > TW_PACKET_MAX", "length >= TW_PACKET_MAX"),
    ("#define MULTIPLIER 1", "#define MULTIPLIER 0"),
    ("octets[MULTIPLIER] == 0", "octets[MULTIPLIER] == 1"),
    ("tw_put32(arrival->sequence_number)", "in.sequence_number"),
    ("tw_put16(arrival->error_estimate)", "in.error_estimate"),
    ("tw_put64(arrival->receive_timestamp)", "in.timestamp"),
    ("out.sender_sequence_number = in.sequence_number;", ""),
    ("out.sender_timestamp = in.timestamp;", "out.timestamp = in.timestamp;"),
    ("out.sender_error_estimate = in.error_estimate;", ""),
    ("= arrival->sender_ttl", "= 255"),
    ("out = {0}", "out = {.mbz_2 = {0, 1}}"),
    ("request + request_head, length - reply_head", "request + reply_head, length - reply_head"),
    (
        "request + request_head, length - reply_head",
        "request + request_head, length - request_head",
    ),
    ("return (int)length;", "return (int)(length + reply_head - request_head);"),
]


@pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc) on this machine")
@pytest.mark.parametrize(("text", "slip"), MUTANTS, ids=[slip for _, slip in MUTANTS])
def test_the_comparison_catches_a_planted_mutant(text: str, slip: str, tmp_path: Path) -> None:
    # The second half is the secured layouts', which tests/protocol/test_secured_packets.py mutates alike.
    source, mark, secured = (
        (CSRC / "packet/reflect.c").read_text().partition("\nint tw_reflect_secured")
    )
    assert source.count(text) == 1, "the mutant has lost its place in reflect.c"
    (tmp_path / "reflect.c").write_text(source.replace(text, slip) + mark + secured)
    library = tmp_path / "mutant.so"
    options = ["-std=gnu11", "-shared", "-fPIC", f"-I{CSRC}", "-o", str(library)]
    subprocess.run([str(COMPILER), *options, tmp_path / "reflect.c"], check=True)
    address = ctypes.cast(ctypes.CDLL(str(library)).tw_reflect, ctypes.c_void_p).value
    mutant = ffi.cast(
        "int (*)(const uint8_t *, size_t, const struct tw_arrival *, uint8_t *)", address
    )
    with pytest.raises(AssertionError):
        compare(reflecting_by(mutant))


@given(st.binary(min_size=41, max_size=100), st.integers(0, 2**64 - 1))
def test_c_and_python_stamp_alike(reply: bytes, timestamp: int) -> None:
    assert stamp_in_c(reply, timestamp) == stamp(reply, timestamp)
