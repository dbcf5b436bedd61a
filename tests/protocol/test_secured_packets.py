"""Authenticated and encrypted test packets in C: against the recorded octets, and against Python."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import CAPTURED, VECTORS
from twamp._native import ffi, lib
from twamp.errors import IntegrityError
from twamp.protocol.crypto import PacketCipher, PacketKeys, Protection
from twamp.protocol.reflect import Arrival, Drop, reflect_secured, stamp_secured

CSRC = Path(__file__).parent.parent.parent / "csrc"
COMPILER = shutil.which("cc")
MODES = {Protection.AUTHENTICATED: 2, Protection.ENCRYPTED: 4}
KEYS = PacketKeys(bytes(range(16)), bytes(range(32)))


def crypt_in_c(
    protection: Protection, keys: PacketKeys, packet: bytes, *, is_reply: bool, seal: bool
) -> bytes:
    octets = ffi.new("uint8_t[]", packet)
    native = ffi.new("struct tw_test_keys *", {"aes": keys.aes, "hmac": keys.hmac})
    result = lib.tw_crypto_packet(MODES[protection], native, is_reply, seal, octets)
    if result < 0:
        raise IntegrityError("refused in C")
    return bytes(ffi.buffer(octets, len(packet)))


def recorded() -> list[Any]:
    """(mode, keys, is it a reply, the octets on the wire)."""
    found = []
    for vector in VECTORS["test_packets"]:
        if vector["mode"] != "unauthenticated":
            found += [
                (vector["mode"], vector, part, vector[part]["packet"])
                for part in ("sender", "reflector")
            ]
    for conversation in CAPTURED["conversations"]:
        if conversation["mode"] & 6:
            mode = "authenticated" if conversation["mode"] & 2 else "encrypted"
            found += [
                (mode, conversation, record["dir"], record["packet"])
                for record in conversation["test"]
            ]
    return [
        pytest.param(
            Protection[mode.upper()],
            PacketKeys(bytes.fromhex(keys["test_aes"]), bytes.fromhex(keys["test_hmac"])),
            part == "reflector",
            bytes.fromhex(packet),
        )
        for mode, keys, part, packet in found
    ]


@pytest.mark.parametrize(("protection", "keys", "is_reply", "packet"), recorded())
def test_recorded_packets_open_and_seal_to_the_same_octets_in_c(
    protection: Protection, keys: PacketKeys, is_reply: bool, packet: bytes
) -> None:
    cipher = PacketCipher(protection, keys)
    opened = cipher.open_reflector_packet if is_reply else cipher.open_sender_packet
    clear = crypt_in_c(protection, keys, packet, is_reply=is_reply, seal=False)
    assert clear == opened(packet)
    assert crypt_in_c(protection, keys, clear, is_reply=is_reply, seal=True) == packet


def test_the_recordings_have_both_modes_and_both_directions() -> None:
    kinds = {(case.values[0], case.values[2]) for case in recorded()}
    assert len(kinds) == 4


@given(
    st.sampled_from(Protection),
    st.builds(PacketKeys, st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32)),
    st.binary(min_size=112, max_size=150),
    st.booleans(),
)
def test_c_and_python_seal_alike(
    protection: Protection, keys: PacketKeys, packet: bytes, is_reply: bool
) -> None:
    cipher = PacketCipher(protection, keys)
    seal = cipher.seal_reflector_packet if is_reply else cipher.seal_sender_packet
    sealed = seal(packet)
    assert crypt_in_c(protection, keys, packet, is_reply=is_reply, seal=True) == sealed
    clear = crypt_in_c(protection, keys, sealed, is_reply=is_reply, seal=False)
    assert seal(clear) == sealed


@pytest.mark.parametrize("protection", Protection)
@pytest.mark.parametrize("is_reply", [False, True])
def test_every_protected_bit_is_protected_in_c_and_no_other(
    protection: Protection, is_reply: bool
) -> None:
    packet = crypt_in_c(protection, KEYS, bytes(range(150)), is_reply=is_reply, seal=True)
    protected = protection.value[1 if is_reply else 0]
    hmac_at = 96 if is_reply else 32
    for bit in range(8 * len(packet)):
        spoilt = bytearray(packet)
        spoilt[bit // 8] ^= 1 << bit % 8
        if bit // 8 < protected or hmac_at <= bit // 8 < hmac_at + 16:
            with pytest.raises(IntegrityError):
                crypt_in_c(protection, KEYS, bytes(spoilt), is_reply=is_reply, seal=False)
        else:
            crypt_in_c(protection, KEYS, bytes(spoilt), is_reply=is_reply, seal=False)


# ---- the reflection in the secured layouts -----------------------------------------------------------

Reflecting = Callable[[bytes, Arrival], bytes | Drop]
LENGTHS = st.sampled_from([0, 47, 48, 49, 111, 112, 113, 200]) | st.integers(0, 250)
ARRIVALS = st.builds(
    Arrival,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 255),
)


def reflecting_by(function: Any) -> Reflecting:
    def reflecting(request: bytes, arrival: Arrival) -> bytes | Drop:
        reply = ffi.new("uint8_t[]", lib.TW_PACKET_MAX)
        facts = ffi.new("struct tw_arrival *", arrival._asdict())
        length = function(ffi.from_buffer(request), len(request), facts, reply)
        drops = {
            -lib.TW_DROP_SHORT: Drop.SHORT,
            -lib.TW_DROP_ERROR_ESTIMATE: Drop.ERROR_ESTIMATE,
        }
        return drops[length] if length < 0 else bytes(ffi.buffer(reply, length))

    return reflecting


@st.composite
def requests(draw: Callable[..., Any]) -> bytes:
    octets = bytearray(draw(st.binary(min_size=250, max_size=250)))
    octets[25] = draw(st.sampled_from([0, 1, 255]) | st.integers(0, 255))
    return bytes(octets[: draw(LENGTHS)])


def compare(other: Reflecting) -> dict[object, int]:
    hits: dict[object, int] = {}

    @settings(max_examples=600, deadline=None, database=None, derandomize=True)
    @given(requests(), ARRIVALS)
    def agree(request: bytes, arrival: Arrival) -> None:
        expected = reflect_secured(request, arrival)
        outcome = expected if isinstance(expected, Drop) else len(expected) > 112
        hits[outcome] = hits.get(outcome, 0) + 1
        assert other(request, arrival) == expected

    agree()
    return hits


def test_c_reflects_as_python_does() -> None:
    hits = compare(reflecting_by(lib.tw_reflect_secured))
    for outcome in (Drop.SHORT, Drop.ERROR_ESTIMATE, True, False):
        assert hits[outcome] >= 20, hits


MUTANTS = [
    ("length < request_head", "length <= request_head"),
    ("octets[MULTIPLIER] == 0", "octets[MULTIPLIER] == 1"),
    ("tw_put32(arrival->sequence_number)", "in.sequence_number"),
    ("tw_put64(arrival->receive_timestamp)", "in.timestamp"),
    ("out.sender_sequence_number = in.sequence_number;", ""),
    ("= arrival->sender_ttl", "= 255"),
    ("request + request_head, length - reply_head", "request + reply_head, length - reply_head"),
]


@pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc) on this machine")
@pytest.mark.parametrize(("text", "slip"), MUTANTS, ids=[slip for _, slip in MUTANTS])
def test_the_comparison_catches_a_planted_mutant(text: str, slip: str, tmp_path: Path) -> None:
    plain, mark, source = (
        (CSRC / "packet/reflect.c").read_text().partition("\nint tw_reflect_secured")
    )
    assert source.count(text) == 1, "the mutant has lost its place in reflect.c"
    (tmp_path / "reflect.c").write_text(plain + mark + source.replace(text, slip))
    library = tmp_path / "mutant.so"
    options = ["-std=gnu11", "-shared", "-fPIC", f"-I{CSRC}", "-o", str(library)]
    subprocess.run([str(COMPILER), *options, tmp_path / "reflect.c"], check=True)
    found = ctypes.cast(ctypes.CDLL(str(library)).tw_reflect_secured, ctypes.c_void_p).value
    signature = "int (*)(const uint8_t *, size_t, const struct tw_arrival *, uint8_t *)"
    with pytest.raises(AssertionError):
        compare(reflecting_by(ffi.cast(signature, found)))


@given(st.binary(min_size=112, max_size=150), st.integers(0, 2**64 - 1))
def test_c_and_python_stamp_alike(reply: bytes, timestamp: int) -> None:
    octets = ffi.new("uint8_t[]", reply)
    lib.tw_reflect_secured_stamp(octets, timestamp)
    assert bytes(ffi.buffer(octets, len(reply))) == stamp_secured(reply, timestamp)


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS["test_packets"] if vector["mode"] != "unauthenticated"],
    ids=lambda v: f"{v['mode']}-{v['ttl']}",
)
def test_a_recorded_request_is_answered_to_the_octet(vector: dict[str, Any]) -> None:
    """Unseal, reflect, stamp, seal: the whole way of one packet, in C."""
    protection = Protection[vector["mode"].upper()]
    keys = PacketKeys(bytes.fromhex(vector["test_aes"]), bytes.fromhex(vector["test_hmac"]))
    request = bytes.fromhex(vector["sender"]["packet"])
    expected = bytes.fromhex(vector["reflector"]["packet"])
    arrival = Arrival(
        int(vector["receive_timestamp"], 16),
        vector["reflector_seq"],
        int(vector["error"], 16),
        vector["ttl"],
    )
    clear = crypt_in_c(protection, keys, request, is_reply=False, seal=False)
    reply = reflecting_by(lib.tw_reflect_secured)(clear, arrival)
    assert isinstance(reply, bytes)
    reply = stamp_secured(reply, int(vector["timestamp"], 16))
    assert crypt_in_c(protection, keys, reply, is_reply=True, seal=True) == expected
