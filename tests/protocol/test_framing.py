"""Framing: how long each message is, in pieces of any size, and octets that are none."""

import pytest

from twamp.errors import IntegrityError, RemoteProtocolError
from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartNAck,
    StartNSessions,
    StartSessions,
    StopNAck,
    StopNSessions,
    StopSessions,
)
from twamp.protocol.crypto import OpeningStream, SealingStream, SessionKeys
from twamp.protocol.framing import ANSWERS, Incoming, command_length, longest_command
from twamp.protocol.message import Message
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.states import Received, State, UnexpectedCommand

SID = bytes(range(16))
REQUEST = RequestTWSession(ip_version=4, sender_port=7000, receiver_port=7001)
KEYS = SessionKeys(bytes(range(16)), bytes(range(32)))
COMMANDS: list[tuple[State, bool, Message]] = [
    (State.SET_UP, False, SetUpResponse(Modes.UNAUTHENTICATED)),
    (State.REQUEST, False, REQUEST),
    (State.REQUEST, False, StartSessions()),
    (State.REQUEST, True, StartNSessions((SID,))),
    (State.REQUEST, True, StopNSessions((SID,))),
    (State.TEST, False, StopSessions(Accept.OK, 1)),
]
SERVER_SAYS: dict[State, Message] = {
    State.GREETING: ServerGreeting(Modes.UNAUTHENTICATED),
    State.START: ServerStart(Accept.OK),
    State.ACCEPT: AcceptSession(Accept.OK, port=7001, sid=SID),
    State.LAST_ACCEPT: AcceptSession(Accept.NOT_SUPPORTED),
    State.START_ACK: StartAck(Accept.OK),
    State.START_N_ACK: StartNAck((SID,), accept=Accept.OK),
    State.STOP_N_ACK: StopNAck((SID,), accept=Accept.OK),
}


def holding(octets: bytes) -> Incoming:
    incoming = Incoming()
    incoming.receive(octets)
    return incoming


def read_command(
    incoming: Incoming, state: State = State.REQUEST, *, sessions: int = 1, individual: bool = False
) -> Received | None:
    return incoming.read_command(state, longest_command(sessions), individual=individual)


@pytest.mark.parametrize(("state", "individual", "message"), COMMANDS, ids=str)
def test_a_command_is_read_when_its_last_octet_is_there(
    state: State, individual: bool, message: Message
) -> None:
    incoming = Incoming()
    for octet in bytes(message):
        assert read_command(incoming, state, individual=individual) is None
        incoming.receive(bytes([octet]))
    incoming.receive(b"\5")
    assert read_command(incoming, state, individual=individual) == message
    assert len(incoming) == 1


@pytest.mark.parametrize("state", ANSWERS)
def test_an_answer_is_read_when_its_last_octet_is_there(state: State) -> None:
    message = SERVER_SAYS[state]
    incoming = Incoming()
    for octet in bytes(message):
        assert incoming.read_answer(state, longest_command(1), None) is None
        incoming.receive(bytes([octet]))
    assert incoming.read_answer(state, longest_command(1), None) == message
    assert len(incoming) == 0


@pytest.mark.parametrize(
    ("command", "length", "known"),
    [(1, 112, False), (3, 32, True), (4, 48, True), (11, 112, True), (200, 48, False)],
)
def test_an_unexpected_command_is_skipped_if_its_length_is_known(
    command: int, length: int, known: bool
) -> None:
    incoming = holding(bytes([command]) + bytes(length - 1) + bytes(REQUEST))
    assert read_command(incoming) == UnexpectedCommand(command, length_known=known)
    assert read_command(incoming) == (REQUEST if known else None)


def test_nothing_but_stop_sessions_is_read_while_sessions_run() -> None:
    with pytest.raises(RemoteProtocolError, match="command 5 while test sessions run"):
        read_command(holding(bytes(REQUEST)), State.TEST)


def test_a_command_names_no_more_sessions_than_there_are() -> None:
    many = StartNSessions((SID,) * 6)
    assert read_command(holding(bytes(many)), sessions=6, individual=True) == many
    with pytest.raises(RemoteProtocolError, match="a message of 128; 112 octets at most"):
        read_command(holding(bytes(many)[:16]), sessions=5, individual=True)


