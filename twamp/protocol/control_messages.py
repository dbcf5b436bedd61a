"""Every TWAMP-Control message (RFC 4656 section 3, RFC 5357 section 3, RFC 5938, RFC 6038).

In unauthenticated mode an HMAC field MUST be zero and is not looked at (RFC 4656 section 3.2); a message
keeps what was in it, so that it encodes to the octets that it was parsed from.
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar, Self

from twamp.errors import LocalProtocolError
from twamp.protocol.message import CommandMessage, Message, SidsMessage
from twamp.protocol.registries import Accept, Command, Modes


def type_p_descriptor_from_dscp(dscp: int) -> int:
    """The Type-P Descriptor that asks for a DSCP (RFC 4656 section 3.5)."""
    return dscp << 24


def dscp_from_type_p_descriptor(descriptor: int) -> int | None:
    """The DSCP that a Type-P Descriptor asks for, or None when it says anything else."""
    return None if descriptor & ~(0x3F << 24) else descriptor >> 24


@dataclass(frozen=True, slots=True)
class ServerGreeting(Message):
    """RFC 4656 section 3.1: the Server's first message; Modes 0 refuses the connection.

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
    """RFC 4656 section 3.1: the Control-Client's choice of a mode; Mode 0 declines.

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
    """RFC 4656 section 3.1: the Server's decision; Start Time is when its instance started.

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
    A request that a Server must refuse (a version that is neither 4 nor 6, Conf-*, …) parses, too: it has
    to be answered.

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
    """RFC 5357 section 3.5, RFC 6038 section 4.3: the answer to a request or to an unexpected command.

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
    """RFC 5938 section 3.5: the answer to Stop-N-Sessions, like Start-N-Ack.

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
