"""Every TWAMP-Control message (RFC 4656 section 3, RFC 5357 section 3, RFC 5938, RFC 6038).

In unauthenticated mode an HMAC field MUST be zero and is not looked at (RFC 4656 section 3.2); a message
keeps what was in it, so that it encodes to the octets that it came from.
"""

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Any, ClassVar, Final, Self

from twamp.errors import LocalProtocolError, RemoteProtocolError
from twamp.protocol.message import Message, converters

BLOCK: Final = 16  # octets; every message but Set-Up-Response is a whole number of blocks


class Accept(IntEnum):
    """RFC 4656 section 3.3, RFC 7717 section 5.3; any other value is read as FAILURE."""

    OK = 0
    FAILURE = 1
    INTERNAL_ERROR = 2
    NOT_SUPPORTED = 3
    PERMANENT_RESOURCE_LIMITATION = 4
    TEMPORARY_RESOURCE_LIMITATION = 5
    SA_NOT_FOUND = 6

    @classmethod
    def _missing_(cls, value: object) -> "Accept":
        return cls.FAILURE


class Command(IntEnum):
    """TWAMP-Control command numbers (the IANA registry)."""

    FORBIDDEN = 1
    START_SESSIONS = 2
    STOP_SESSIONS = 3
    FETCH_SESSION = 4
    REQUEST_TW_SESSION = 5
    EXPERIMENTATION = 6
    START_N_SESSIONS = 7
    START_N_ACK = 8
    STOP_N_SESSIONS = 9
    STOP_N_ACK = 10
    REQUEST_TW_MICRO_SESSIONS = 11


_ALL_ASSIGNED: Final = 0x3FF


class Modes(IntFlag):
    """TWAMP-Modes (the IANA registry); unknown bits are kept, and ignored."""

    UNAUTHENTICATED = 1
    AUTHENTICATED = 2
    ENCRYPTED = 4
    MIXED = 8
    INDIVIDUAL_SESSION_CONTROL = 16
    REFLECT_OCTETS = 32
    SYMMETRICAL_SIZE = 64
    IKEV2_DERIVED = 128
    DSCP_ECN_MONITORING = 256
    PTPV2_TIMESTAMP = 512

    @classmethod
    def _missing_(cls, value: object) -> "Modes":
        modes: Modes = super()._missing_(value)
        if modes.value > _ALL_ASSIGNED:
            # An enum keeps every value that it ever made, and a peer may send any of 2^32.
            cls._value2member_map_.pop(modes.value, None)
        return modes


# Exactly one of these is chosen; the others are features that may be added to it.
SECURITY_MODES: Final = Modes(0x00F)
FEATURE_MODES: Final = Modes(_ALL_ASSIGNED) & ~SECURITY_MODES


def type_p_descriptor_from_dscp(dscp: int) -> int:
    """The Type-P Descriptor that asks for a DSCP (RFC 4656 section 3.5)."""
    return dscp << 24


def dscp_from_type_p_descriptor(descriptor: int) -> int | None:
    """The DSCP that a Type-P Descriptor asks for, or None when it says anything else."""
    return None if descriptor & ~(0x3F << 24) else descriptor >> 24


@dataclass(frozen=True, slots=True)
class CommandMessage(Message):
    """A message whose first octet is its command number."""

    COMMAND: ClassVar[Command]

    def __bytes__(self) -> bytes:
        return bytes([self.COMMAND]) + self._pack(self._values())[1:]

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        if octets and octets[0] != cls.COMMAND:
            raise RemoteProtocolError(
                f"{cls.__name__} has command number {int(cls.COMMAND)}, not {octets[0]}"
            )
        # slots=True makes the class anew, which super() without arguments does not notice.
        return super(CommandMessage, cls).parse(octets)


@dataclass(frozen=True, slots=True)
class SidsMessage(CommandMessage):
    """A command whose fixed head is followed by ``sids`` and an HMAC (RFC 5938 section 3)."""

    sids: tuple[bytes, ...] = field(metadata={"variable": True})
    hmac: bytes = field(default=bytes(BLOCK), metadata={"variable": True})

    def __bytes__(self) -> bytes:
        if not self.sids or any(len(sid) != BLOCK for sid in self.sids) or len(self.hmac) != BLOCK:
            raise LocalProtocolError(
                f"{type(self).__name__} takes one SID or more and an HMAC, each of {BLOCK} octets",
                section="RFC 5938 section 3.2",
            )
        # Number of Sessions is the last value of every head.
        head = self._pack([*self._values(), len(self.sids)])
        return bytes([self.COMMAND]) + head[1:] + b"".join(self.sids) + self.hmac

    def _pack(self, values: list[Any]) -> bytes:
        return self.LAYOUT.pack(*values)

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        size = cls.LAYOUT.size
        if len(octets) < size or octets[0] != cls.COMMAND:
            raise RemoteProtocolError(f"these {len(octets)} octets begin no {cls.__name__}")
        *values, count = cls.LAYOUT.unpack_from(octets)
        if not count or len(octets) != size + BLOCK * (count + 1):
            raise RemoteProtocolError(
                f"{cls.__name__} counts {count} sessions in {len(octets)} octets",
                accept=Accept.NOT_SUPPORTED,
                section="RFC 5938 section 3.2",
            )
        blocks = [octets[start : start + BLOCK] for start in range(size, len(octets), BLOCK)]
        fixed = dict(zip(converters(cls), map(Accept, values), strict=True))
        return cls(tuple(blocks[:-1]), blocks[-1], **fixed)