def test_an_answer_names_no_more_sessions_than_there_are() -> None:
    many = StartNAck((SID,) * 6, accept=Accept.OK)
    with pytest.raises(RemoteProtocolError, match="a message of 128; 112 octets at most"):
        holding(bytes(many)[:16]).read_answer(State.START_N_ACK, longest_command(5), None)
    with pytest.raises(RemoteProtocolError, match="octets that begin no message"):
        holding(bytes(16)).read_answer(State.START_N_ACK, longest_command(5), None)


def test_octets_that_came_before_the_keys_are_decrypted_too() -> None:
    sealed = SealingStream(KEYS, bytes(16)).seal(bytes(REQUEST))
    incoming = holding(sealed[:40])
    incoming.open_from_here(OpeningStream(KEYS, bytes(16)))
    assert len(incoming) == 40
    incoming.receive(sealed[40:])
    read = read_command(incoming)
    assert isinstance(read, RequestTWSession)
    assert read.sender_port == 7000


def test_a_flipped_bit_is_found_before_the_message_is_read() -> None:
    sealed = bytearray(SealingStream(KEYS, bytes(16)).seal(bytes(REQUEST)))
    sealed[17] ^= 1
    incoming = Incoming()
    incoming.open_from_here(OpeningStream(KEYS, bytes(16)))
    incoming.receive(bytes(sealed))
    with pytest.raises(IntegrityError):
        read_command(incoming)


@pytest.mark.parametrize("command", [0, 1, 6, 8, 10, *range(12, 256)])
def test_an_encrypted_command_of_unknown_length_is_unexpected_as_in_clear(command: int) -> None:
    incoming = Incoming()
    incoming.open_from_here(OpeningStream(KEYS, bytes(16)))
    incoming.receive(SealingStream(KEYS, bytes(16)).seal(bytes([command]) + b"\xff" * 31))
    assert read_command(incoming) == UnexpectedCommand(command, length_known=False)
    assert len(incoming) == 0


def test_the_hmac_of_an_unexpected_command_is_checked_where_it_can_be_found() -> None:
    for octet, is_whole in ((0, True), (1, False)):
        sealed = bytearray(SealingStream(KEYS, bytes(16)).seal(b"\4" + bytes(47)))
        sealed[17] ^= octet
        incoming = Incoming()
        incoming.open_from_here(OpeningStream(KEYS, bytes(16)))
        incoming.receive(bytes(sealed))
        if is_whole:
            assert read_command(incoming) == UnexpectedCommand(4, length_known=True)
        else:
            with pytest.raises(IntegrityError):
                read_command(incoming)


def test_a_server_start_is_opened_only_if_it_accepts() -> None:
    start = ServerStart(Accept.OK, server_iv=b"s" * 16, start_time=7)
    octets = bytes(start)
    sealed = octets[:-16] + SealingStream(KEYS, b"s" * 16).seal_block(octets[-16:])
    assert sealed != octets
    assert holding(sealed).read_answer(State.START, longest_command(0), KEYS) == start
    refusal = ServerStart(Accept.FAILURE)
    incoming = holding(bytes(refusal))
    assert incoming.read_answer(State.START, longest_command(0), KEYS) == refusal


# ---- lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [row[2] for row in COMMANDS[1:]], ids=str)
def test_the_first_block_tells_the_length_of_a_command(message: Message) -> None:
    octets = bytes(message)
    assert command_length(octets[:16]) == command_length(octets) == len(octets)


@pytest.mark.parametrize("number", [7, 8, 9, 10])
def test_the_length_is_what_the_count_says_however_large(number: int) -> None:
    first_block = bytes([number]) + b"\xff" * 15
    assert command_length(first_block) == 32 + 16 * (2**32 - 1)


@pytest.mark.parametrize("number", [0, 1, 4, 6, 11, 12, 255])
def test_other_command_numbers_have_no_known_length(number: int) -> None:
    assert command_length(bytes([number]) + bytes(15)) is None
