"""What every message has in common."""

import pytest

from twamp.errors import LocalProtocolError, RemoteProtocolError
from twamp.protocol.control_messages import Accept, AcceptSession, Modes, SetUpResponse, StartNAck


def test_the_text_of_a_message_leaves_out_what_is_zero() -> None:
    assert str(AcceptSession(Accept.NOT_SUPPORTED)) == "AcceptSession accept=NOT_SUPPORTED"
    assert str(SetUpResponse(Modes.UNAUTHENTICATED)) == "SetUpResponse mode=UNAUTHENTICATED"
    message = AcceptSession(Accept.OK, port=862, sid=b"\xab" * 16)
    assert str(message) == f"AcceptSession port=862 sid={'ab' * 16}"


def test_a_wrong_length_names_both_lengths() -> None:
    with pytest.raises(RemoteProtocolError, match="AcceptSession has 48 octets, not 47"):
        AcceptSession.parse(bytes(47))


def test_octets_are_neither_cut_nor_filled_up() -> None:
    with pytest.raises(LocalProtocolError, match=r"AcceptSession\.sid has 15 octets; it takes 16"):
        bytes(AcceptSession(Accept.OK, sid=bytes(15)))


def test_fields_are_converted_once_parsed() -> None:
    message = StartNAck((bytes(16),), accept=Accept.FAILURE)
    assert type(StartNAck.parse(bytes(message)).accept) is Accept
