"""The reflection (RFC 5357 section 4.2): one packet in, one packet out.

This is the text to read; ``csrc/packet/reflect.c`` does the same, and a test holds the two together.
What differs between the kinds of sessions is a row of :data:`LAYOUTS`, and nothing else.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

from twamp.protocol.packets import (
    Packet,
    ReflectorPacket,
    SecuredReflectorPacket,
    SecuredSenderPacket,
    SenderPacket,
)


class Drop(Enum):
    """Why there is no reply; the names are those of the engine's counters."""

    SHORT = "shorter than the layout's shortest request"
    ERROR_ESTIMATE = "Multiplier 0 in the Error Estimate: corrupt"
    LOOP = "a reply itself: its answer would be answered for ever"


class Arrival(NamedTuple):
    """The facts that the Session-Reflector knows of a packet beside its octets."""

    receive_timestamp: int  # T2
    sequence_number: int  # the reflector's own
    error_estimate: int
    sender_ttl: int
    takes_zero_error: bool = False  # answers requests with Multiplier 0


class Layout(NamedTuple):
    """How the test packets of one kind of session are laid out and reflected."""

    sender: type[SenderPacket | SecuredSenderPacket]
    reflector: type[ReflectorPacket | SecuredReflectorPacket]
    timestamp: int  # offset of the Timestamp, in octets
    sender_error_estimate: int  # offset in the reply
    shortest_request: int  # octets; a shorter request is dropped
    number_copied: bool = False  # the reply has its request's Sequence Number

    @property
    def request_octets(self) -> int:
        """The length of a request before its padding."""
        return self.sender.LAYOUT.size

    @property
    def reply_octets(self) -> int:
        """The length of a reply before its padding."""
        return self.reflector.LAYOUT.size


UNAUTHENTICATED: Final = Layout(
    SenderPacket, ReflectorPacket, timestamp=4, sender_error_estimate=36, shortest_request=14
)
# Authenticated and encrypted mode, in clear: sealing is twamp.protocol.crypto.PacketCipher's.
SECURED: Final = Layout(
    SecuredSenderPacket,
    SecuredReflectorPacket,
    timestamp=16,
    sender_error_estimate=72,
    shortest_request=48,
)
# TWAMP Light (RFC 5357 Appendix I) keeps no number of its own.  A reply is never longer than its request, so
# that nobody can amplify traffic by it.
LIGHT: Final = UNAUTHENTICATED._replace(shortest_request=41, number_copied=True)

LAYOUTS: Final[Mapping[str, Layout]] = MappingProxyType(
    {"unauthenticated": UNAUTHENTICATED, "secured": SECURED, "light": LIGHT}
)


# Between T2 and T3 of one reply, at most: 16 s, in either format of timestamps.
_LONGEST_RESIDENCE: Final = 16 << 32


def is_reply(layout: Layout, packet: bytes) -> bool:
    """Whether a packet is a reply itself, which nothing may answer.

    It has two times of one clock, near each other, where a request has padding, zeros or random octets.  So
    neither two reflectors nor a reflector and an echo service can answer each other for ever.
    """
    if len(packet) < layout.reply_octets:
        return False
    reply = layout.reflector.parse(packet)
    residence = reply.timestamp - reply.receive_timestamp
    near = (residence + _LONGEST_RESIDENCE) % (1 << 64) < 2 * _LONGEST_RESIDENCE
    mbz = layout.sender_error_estimate + 2
    return (
        reply.receive_timestamp != 0
        and near
        and reply.sender_ttl != 0
        and packet[mbz : mbz + 2] == bytes(2)
    )


def reflect(layout: Layout, request: bytes, arrival: Arrival) -> bytes | Drop:
    """The reply to ``request``, its Timestamp (T3) still 0 (see :func:`stamp`); or why there is none."""
    if len(request) < layout.shortest_request:
        return Drop.SHORT
    sender = layout.sender.parse(request)
    # RFC 4656 section 4.1.2: a packet with Multiplier 0 is corrupt and SHOULD be discarded.
    if not sender.error_estimate & 0xFF and not arrival.takes_zero_error:
        return Drop.ERROR_ESTIMATE
    if is_reply(layout, request):
        return Drop.LOOP
    # RFC 5357 section 4.2.1: as long as the request where its padding suffices; the end is cut.
    padding_length = max(0, len(request) - layout.reply_octets)
    reply: Packet = layout.reflector(
        sequence_number=sender.sequence_number if layout.number_copied else arrival.sequence_number,
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


def stamp(layout: Layout, reply: bytes, timestamp: int) -> bytes:
    """The reply with its Timestamp (T3), read as late as possible before it is sent."""
    return reply[: layout.timestamp] + timestamp.to_bytes(8) + reply[layout.timestamp + 8 :]
