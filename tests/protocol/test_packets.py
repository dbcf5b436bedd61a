"""The four test packet layouts, against recorded octets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import CAPTURED, VECTORS
from twamp.errors import RemoteProtocolError
from twamp.protocol.packets import (
    Packet,
    ReflectorPacket,
    SecuredReflectorPacket,
    SecuredSenderPacket,
    SenderPacket,
)
from twamp.protocol.timestamps import ErrorEstimate

ALL: list[type[Packet]] = [
    SenderPacket,
    ReflectorPacket,
    SecuredSenderPacket,
    SecuredReflectorPacket,
]
SIZES: dict[type[Packet], int] = {
    SenderPacket: 14,
    ReflectorPacket: 41,
    SecuredSenderPacket: 48,
    SecuredReflectorPacket: 112,
}


def test_header_sizes_are_those_of_the_rfcs_and_their_errata() -> None:
    assert {kind: kind.LAYOUT.size for kind in SIZES} == SIZES


@pytest.mark.parametrize("vector", VECTORS["test_packets"], ids=lambda v: f"{v['mode']}-{v['ttl']}")
def test_fields_of_the_generated_packets(vector: dict[str, Any]) -> None:
    plain = vector["mode"] == "unauthenticated"
    sender: SenderPacket | SecuredSenderPacket
    reflector: ReflectorPacket | SecuredReflectorPacket
    if plain:
        sender = SenderPacket.parse(bytes.fromhex(vector["sender_packet"]))
        reflector = ReflectorPacket.parse(bytes.fromhex(vector["reflector_packet"]))
    else:
        sender = SecuredSenderPacket.parse(clear(vector["sender"], 32))
        reflector = SecuredReflectorPacket.parse(clear(vector["reflector"], 96))
        assert sender.hmac.hex() == vector["sender"]["hmac"]
        assert reflector.hmac.hex() == vector["reflector"]["hmac"]
    assert sender.sequence_number == vector["sender_seq"] == reflector.sender_sequence_number
    assert sender.timestamp == int(vector["sender_timestamp"], 16) == reflector.sender_timestamp
    assert sender.error_estimate == int(vector["sender_error"], 16)
    assert reflector.sender_error_estimate == sender.error_estimate
    assert reflector.sequence_number == vector["reflector_seq"]
    assert reflector.receive_timestamp == int(vector["receive_timestamp"], 16)
    assert reflector.timestamp == int(vector["timestamp"], 16)
    assert reflector.error_estimate == int(vector["error"], 16)
    assert reflector.sender_ttl == vector["ttl"]


def clear(part: dict[str, str], hmac_at: int) -> bytes:
    """A secured packet with its blocks in clear: plaintext, HMAC, padding."""
    packet = bytes.fromhex(part["packet"])
    octets = bytes.fromhex(part["plaintext"])
    return octets + packet[len(octets) : hmac_at] + packet[hmac_at:]


@pytest.mark.parametrize("conversation", CAPTURED["conversations"], ids=lambda c: c["name"])
def test_captured_packets_encode_to_the_same_octets(conversation: dict[str, Any]) -> None:
    secured = bool(conversation["mode"] & 6)
    for record in conversation["test"]:
        kind: type[Packet]
        if record["dir"] == "sender":
            kind = SecuredSenderPacket if secured else SenderPacket
        else:
            kind = SecuredReflectorPacket if secured else ReflectorPacket
        octets = bytes.fromhex(record["packet"])
        if secured:
            plaintext = bytes.fromhex(record["plaintext"])
            octets = plaintext + octets[len(plaintext) :]
        assert bytes(kind.parse(octets)) == octets


def test_an_hmac_that_is_not_given_is_zero() -> None:
    assert bytes(SecuredSenderPacket(0, 0, 0)) == bytes(48)
    assert bytes(SecuredReflectorPacket(0, 0, 0, 0, 0, 0, 0, 0)) == bytes(112)


UNAUTHENTICATED_FEATURES = [
    vector
    for vector in VECTORS["test_packet_features"]
    if vector["name"].startswith(("unauth", "TWAMP Light"))
]


@pytest.mark.parametrize("vector", UNAUTHENTICATED_FEATURES, ids=lambda vector: vector["name"])
def test_features_leave_the_fields_where_they_are(vector: dict[str, Any]) -> None:
    """Whatever a feature puts behind the header is padding to these layouts."""
    request, reply = (bytes.fromhex(vector[f"{end}_packet"]) for end in ("sender", "reflector"))
    sender, reflector = SenderPacket.parse(request), ReflectorPacket.parse(reply)
    assert (len(request), len(reply)) == (vector["sender_len"], vector["reflector_len"])
    assert (bytes(sender), bytes(reflector)) == (request, reply)
    assert reflector.sender_sequence_number == sender.sequence_number
    assert reflector.sender_timestamp == sender.timestamp
    assert reflector.sender_error_estimate == sender.error_estimate
    assert sender.padding == request[14:]
    assert reflector.padding == reply[41:]


def test_a_multiplier_of_zero_parses_and_can_be_seen() -> None:
    packet = SenderPacket.parse(bytes(12) + b"\x94\x00")
    estimate = ErrorEstimate.from_int(packet.error_estimate)
    assert estimate == ErrorEstimate(True, False, scale=20, multiplier=0)


@given(st.sampled_from(ALL), st.binary(max_size=200))
def test_any_octets_give_a_packet_or_a_remote_error(kind: type[Packet], octets: bytes) -> None:
    if len(octets) < kind.LAYOUT.size:
        with pytest.raises(RemoteProtocolError, match="at least"):
            kind.parse(octets)
    else:
        packet = kind.parse(octets)
        assert packet.padding == octets[kind.LAYOUT.size :]
        assert kind.parse(bytes(packet)) == packet