def command_length(first_block: bytes) -> int | None:
    """The octets of a message, from its first block; None for command numbers of unknown length.

    Whoever allocates by it has to bound it: Number of Sessions is whatever the peer says.
    """
    match first_block[0]:
        case Command.REQUEST_TW_SESSION:
            return RequestTWSession.LAYOUT.size
        case Command.START_SESSIONS | Command.STOP_SESSIONS:
            return StartSessions.LAYOUT.size
        case (
            Command.START_N_SESSIONS
            | Command.START_N_ACK
            | Command.STOP_N_SESSIONS
            | Command.STOP_N_ACK
        ):
            return BLOCK * (2 + int.from_bytes(first_block[12:16]))
    return None


@dataclass(frozen=True, slots=True)
class ServerGreeting(Message):
    """RFC 4656 section 3.1: the Server's first words; Modes 0 means that it will not talk.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |                             Unused                            |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                             Modes                             |
        +---------------------------------------------------------------+
        |                           Challenge                           |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                              Salt                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                             Count                             |
        +---------------------------------------------------------------+
        |                              MBZ                              |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!12xI16s16sI12x")
    modes: Modes
    challenge: bytes = bytes(16)
    salt: bytes = bytes(16)
    count: int = 1024


@dataclass(frozen=True, slots=True)
class SetUpResponse(Message):
    """RFC 4656 section 3.1: the Control-Client chooses; Mode 0 means that it declines.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |                              Mode                             |
        +---------------------------------------------------------------+
        |                       Key ID (80 octets)                      |
        +---------------------------------------------------------------+
        |                       Token (64 octets)                       |
        +---------------------------------------------------------------+
        |                           Client IV                           |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!I80s64s16s")
    mode: Modes
    key_id: bytes = bytes(80)
    token: bytes = bytes(64)
    client_iv: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class ServerStart(Message):
    """RFC 4656 section 3.1: the Server's verdict; Start Time is that of its instance.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |                              MBZ                              |
        |                                                               |
        |                                                               |
        |                                               |     Accept    |
        +-----------------------------------------------+---------------+
        |                           Server IV                           |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                           Start Time                          |
        |                                                               |
        +---------------------------------------------------------------+
        |                              MBZ                              |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!15xB16sQ8x")
    accept: Accept
    server_iv: bytes = bytes(16)
    start_time: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTWSession(CommandMessage):
    """RFC 5357 section 3.5, RFC 6038 section 4.2: asks for a test session.

    ``ip_version`` has four bits of MBZ before it.  ``start_time`` is a timestamp, ``timeout`` a 32.32 interval.
    What a Server must refuse (a version that is neither 4 nor 6, Conf-*, …) parses: it has to be answered.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |    Command    |   IP Version  |  Conf Sender  | Conf Receiver |
        +---------------+---------------+---------------+---------------+
        |                    Number Of Schedule Slots                   |
        +---------------------------------------------------------------+
        |                       Number Of Packets                       |
        +-------------------------------+-------------------------------+
        |          Sender Port          |         Receiver Port         |
        +-------------------------------+-------------------------------+
        |                         Sender Address                        |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                        Receiver Address                       |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                              SID                              |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                         Padding Length                        |
        +---------------------------------------------------------------+
        |                           Start Time                          |
        |                                                               |
        +---------------------------------------------------------------+
        |                            Timeout                            |
        |                                                               |
        +---------------------------------------------------------------+
        |                       Type P Descriptor                       |
        +-------------------------------+-------------------------------+
        |     Octets To Be Reflected    |  Length Of Padding To Reflect |
        +-------------------------------+-------------------------------+
        |                              MBZ                              |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!xBBBIIHH16s16s16sIQQIHH4x16s")
    COMMAND: ClassVar[Command] = Command.REQUEST_TW_SESSION
    ip_version: int
    conf_sender: int = 0
    conf_receiver: int = 0
    number_of_schedule_slots: int = 0
    number_of_packets: int = 0
    sender_port: int
    receiver_port: int
    sender_address: bytes = bytes(16)
    receiver_address: bytes = bytes(16)
    sid: bytes = bytes(16)
    padding_length: int = 0
    start_time: int = 0
    timeout: int = 0
    type_p_descriptor: int = 0
    octets_to_be_reflected: int = 0
    length_of_padding_to_reflect: int = 0
    hmac: bytes = bytes(16)

    def __bytes__(self) -> bytes:
        if not 0 <= self.ip_version <= 15:
            raise LocalProtocolError(
                f"RequestTWSession.ip_version is {self.ip_version}; it takes 0..15"
            )
        return super(RequestTWSession, self).__bytes__()

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        if len(octets) == cls.LAYOUT.size:
            # The upper four bits beside IPVN are MBZ: not looked at.
            octets = octets[:1] + bytes([octets[1] & 0x0F]) + octets[2:]
        return super(RequestTWSession, cls).parse(octets)


