"""csrc/packet/crypto.c seals and unseals like the recordings, and like Python."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.c_reflection import reflect_in_c, stamp_in_c
from tests.vectors import CAPTURED, VECTORS
from twamp._native import ffi, lib
from twamp.errors import IntegrityError
from twamp.protocol.crypto import PacketCipher, PacketKeys, Protection
from twamp.protocol.reflect import Arrival

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
    reply = reflect_in_c("secured", clear, arrival)
    assert isinstance(reply, bytes)
    reply = stamp_in_c("secured", reply, int(vector["timestamp"], 16))
    assert crypt_in_c(protection, keys, reply, is_reply=True, seal=True) == expected
