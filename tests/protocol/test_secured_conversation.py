"""The conversation under its cipher: random ones in every mode, and no octet that can be changed."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.test_conversation import ONE, REQUEST, Pair, accepted
from twamp.errors import IntegrityError, LocalProtocolError, RemoteProtocolError
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
from twamp.protocol.conversation import Conversation
from twamp.protocol.crypto import SessionKeys
from twamp.protocol.message import Message
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.states import Role, State, UnexpectedCommand

KEYS = SessionKeys(bytes(range(16)), bytes(range(32)))
SECURED = [Modes.AUTHENTICATED, Modes.ENCRYPTED, Modes.MIXED]


def secured_pair(mode: Modes = Modes.ENCRYPTED) -> Pair:
    ends = Pair()
    ends.server_says(ServerGreeting(Modes(31), count=1024))
    if mode & ~Modes.UNAUTHENTICATED:
        for end in (ends.client, ends.server):
            end.use_keys(KEYS)
    ends.client_says(SetUpResponse(mode, client_iv=b"c" * 16))
    start = ServerStart(Accept.OK, server_iv=b"s" * 16, start_time=7)
    ends.client.receive_data(ends.server.send(start, 0), 0)
    assert ends.client.next_message(0) == start
    return ends


@pytest.mark.parametrize("mode", [Modes.UNAUTHENTICATED, *SECURED])
def test_a_client_may_ask_ahead_of_the_answers(mode: Modes) -> None:
    ends = secured_pair(mode)
    sids = [bytes([number]) * 16 for number in range(3)]
    requests = [ends.client.send(REQUEST, 0) for _ in sids]
    with pytest.raises(LocalProtocolError, match="StartSessions is not for"):
        ends.client.send(StartSessions(), 0)  # that must wait for them
    ends.server.receive_data(b"".join(requests), 0)
    for number, sid in enumerate(sids):
        assert isinstance(ends.server.next_message(0), RequestTWSession)
        ends.client.receive_data(ends.server.send(accepted(sid), 0), 0)
        answer = ends.client.next_message(0)
        assert isinstance(answer, AcceptSession)
        assert answer.sid == sid
        waits = State.ACCEPT if number < 2 else State.REQUEST
        assert ends.client.state is waits
    assert ends.client.accepted == sids
    assert ends.client.send(StartSessions(), 0)


def test_a_pipelining_client_is_understood_in_a_secured_mode() -> None:
    """What it sent before it saw Server-Start was encrypted already."""
    keys = SessionKeys(bytes(range(16)), bytes(range(32)))
    greeting = ServerGreeting(Modes(15), count=1024)
    client, server = secured_pair().client, Conversation(Role.SERVER, now_ns=0)
    server.send(greeting, 0)
    set_up = bytes(SetUpResponse(Modes.ENCRYPTED, client_iv=b"c" * 16))
    server.receive_data(set_up + client.send(REQUEST, 0) + b"more", 0)
    assert isinstance(server.next_message(0), SetUpResponse)
    server.use_keys(keys)
    server.send(ServerStart(Accept.OK, server_iv=b"s" * 16), 0)
    received = server.next_message(0)
    assert isinstance(received, RequestTWSession)
    assert received.sender_port == REQUEST.sender_port


Step = tuple[str, Message]
INDIVIDUAL = Modes.ENCRYPTED | Modes.INDIVIDUAL_SESSION_CONTROL
ROUND: list[Step] = [
    ("client", REQUEST),
    ("server", accepted()),
    ("client", StartSessions()),
    ("server", StartAck(Accept.OK)),
    ("client", StopSessions(Accept.OK, number_of_sessions=1)),
]
ROUND_BY_SID: list[Step] = [
    ("client", REQUEST),
    ("server", accepted()),
    ("client", StartNSessions((ONE,))),
    ("server", StartNAck((ONE,), accept=Accept.OK)),
    ("client", StopNSessions((ONE,))),
    ("server", StopNAck((ONE,), accept=Accept.OK)),
]
CASES = [
    *((mode, ROUND, number) for mode in SECURED for number in range(len(ROUND))),
    *((INDIVIDUAL, ROUND_BY_SID, number) for number in range(len(ROUND_BY_SID))),
]


@pytest.mark.parametrize(
    ("mode", "steps", "number"),
    CASES,
    ids=[
        f"{int(mode)}-{number}-{type(steps[number][1]).__name__}" for mode, steps, number in CASES
    ],
)
def test_no_octet_of_any_message_can_be_changed(
    mode: Modes, steps: list[Step], number: int
) -> None:
    """Each octet in turn, one bit of it: the listener never takes the message for what it was, nor another."""
    length = len(bytes(steps[number][1]))
    for position in range(length):
        ends = secured_pair(mode)
        for speaker, message in steps[:number]:
            says(ends, speaker, message)
        speaker, message = steps[number]
        talking, listening = sides(ends, speaker)
        octets = bytearray(talking.send(message, 0))
        octets[position] ^= 1 << position % 8
        listening.receive_data(bytes(octets), 0)
        try:
            received = listening.next_message(0)
        except RemoteProtocolError:  # mostly an IntegrityError; or no message at all any more
            assert listening.state is State.CLOSED
        else:
            # It became the beginning of a longer message, and waits; or a command of unknown length.
            assert position < 16
            assert received is None or not cast("UnexpectedCommand", received).length_known


def sides(ends: Pair, speaker: str) -> tuple[Conversation, Conversation]:
    pair = (ends.client, ends.server)
    return pair if speaker == "client" else pair[::-1]


def says(ends: Pair, speaker: str, message: Message, piece: int = 1000) -> None:
    talking, listening = sides(ends, speaker)
    octets = talking.send(message, 0)
    for start in range(0, len(octets), piece):
        listening.receive_data(octets[start : start + piece], 0)
    received = listening.next_message(0)
    assert isinstance(received, Message)
    assert bytes(received)[:-16] == bytes(message)[:-16]


@pytest.mark.parametrize("position", range(32, 48))
def test_the_start_time_is_covered_by_the_first_hmac_that_follows(position: int) -> None:
    ends = Pair()
    ends.server_says(ServerGreeting(Modes(15), count=1024))
    for end in (ends.client, ends.server):
        end.use_keys(KEYS)
    ends.client_says(SetUpResponse(Modes.ENCRYPTED, client_iv=b"c" * 16))
    octets = bytearray(ends.server.send(ServerStart(Accept.OK, server_iv=b"s" * 16), 0))
    octets[position] ^= 1
    ends.client.receive_data(bytes(octets), 0)
    assert isinstance(ends.client.next_message(0), ServerStart)
    ends.server.receive_data(ends.client.send(REQUEST, 0), 0)
    ends.server.next_message(0)
    ends.client.receive_data(ends.server.send(accepted(), 0), 0)
    with pytest.raises(IntegrityError):
        ends.client.next_message(0)


def test_a_flipped_bit_ends_the_client_s_side_too() -> None:
    ends = secured_pair()
    ends.server.receive_data(ends.client.send(REQUEST, 0), 0)
    ends.server.next_message(0)
    octets = bytearray(ends.server.send(accepted(), 0))
    octets[3] ^= 1  # the port
    ends.client.receive_data(bytes(octets), 0)
    with pytest.raises(IntegrityError):
        ends.client.next_message(0)
    assert ends.client.state is State.CLOSED


def test_a_replayed_command_ends_a_secured_conversation() -> None:
    ends = secured_pair()
    octets = ends.client.send(REQUEST, 0)
    ends.server.receive_data(octets, 0)
    ends.server.next_message(0)
    ends.server.send(accepted(), 0)
    ends.server.receive_data(octets, 0)
    # The chain of blocks has gone on, so that it is another command now: by these keys, an unknown one.
    assert isinstance(ends.server.next_message(0), UnexpectedCommand)
    assert ends.server.state is State.LAST_ACCEPT


def test_a_secured_mode_cannot_begin_without_keys() -> None:
    server = Conversation(Role.SERVER, now_ns=0)
    server.send(ServerGreeting(Modes(15), count=1024), 0)
    server.receive_data(bytes(SetUpResponse(Modes.MIXED)), 0)
    server.next_message(0)
    with pytest.raises(LocalProtocolError, match="no keys"):
        server.send(ServerStart(Accept.OK), 0)


@given(
    st.sampled_from([Modes.UNAUTHENTICATED, *SECURED]),
    st.lists(st.sampled_from(["request", "refuse", "start", "stop"]), max_size=20),
    st.integers(1, 50),
)
def test_both_ends_agree_through_any_conversation_in_any_mode(
    mode: Modes, steps: list[str], piece: int
) -> None:
    ends = secured_pair(mode)
    for number, step in enumerate(steps):
        running = ends.is_in(State.TEST)
        if step in ("request", "refuse") and not running:
            says(ends, "client", REQUEST, piece)
            answer = accepted(number.to_bytes(16))
            says(
                ends,
                "server",
                answer if step == "request" else AcceptSession(Accept.FAILURE),
                piece,
            )
        elif step == "start" and not running:
            says(ends, "client", StartSessions(), piece)
            says(ends, "server", StartAck(Accept.OK), piece)
        elif step == "stop" and running:
            count = len(ends.client.accepted)
            says(ends, "client", StopSessions(Accept.OK, number_of_sessions=count), piece)
        assert ends.server.state is ends.client.state
        assert ends.server.accepted == ends.client.accepted
