"""The numbers that IANA has registered for TWAMP-Control: Accept values, commands and modes."""

from enum import IntEnum, IntFlag
from typing import Final


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
