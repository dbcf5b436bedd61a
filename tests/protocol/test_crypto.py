"""Keys, Token, streams and packets, against recorded octets; and nothing tampered with passes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import CAPTURED, VECTORS, conversations
from twamp.errors import IntegrityError
from twamp.protocol.crypto import (
    OpeningStream,
    PacketCipher,
    PacketKeys,
    Protection,
    SealingStream,
    SessionKeys,
    open_token,
    packet_keys,
    seal_token,
    token_key,
)

PROTECTED = [vector for vector in VECTORS["test_packets"] if vector["mode"] != "unauthenticated"]
SECURED = [
    pytest.param(conversation, id=name)
    for name, conversation in conversations()
    if conversation["mode"] & 14
]


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize("vector", VECTORS["key_derivation"], ids=lambda v: v["name"])
def test_token_keys(vector: dict[str, Any]) -> None:
    found = token_key(octets(vector["passphrase"]), octets(vector["salt"]), vector["count"])
    assert found.hex() == vector["dk"]


def test_the_token() -> None:
    vector = VECTORS["token"]
    key, challenge = octets(vector["derived_key"]), octets(vector["challenge"])
    keys = SessionKeys(octets(vector["aes_session_key"]), octets(vector["hmac_session_key"]))
    token = octets(vector["token"])
    assert seal_token(key, challenge, keys) == token
    assert open_token(key, challenge, token) == keys
    assert open_token(bytes(16), challenge, token) is None
    assert open_token(key, bytes(16), token) is None
    for position in range(16):
        spoilt = bytearray(token)
        spoilt[position] ^= 1
        assert open_token(key, challenge, bytes(spoilt)) is None


@pytest.mark.parametrize("conversation", SECURED)
def test_recorded_streams_open_and_seal_to_the_same_octets(conversation: dict[str, Any]) -> None:
    set_up, start = octets(conversation["setup_response"]), octets(conversation["server_start"])
    greeting = octets(conversation["greeting"])
    key = token_key(
        octets(conversation["passphrase"]), greeting[32:48], int.from_bytes(greeting[48:52])
    )
    keys = open_token(key, greeting[16:32], set_up[84:148])
    assert keys is not None
    ivs = {"c2s": set_up[148:], "s2c": start[16:32]}
    opening = {direction: OpeningStream(keys, iv) for direction, iv in ivs.items()}
    sealing = {direction: SealingStream(keys, iv) for direction, iv in ivs.items()}
    block = opening["s2c"].decrypt(start[32:])
    opening["s2c"].cover(block)
    recorded = conversation["server_start_block3"]
    assert block.hex() == (recorded if isinstance(recorded, str) else recorded["plaintext"])
    assert sealing["s2c"].seal_block(block) == start[32:]
    for message in conversation["messages"]:
        wire = octets(message["ciphertext"] if "ciphertext" in message else message["wire"])
        clear = b"".join(opening[message["dir"]].decrypt(bytes([octet])) for octet in wire)
        assert clear.hex() == message["plaintext"]
        opening[message["dir"]].verify(clear)
        assert sealing[message["dir"]].seal(clear[:-16] + bytes(16)) == wire


@pytest.mark.parametrize("vector", VECTORS["test_session_keys"], ids=lambda v: v["sid"])
def test_keys_of_a_test_session(vector: dict[str, str]) -> None:
    keys = SessionKeys(octets(vector["control_aes"]), octets(vector["control_hmac"]))
    found = packet_keys(octets(vector["sid"]), keys)
    assert (found.aes.hex(), found.hmac.hex()) == (vector["test_aes"], vector["test_hmac"])


def cipher_of(mode: str, vector: dict[str, str]) -> PacketCipher:
    keys = PacketKeys(octets(vector["test_aes"]), octets(vector["test_hmac"]))
    return PacketCipher(Protection[mode.upper()], keys)


@pytest.mark.parametrize("vector", PROTECTED, ids=lambda v: f"{v['mode']}-{v['ttl']}")
def test_generated_packets_open_and_seal_to_the_same_octets(vector: dict[str, Any]) -> None:
    cipher = cipher_of(vector["mode"], vector)
    for part, opened, sealed in (
        ("sender", cipher.open_sender_packet, cipher.seal_sender_packet),
        ("reflector", cipher.open_reflector_packet, cipher.seal_reflector_packet),
    ):
        packet = octets(vector[part]["packet"])
        clear = opened(packet)
        expected = octets(vector[part]["plaintext"])
        assert clear[: len(expected)] == expected
        assert sealed(clear) == packet


@pytest.mark.parametrize(
    "conversation",
    [c for c in CAPTURED["conversations"] if c["mode"] & 6],
    ids=lambda c: c["name"],
)
def test_captured_packets_open_and_seal_to_the_same_octets(conversation: dict[str, Any]) -> None:
    cipher = cipher_of("authenticated" if conversation["mode"] & 2 else "encrypted", conversation)
    for record in conversation["test"]:
        packet = octets(record["packet"])
        if record["dir"] == "sender":
            clear = cipher.open_sender_packet(packet)
            assert cipher.seal_sender_packet(clear) == packet
        else:
            clear = cipher.open_reflector_packet(packet)
            assert cipher.seal_reflector_packet(clear) == packet
        assert clear.startswith(octets(record["plaintext"]))


@pytest.mark.parametrize("case", VECTORS["test_packet_tampering"]["cases"], ids=lambda c: c["name"])
def test_tampered_packets(case: dict[str, str]) -> None:
    cipher = cipher_of(case["mode"], VECTORS["test_packet_tampering"])
    if case["verify"].startswith("must fail"):
        with pytest.raises(IntegrityError):
            cipher.open_sender_packet(octets(case["packet"]))
    else:
        cipher.open_sender_packet(octets(case["packet"]))


KEYS = PacketKeys(bytes(range(16)), bytes(range(32)))


@given(st.sampled_from(Protection), st.binary(min_size=112, max_size=200), st.booleans())
def test_what_is_sealed_opens_again(protection: Protection, packet: bytes, sender: bool) -> None:
    cipher = PacketCipher(protection, KEYS)
    opened, sealed, hmac_at = (
        (cipher.open_sender_packet, cipher.seal_sender_packet, 32)
        if sender
        else (cipher.open_reflector_packet, cipher.seal_reflector_packet, 96)
    )
    clear = opened(sealed(packet))
    assert clear[:hmac_at] == packet[:hmac_at]
    assert clear[hmac_at + 16 :] == packet[hmac_at + 16 :]


@pytest.mark.parametrize("protection", Protection)
@pytest.mark.parametrize("sender", [True, False])
def test_every_protected_bit_is_protected_and_no_other(
    protection: Protection, sender: bool
) -> None:
    cipher = PacketCipher(protection, KEYS)
    opened, sealed, hmac_at = (
        (cipher.open_sender_packet, cipher.seal_sender_packet, 32)
        if sender
        else (cipher.open_reflector_packet, cipher.seal_reflector_packet, 96)
    )
    packet = sealed(bytes(range(150)))
    protected = protection.value[0 if sender else 1]
    for bit in range(8 * len(packet)):
        spoilt = bytearray(packet)
        spoilt[bit // 8] ^= 1 << bit % 8
        if bit // 8 < protected or hmac_at <= bit // 8 < hmac_at + 16:
            with pytest.raises(IntegrityError):
                opened(bytes(spoilt))
        else:
            opened(bytes(spoilt))


def test_a_replayed_block_or_message_does_not_pass() -> None:
    keys, iv = SessionKeys(bytes(16), bytes(32)), bytes(16)
    sealing, opening = SealingStream(keys, iv), OpeningStream(keys, iv)
    first = sealing.seal(bytes(32))
    opening.verify(opening.decrypt(first))
    with pytest.raises(IntegrityError):
        opening.verify(opening.decrypt(first))


def test_keys_do_not_show_in_a_log() -> None:
    cipher = PacketCipher(Protection.ENCRYPTED, KEYS)
    assert "\\x01" not in repr((cipher, KEYS, SessionKeys(KEYS.aes, KEYS.hmac)))
