"""TWAMP-Test packets (RFC 4656 section 4.1.2, RFC 5357 section 4.2.1), in clear.

Field for field the structs of ``csrc/packet/wire.h``, under the same names.  ``error_estimate`` and
``sender_error_estimate`` are the 16 bits of :class:`~twamp.protocol.timestamps.ErrorEstimate`.
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar, Self

from twamp.errors import RemoteProtocolError
from twamp.protocol.message import Message


@dataclass(frozen=True, slots=True)
class Packet(Message):
    """A test packet: the fixed header of its class, then ``padding``."""

    padding: bytes = field(default=b"", kw_only=True, metadata={"variable": True})

    def __bytes__(self) -> bytes:
        return self._pack(self._values()) + self.padding

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """The packet in these octets; raises :class:`~twamp.errors.RemoteProtocolError` if too short."""
        size = cls.LAYOUT.size
        if len(octets) < size:
            raise RemoteProtocolError(
                f"{cls.__name__} has at least {size} octets, not {len(octets)}"
            )
        return cls(**cls._unpack(octets), padding=octets[size:])


@dataclass(frozen=True, slots=True)
class SenderPacket(Packet):
    """RFC 4656 section 4.1.2, unauthenticated mode: what a Session-Sender sends.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |                        Sequence Number                        |
        +---------------------------------------------------------------+
        |                           Timestamp                           |
        |                                                               |
        +-------------------------------+-------------------------------+
        |        Error Estimate         |         Padding ...           |
        +-------------------------------+-------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!IQH")
    sequence_number: int
    timestamp: int
    error_estimate: int


@dataclass(frozen=True, slots=True)
class ReflectorPacket(Packet):
    """RFC 5357 section 4.2.1, unauthenticated mode: what a Session-Reflector answers.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |                        Sequence Number                        |
        +---------------------------------------------------------------+
        |                           Timestamp                           |
        |                                                               |
        +-------------------------------+-------------------------------+
        |        Error Estimate         |              MBZ              |
        +-------------------------------+-------------------------------+
        |                       Receive Timestamp                       |
        |                                                               |
        +---------------------------------------------------------------+
        |                    Sender Sequence Number                     |
        +---------------------------------------------------------------+
        |                       Sender Timestamp                        |
        |                                                               |
        +-------------------------------+-------------------------------+
        |     Sender Error Estimate     |              MBZ              |
        +---------------+---------------+-------------------------------+
        |  Sender TTL   |                  Padding ...                  |
        +---------------+-----------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!IQH2xQIQH2xB")
    sequence_number: int
    timestamp: int
    error_estimate: int
    receive_timestamp: int
    sender_sequence_number: int
    sender_timestamp: int
    sender_error_estimate: int
    sender_ttl: int


@dataclass(frozen=True, slots=True)
class SecuredSenderPacket(Packet):
    """RFC 4656 section 4.1.2, authenticated and encrypted modes.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |                        Sequence Number                        |
        +---------------------------------------------------------------+
        |                              MBZ                              |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                           Timestamp                           |
        |                                                               |
        +-------------------------------+-------------------------------+
        |        Error Estimate         |              MBZ              |
        +-------------------------------+                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                             HMAC                              |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                          Padding ...                          |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!I12xQH6x16s")
    sequence_number: int
    timestamp: int
    error_estimate: int
    hmac: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class SecuredReflectorPacket(Packet):
    """RFC 5357 section 4.2.1 (112 octets by erratum 5045), authenticated and encrypted modes.

    ::

         0                   1                   2                   3
         0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
        +-------+-------+-------+-------+-------+-------+-------+-------+
        |                        Sequence Number                        |
        +---------------------------------------------------------------+
        |                              MBZ                              |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                           Timestamp                           |
        |                                                               |
        +-------------------------------+-------------------------------+
        |        Error Estimate         |              MBZ              |
        +-------------------------------+                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                       Receive Timestamp                       |
        |                                                               |
        +---------------------------------------------------------------+
        |                              MBZ                              |
        |                                                               |
        +---------------------------------------------------------------+
        |                    Sender Sequence Number                     |
        +---------------------------------------------------------------+
        |                              MBZ                              |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                       Sender Timestamp                        |
        |                                                               |
        +-------------------------------+-------------------------------+
        |     Sender Error Estimate     |              MBZ              |
        +-------------------------------+                               |
        |                                                               |
        +---------------+-----------------------------------------------+
        |  Sender TTL   |                      MBZ                      |
        +---------------+                                               |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                             HMAC                              |
        |                                                               |
        |                                                               |
        |                                                               |
        +---------------------------------------------------------------+
        |                          Padding ...                          |
        +---------------------------------------------------------------+
    """

    LAYOUT: ClassVar[Struct] = Struct("!I12xQH6xQ8xI12xQH6xB15x16s")
    sequence_number: int
    timestamp: int
    error_estimate: int
    receive_timestamp: int
    sender_sequence_number: int
    sender_timestamp: int
    sender_error_estimate: int
    sender_ttl: int
    hmac: bytes = bytes(16)
