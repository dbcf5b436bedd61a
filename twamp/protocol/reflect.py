"""The reflection (RFC 5357 section 4.2): one packet in, one packet out.

This is the text to read; ``csrc/packet/reflect.c`` does the same, and a test holds the two together.
"""

from enum import Enum
from typing import NamedTuple

from twamp.protocol.packets import (
    Packet,
    ReflectorPacket,
    SecuredReflectorPacket,
    SecuredSenderPacket,
    SenderPacket,
)


class Drop(Enum):
    """Why there is no reply; the names are those of the engine's counters."""

    SHORT = "shorter than the sender packet of the mode"
    ERROR_ESTIMATE = "Multiplier 0 in the Error Estimate: corrupt"


class Arrival(NamedTuple):
    """What the Session-Reflector knows of a packet beside its octets."""

    receive_timestamp: int
    sequence_number: int
    error_estimate: int
    sender_ttl: int


def reflect(request: bytes, arrival: Arrival) -> bytes | Drop:
    """The reply of unauthenticated mode, its Timestamp (T3) still 0: see :func:`stamp`."""
    return _reflect(request, arrival, SenderPacket, ReflectorPacket)


def reflect_secured(request: bytes, arrival: Arrival) -> bytes | Drop:
    """The same in the layouts of authenticated and encrypted mode; request and reply are in clear.

    Unsealing the request and sealing the reply is :class:`~twamp.protocol.crypto.PacketCipher`'s.
    """
    return _reflect(request, arrival, SecuredSenderPacket, SecuredReflectorPacket)


def _reflect(
    request: bytes,
    arrival: Arrival,
    sender_layout: type[SenderPacket | SecuredSenderPacket],
    reflector_layout: type[ReflectorPacket | SecuredReflectorPacket],
) -> bytes | Drop:
    if len(request) < sender_layout.LAYOUT.size:
        return Drop.SHORT
    sender = sender_layout.parse(request)
    # RFC 4656 section 4.1.2: a packet with Multiplier 0 is corrupt and SHOULD be discarded.
    if not sender.error_estimate & 0xFF:
        return Drop.ERROR_ESTIMATE
    # RFC 5357 section 4.2.1: as long as the request where its padding suffices; the end is cut.
    padding_length = max(0, len(request) - reflector_layout.LAYOUT.size)
    reply: Packet = reflector_layout(
        sequence_number=arrival.sequence_number,
        timestamp=0,
        error_estimate=arrival.error_estimate,
        receive_timestamp=arrival.receive_timestamp,
        sender_sequence_number=sender.sequence_number,
        sender_timestamp=sender.timestamp,
        sender_error_estimate=sender.error_estimate,
        sender_ttl=arrival.sender_ttl,
        padding=sender.padding[:padding_length],
    )
    return bytes(reply)


def stamp(reply: bytes, timestamp: int) -> bytes:
    """The reply with its Timestamp (T3), read as late as possible before it is sent."""
    return reply[:4] + timestamp.to_bytes(8) + reply[12:]


def stamp_secured(reply: bytes, timestamp: int) -> bytes:
    """The same in the layout of the secured modes."""
    return reply[:16] + timestamp.to_bytes(8) + reply[24:]
