"""The registries: every number, and numbers that nobody has registered."""

import pytest

from twamp.protocol.control_messages import ServerGreeting
from twamp.protocol.registries import FEATURE_MODES, SECURITY_MODES, Accept, Command, Modes


def test_numbers_are_those_of_the_registries() -> None:
    assert [(accept.name, accept.value) for accept in Accept] == [
        ("OK", 0),
        ("FAILURE", 1),
        ("INTERNAL_ERROR", 2),
        ("NOT_SUPPORTED", 3),
        ("PERMANENT_RESOURCE_LIMITATION", 4),
        ("TEMPORARY_RESOURCE_LIMITATION", 5),
        ("SA_NOT_FOUND", 6),
    ]
    assert [(command.name, command.value) for command in Command] == [
        ("FORBIDDEN", 1),
        ("START_SESSIONS", 2),
        ("STOP_SESSIONS", 3),
        ("FETCH_SESSION", 4),
        ("REQUEST_TW_SESSION", 5),
        ("EXPERIMENTATION", 6),
        ("START_N_SESSIONS", 7),
        ("START_N_ACK", 8),
        ("STOP_N_SESSIONS", 9),
        ("STOP_N_ACK", 10),
        ("REQUEST_TW_MICRO_SESSIONS", 11),
    ]
    assert [(mode.name, mode.value) for mode in Modes] == [
        ("UNAUTHENTICATED", 1),
        ("AUTHENTICATED", 2),
        ("ENCRYPTED", 4),
        ("MIXED", 8),
        ("INDIVIDUAL_SESSION_CONTROL", 16),
        ("REFLECT_OCTETS", 32),
        ("SYMMETRICAL_SIZE", 64),
        ("IKEV2_DERIVED", 128),
        ("DSCP_ECN_MONITORING", 256),
        ("PTPV2_TIMESTAMP", 512),
    ]
    assert (SECURITY_MODES, FEATURE_MODES) == (15, 0x3F0)


def test_each_assigned_mode_is_of_security_or_a_feature() -> None:
    assert [mode for mode in Modes if not (mode in SECURITY_MODES) ^ (mode in FEATURE_MODES)] == []


@pytest.mark.parametrize("value", [7, 99, 255])
def test_an_unknown_accept_value_is_a_failure(value: int) -> None:
    assert Accept(value) is Accept.FAILURE


def test_unknown_modes_are_kept_in_the_message_and_nowhere_else() -> None:
    unknown = [Modes(0x80000001 | bits << 10) for bits in range(2000)]
    parsed = [ServerGreeting.parse(bytes(ServerGreeting(modes))).modes for modes in unknown]
    assert parsed == unknown
    assert [int(~modes & modes) for modes in unknown] == [0] * len(unknown)
    # An enum remembers every value that it ever made: 2^32 of them, were it up to the peer.
    assert len(Modes._value2member_map_) <= 1 << 10