@dataclass(frozen=True, slots=True)
class AcceptSession(Message):
    """RFC 5357 section 3.5, RFC 6038 section 4.3: the answer to a request, and to what is no command here.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |     Accept    |      MBZ      |              Port             |
        +---------------+---------------+-------------------------------+
        |                              SID                              |
        |                                                               |
        |                                                               |
        |                                                               |
        +-------------------------------+-------------------------------+
        |        Reflected Octets       |         Server Octets         |
        +-------------------------------+-------------------------------+
        |                              MBZ                              |
        |                                                               |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!BxH16sHH8x16s")
    accept: Accept
    port: int = 0
    sid: bytes = bytes(16)
    reflected_octets: int = 0
    server_octets: int = 0
    hmac: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class StartSessions(CommandMessage):
    """RFC 4656 section 3.7: all accepted sessions begin.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |    Command    |                      MBZ                      |
        +---------------+                                               |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!x15x16s")
    COMMAND: ClassVar[Command] = Command.START_SESSIONS
    hmac: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class StartAck(Message):
    """RFC 4656 section 3.7: the answer to Start-Sessions; it has no command number.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |     Accept    |                      MBZ                      |
        +---------------+                                               |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!B15x16s")
    accept: Accept
    hmac: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class StopSessions(CommandMessage):
    """RFC 5357 section 3.8: the sessions of this round end; there is no answer.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |    Command    |     Accept    |              MBZ              |
        +---------------+---------------+-------------------------------+
        |                       Number Of Sessions                      |
        +---------------------------------------------------------------+
        |                              MBZ                              |
        |                                                               |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!xB2xI8x16s")
    COMMAND: ClassVar[Command] = Command.STOP_SESSIONS
    accept: Accept
    number_of_sessions: int
    hmac: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class StartNSessions(SidsMessage):
    """RFC 5938 section 3.2: the named sessions begin.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |    Command    |                      MBZ                      |
        +---------------+                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                       Number Of Sessions                      |
        +---------------------------------------------------------------+
        |                            SIDs ...                           |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!x11xI")
    COMMAND: ClassVar[Command] = Command.START_N_SESSIONS


@dataclass(frozen=True, slots=True)
class StartNAck(SidsMessage):
    """RFC 5938 section 3.3: one Accept value for all the sessions named; several Acks may answer one command.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |    Command    |     Accept    |              MBZ              |
        +---------------+---------------+                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                       Number Of Sessions                      |
        +---------------------------------------------------------------+
        |                            SIDs ...                           |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!xB10xI")
    COMMAND: ClassVar[Command] = Command.START_N_ACK
    accept: Accept = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class StopNSessions(SidsMessage):
    """RFC 5938 section 3.4: the named sessions end.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |    Command    |                      MBZ                      |
        +---------------+                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                       Number Of Sessions                      |
        +---------------------------------------------------------------+
        |                            SIDs ...                           |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!x11xI")
    COMMAND: ClassVar[Command] = Command.STOP_N_SESSIONS


@dataclass(frozen=True, slots=True)
class StopNAck(SidsMessage):
    """RFC 5938 section 3.5: as Start-N-Ack.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |    Command    |     Accept    |              MBZ              |
        +---------------+---------------+                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                       Number Of Sessions                      |
        +---------------------------------------------------------------+
        |                            SIDs ...                           |
        +---------------------------------------------------------------+
        |                              HMAC                             |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!xB10xI")
    COMMAND: ClassVar[Command] = Command.STOP_N_ACK
    accept: Accept = field(kw_only=True)
