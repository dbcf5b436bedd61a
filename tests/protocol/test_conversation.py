"""The state machine: vectors, pieces, turns, timers, and what the peer may not say."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import conversations
from twamp.errors import LocalProtocolError, RemoteProtocolError
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
from twamp.protocol.conversation import Conversation, Expiry, Timers
from twamp.protocol.crypto import SessionKeys, open_token, token_key
from twamp.protocol.message import Message
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.states import TRANSITIONS, Received, Role, State, UnexpectedCommand
from twamp.protocol.timestamps import NS

ONE, TWO = b"\1" * 16, b"\2" * 16
REQUEST = RequestTWSession(ip_version=4, sender_port=7000, receiver_port=7001)


def accepted(sid: bytes = ONE) -> AcceptSession:
    return AcceptSession(Accept.OK, port=7001, sid=sid)


def pair(modes: Modes = Modes.UNAUTHENTICATED, timers: Timers | None = None) -> "Pair":
    ends = Pair(timers)
    ends.server_says(ServerGreeting(modes, count=1024))
    ends.client_says(SetUpResponse(modes))
    ends.server_says(ServerStart(Accept.OK))
    return ends


class Pair:
    """Both ends, joined: what one sends the other receives, and their states never differ."""

    def __init__(self, timers: Timers | None = None) -> None:
        self.now_ns = 0
        self.server = Conversation(Role.SERVER, now_ns=0, timers=timers)
        self.client = Conversation(Role.CONTROL_CLIENT, now_ns=0)

    def _says(self, speaker: Conversation, listener: Conversation, message: Message) -> None:
        listener.receive_data(speaker.send(message, self.now_ns), self.now_ns)
        assert listener.next_message(self.now_ns) == message
        assert speaker.state is listener.state

    def is_in(self, state: State) -> bool:
        return self.server.state is state

    def server_says(self, message: Message) -> None:
        self._says(self.server, self.client, message)

    def client_says(self, message: Message) -> None:
        self._says(self.client, self.server, message)


def messages(conversation: Conversation) -> Iterator[Received]:
    while (message := conversation.next_message(0)) is not None:
        yield message


def test_a_whole_conversation_in_two_rounds() -> None:
    ends = pair()
    for _ in range(2):
        for sid in (ONE, TWO):
            ends.client_says(REQUEST)
            ends.server_says(accepted(sid))
        ends.client_says(StartSessions())
        ends.server_says(StartAck(Accept.OK))
        assert ends.is_in(State.TEST)
        ends.client_says(StopSessions(Accept.OK, number_of_sessions=2))
        assert ends.is_in(State.REQUEST)


def test_sessions_are_counted_and_not_their_sids() -> None:
    """A Server that gives one SID twice still wants to hear of two sessions."""
    ends = pair()
    for sid in (ONE, ONE):
        ends.client_says(REQUEST)
        ends.server_says(accepted(sid))
    ends.client_says(StartSessions())
    ends.server_says(StartAck(Accept.OK))
    with pytest.raises(LocalProtocolError, match="counts 1 sessions, 2 were accepted"):
        ends.client.send(StopSessions(Accept.OK, number_of_sessions=1), 0)
    ends.client_says(StopSessions(Accept.OK, number_of_sessions=2))


def test_individual_sessions_start_and_stop_by_sid() -> None:
    ends = pair(Modes.UNAUTHENTICATED | Modes.INDIVIDUAL_SESSION_CONTROL)
    for sid in (ONE, TWO):
        ends.client_says(REQUEST)
        ends.server_says(accepted(sid))
    ends.client_says(StartNSessions((ONE, TWO)))
    ends.server_says(StartNAck((TWO,), accept=Accept.OK))
    assert ends.is_in(State.START_N_ACK)  # one session is still unanswered
    ends.server_says(StartNAck((ONE,), accept=Accept.TEMPORARY_RESOURCE_LIMITATION))
    assert ends.is_in(State.REQUEST)
    ends.client_says(StopNSessions((TWO,)))
    ends.server_says(StopNAck((TWO,), accept=Accept.OK))
    assert ends.client.accepted == [ONE]
    with pytest.raises(LocalProtocolError):
        ends.client.send(StartSessions(), 0)


def test_an_ack_for_a_session_nobody_asked_about_is_refused() -> None:
    ends = pair(Modes.UNAUTHENTICATED | Modes.INDIVIDUAL_SESSION_CONTROL)
    ends.client_says(REQUEST)
    ends.server_says(accepted(ONE))
    ends.client_says(StartNSessions((ONE,)))
    with pytest.raises(LocalProtocolError, match="not asked for"):
        ends.server.send(StartNAck((TWO,), accept=Accept.OK), 0)


def test_start_n_cannot_name_more_sessions_than_exist() -> None:
    ends = pair(Modes.UNAUTHENTICATED | Modes.INDIVIDUAL_SESSION_CONTROL)
    many = StartNSessions(tuple(n.to_bytes(16) for n in range(100)))
    ends.server.receive_data(bytes(many)[:16], 0)
    with pytest.raises(RemoteProtocolError, match="at most"):
        ends.server.next_message(0)


def test_a_server_cannot_accept_a_mode_it_did_not_offer() -> None:
    server = Conversation(Role.SERVER, now_ns=0)
    server.send(ServerGreeting(Modes.ENCRYPTED, count=1024), 0)
    server.receive_data(bytes(SetUpResponse(Modes.UNAUTHENTICATED)), 0)
    assert server.next_message(0) == SetUpResponse(Modes.UNAUTHENTICATED)
    with pytest.raises(LocalProtocolError, match="not offered"):
        server.send(ServerStart(Accept.OK), 0)
    server.send(ServerStart(Accept.NOT_SUPPORTED), 0)
    assert server.state is State.CLOSED


@pytest.mark.parametrize("piece", [1, 7, 16, 1000])
def test_a_pipelining_client_is_served_in_order(piece: int) -> None:
    octets = b"".join(
        bytes(message)
        for message in (
            SetUpResponse(Modes.UNAUTHENTICATED),
            REQUEST,
            REQUEST,
            StartSessions(),
            StopSessions(Accept.OK, number_of_sessions=2),
        )
    )
    answers: dict[type[Received], list[Message]] = {
        SetUpResponse: [ServerStart(Accept.OK)],
        RequestTWSession: [accepted(TWO), accepted(ONE)],
        StartSessions: [StartAck(Accept.OK)],
        StopSessions: [],
    }
    server = Conversation(Role.SERVER, now_ns=0)
    server.send(ServerGreeting(Modes.UNAUTHENTICATED, count=1024), 0)
    seen = []
    for start in range(0, len(octets), piece):
        server.receive_data(octets[start : start + piece], 0)
        for message in messages(server):
            seen.append(type(message).__name__)
            waiting = answers[type(message)]
            if waiting:
                assert server.next_message(0) is None  # it is our turn
                server.send(waiting.pop(), 0)
    assert seen == [
        "SetUpResponse",
        "RequestTWSession",
        "RequestTWSession",
        "StartSessions",
        "StopSessions",
    ]


@pytest.mark.parametrize(
    ("command", "length", "known"),
    [(1, 112, False), (3, 32, True), (4, 48, True), (11, 112, True), (200, 48, False)],
)
def test_an_unexpected_command_is_answered_and_skipped_if_possible(
    command: int, length: int, known: bool
) -> None:
    server = pair().server
    server.receive_data(bytes([command]) + bytes(length - 1), 0)
    assert server.next_message(0) == UnexpectedCommand(command, length_known=known)
    server.send(AcceptSession(Accept.NOT_SUPPORTED), 0)
    assert server.state is (State.REQUEST if known else State.CLOSED)
    if known:
        server.receive_data(bytes(REQUEST), 0)
        assert server.next_message(0) == REQUEST


def test_only_stop_sessions_is_legal_while_sessions_run() -> None:
    ends = pair()
    ends.client_says(StartSessions())
    ends.server_says(StartAck(Accept.OK))
    ends.server.receive_data(bytes(REQUEST), 0)
    with pytest.raises(RemoteProtocolError, match="while test sessions run"):
        ends.server.next_message(0)
    assert ends.is_in(State.CLOSED)


@pytest.mark.parametrize("count", [0, 2])
def test_stop_sessions_must_count_right_at_both_ends(count: int) -> None:
    ends = pair()
    ends.client_says(REQUEST)
    ends.server_says(accepted())
    ends.client_says(StartSessions())
    ends.server_says(StartAck(Accept.OK))
    wrong = StopSessions(Accept.OK, number_of_sessions=count)
    with pytest.raises(LocalProtocolError, match="1 were accepted"):
        ends.client.send(wrong, 0)
    ends.server.receive_data(bytes(wrong), 0)
    with pytest.raises(RemoteProtocolError, match="1 were accepted"):
        ends.server.next_message(0)


def test_a_refused_session_is_not_counted() -> None:
    ends = pair()
    ends.client_says(REQUEST)
    ends.server_says(AcceptSession(Accept.TEMPORARY_RESOURCE_LIMITATION))
    ends.client_says(StartSessions())
    ends.server_says(StartAck(Accept.OK))
    ends.client_says(StopSessions(Accept.OK, number_of_sessions=0))


def test_what_the_server_may_not_say_is_an_error_at_both_ends() -> None:
    ends = pair()
    with pytest.raises(LocalProtocolError):
        ends.server.send(StartAck(Accept.OK), 0)
    with pytest.raises(LocalProtocolError):
        ends.client.send(accepted(), 0)


# ---- timers ----------------------------------------------------------------------------------------


def test_servwait_runs_between_commands_and_not_during_the_test() -> None:
    ends = pair()
    assert ends.server.get_timer() == 900 * NS
    ends.now_ns = 100 * NS
    ends.client_says(REQUEST)
    ends.server_says(accepted())
    assert ends.server.get_timer() == 1000 * NS
    ends.client_says(StartSessions())
    ends.server_says(StartAck(Accept.OK))
    assert ends.server.get_timer() is None
    ends.now_ns = 5000 * NS
    ends.client_says(StopSessions(Accept.OK, number_of_sessions=1))
    assert ends.server.get_timer() == 5900 * NS
    assert ends.server.handle_timer(5899 * NS) is None
    assert ends.server.handle_timer(5900 * NS) is Expiry.SERVWAIT
    assert ends.is_in(State.CLOSED)


def test_servwait_resumes_when_refwait_has_ended_every_session() -> None:
    ends = pair()
    ends.client_says(StartSessions())
    ends.server_says(StartAck(Accept.OK))
    ends.server.resume_servwait(70 * NS)
    assert ends.server.get_timer() == 970 * NS
    ends.client_says(StopSessions(Accept.OK, number_of_sessions=0))  # a late Stop is still right


def test_a_message_that_trickles_ends_the_connection() -> None:
    server = pair().server
    for second in range(59):
        server.receive_data(bytes(REQUEST)[second : second + 1], second * NS)
        assert server.next_message(second * NS) is None
    assert server.get_timer() == 60 * NS
    assert server.handle_timer(60 * NS) is Expiry.MESSAGE


def test_the_handshake_has_one_deadline_whatever_trickles_in() -> None:
    server = Conversation(Role.SERVER, now_ns=0, timers=Timers(handshake_ns=5 * NS))
    server.send(ServerGreeting(Modes.UNAUTHENTICATED, count=1024), NS)
    octets = bytes(SetUpResponse(Modes.UNAUTHENTICATED))
    server.receive_data(octets[:-1], 2 * NS)
    assert server.get_timer() == 5 * NS
    server.receive_data(octets[-1:], 4 * NS)
    assert server.next_message(4 * NS) is not None
    assert server.get_timer() == 5 * NS  # and while the Server makes up its mind
    assert server.handle_timer(5 * NS) is Expiry.HANDSHAKE


def test_after_the_handshake_its_deadline_is_gone() -> None:
    server = pair(timers=Timers(handshake_ns=5 * NS)).server
    assert server.get_timer() == 900 * NS


def test_the_client_waits_for_answers_only_so_long() -> None:
    client = Conversation(Role.CONTROL_CLIENT, now_ns=0)
    assert client.get_timer() == 10 * NS
    client.receive_data(bytes(ServerGreeting(Modes.UNAUTHENTICATED, count=1024)), NS)
    client.next_message(NS)
    assert client.get_timer() is None  # our turn
    client.send(SetUpResponse(Modes.UNAUTHENTICATED), 2 * NS)
    assert client.handle_timer(12 * NS) is Expiry.RESPONSE


# ---- the end of the stream ---------------------------------------------------------------------------


def test_eof_between_messages_is_silent_for_a_server_and_inside_one_an_error() -> None:
    pair().server.receive_eof(0)
    server = pair().server
    server.receive_data(bytes(REQUEST)[:20], 0)
    server.next_message(0)
    with pytest.raises(RemoteProtocolError, match="20 octets"):
        server.receive_eof(0)


def test_eof_instead_of_an_answer_is_an_error() -> None:
    client = pair().client
    client.send(REQUEST, 0)
    with pytest.raises(RemoteProtocolError, match="owes Accept-Session"):
        client.receive_eof(0)


def test_nothing_is_read_or_sent_once_closed() -> None:
    server = pair().server
    server.close(0)
    server.receive_data(bytes(REQUEST), 0)
    assert server.next_message(0) is None
    assert server.get_timer() is None
    with pytest.raises(LocalProtocolError):
        server.send(accepted(), 0)


# ---- any octets, any order ---------------------------------------------------------------------------

COMMANDS = st.sampled_from(
    [
        bytes(REQUEST),
        bytes(StartSessions()),
        bytes(StopSessions(Accept.OK, number_of_sessions=0)),
        bytes(StopSessions(Accept.OK, number_of_sessions=1)),
        bytes(StartNSessions((ONE,))),
        bytes(StopNSessions((ONE,))),
        b"\4" + bytes(47),
        b"\xff" + bytes(15),
    ]
)


@given(
    st.sampled_from([1, 17]),
    st.lists(COMMANDS | st.binary(max_size=200), max_size=12),
    st.integers(1, 300),
)
def test_a_server_survives_any_octets(mode: int, parts: list[bytes], piece: int) -> None:
    server = pair(Modes(mode)).server
    octets = b"".join(parts)
    try:
        for start in range(0, len(octets), piece):
            server.receive_data(octets[start : start + piece], 0)
            for message in messages(server):
                answer = answer_to(message)
                if answer is not None:
                    server.send(answer, 0)
    except RemoteProtocolError:
        assert server.state is State.CLOSED


def answer_to(message: Received) -> Message | None:
    match message:
        case RequestTWSession():
            return accepted()
        case UnexpectedCommand():
            return AcceptSession(Accept.NOT_SUPPORTED)
        case StartSessions():
            return StartAck(Accept.OK)
        case StartNSessions(sids=sids):
            return StartNAck(sids, accept=Accept.NOT_SUPPORTED)
        case StopNSessions(sids=sids):
            return StopNAck(sids, accept=Accept.NOT_SUPPORTED)
    return None


@given(st.binary(max_size=400), st.integers(1, 100))
def test_a_client_survives_any_octets(octets: bytes, piece: int) -> None:
    client = Conversation(Role.CONTROL_CLIENT, now_ns=0)
    try:
        for start in range(0, len(octets), piece):
            client.receive_data(octets[start : start + piece], 0)
            for message in messages(client):
                assert isinstance(message, ServerGreeting)
                client.send(SetUpResponse(Modes.UNAUTHENTICATED), 0)
                break
    except RemoteProtocolError:
        assert client.state is State.CLOSED


# ---- the vectors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vector", [pytest.param(conversation, id=name) for name, conversation in conversations()]
)
@pytest.mark.parametrize("role", Role)
def test_recorded_conversations_replay(vector: dict[str, Any], role: Role) -> None:
    """One end is ours, the other the recording: what we send is what was recorded, octet by octet."""
    greeting, set_up, start = (
        bytes.fromhex(vector[key]) for key in ("greeting", "setup_response", "server_start")
    )
    ours = Conversation(role, now_ns=0)
    our_direction = "s2c" if role is Role.SERVER else "c2s"
    steps = [("s2c", greeting, greeting), ("c2s", set_up, set_up), ("s2c", start, in_clear(vector))]
    for recorded in vector["messages"]:
        wire = recorded["ciphertext"] if "ciphertext" in recorded else recorded["wire"]
        clear = bytes.fromhex(recorded["plaintext"])
        steps.append((recorded["dir"], bytes.fromhex(wire), clear))
    for number, (direction, wire, clear) in enumerate(steps):
        if vector["mode"] & 14 and number == (2 if role is Role.SERVER else 1):
            ours.use_keys(recorded_keys(vector))
        if direction == our_direction:
            message = kind_of(ours, clear).parse(clear)
            assert ours.send(message, 0) == wire
        else:
            for octet in wire:
                assert ours.next_message(0) is None
                ours.receive_data(bytes([octet]), 0)
            received = ours.next_message(0)
            assert isinstance(received, Message)
            assert bytes(received) == clear
    assert ours.secured == bool(vector["mode"] & 14)


def recorded_keys(vector: dict[str, Any]) -> SessionKeys:
    """The session keys, taken out of the recorded Token with the passphrase."""
    greeting = bytes.fromhex(vector["greeting"])
    count = int.from_bytes(greeting[48:52])
    key = token_key(bytes.fromhex(vector["passphrase"]), greeting[32:48], count)
    keys = open_token(key, greeting[16:32], bytes.fromhex(vector["setup_response"])[84:148])
    assert keys is not None
    return keys


def in_clear(vector: dict[str, Any]) -> bytes:
    start = bytes.fromhex(vector["server_start"])
    if not vector["mode"] & 14:
        return start
    block = vector["server_start_block3"]
    return start[:32] + bytes.fromhex(block if isinstance(block, str) else block["plaintext"])


def kind_of(conversation: Conversation, octets: bytes) -> type[Message]:
    """The one message that may begin with this octet in this state."""
    legal = [kind for kind in TRANSITIONS[conversation.state] if issubclass(kind, Message)]
    matching = [kind for kind in legal if getattr(kind, "COMMAND", octets[0]) == octets[0]]
    assert len(matching) == 1
    return matching[0]
