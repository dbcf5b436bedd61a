"""The states: the table of transitions, who speaks, refusals, and the modes that may be chosen."""

import pytest

from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartNSessions,
    StartSessions,
    StopSessions,
)
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.states import (
    TRANSITIONS,
    Received,
    Role,
    State,
    UnexpectedCommand,
    check_mode,
    may_ask_ahead,
    next_state,
    transition_of,
)


def test_every_state_but_closed_has_a_way_on() -> None:
    assert set(TRANSITIONS) == set(State)
    assert [state for state in State if not TRANSITIONS[state]] == [State.CLOSED]


def test_every_state_but_closed_is_reached_from_the_greeting() -> None:
    reached = {State.GREETING}
    while True:
        rows = [row for state in reached for row in TRANSITIONS[state].values()]
        further = {state for row in rows for state in (row.to, row.refused) if state is not None}
        if further <= reached:
            break
        reached |= further
    assert reached == set(State)


def test_the_two_ends_are_each_other_s_peer() -> None:
    assert [role.peer for role in Role] == list(reversed(Role))


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_the_speaker_is_the_end_that_the_state_names(state: State) -> None:
    assert state.speaker.value in state.value
    assert state.speaker.peer.value not in state.value


def test_the_handshake_ends_with_server_start() -> None:
    handshake = [state for state in State if state.is_handshake]
    assert handshake == [State.GREETING, State.SET_UP, State.START]


@pytest.mark.parametrize(("individual", "starts"), [(False, StartSessions), (True, StartNSessions)])
def test_individual_session_control_replaces_start_sessions(
    individual: bool, starts: type[Received]
) -> None:
    found = [
        kind
        for kind in (StartSessions, StartNSessions)
        if transition_of(State.REQUEST, kind, individual=individual)
    ]
    assert found == [starts]
    assert transition_of(State.REQUEST, RequestTWSession, individual=individual) is not None
    assert transition_of(State.TEST, RequestTWSession, individual=individual) is None


@pytest.mark.parametrize(
    ("state", "message", "then"),
    [
        (State.GREETING, ServerGreeting(Modes.ENCRYPTED), State.SET_UP),
        (State.GREETING, ServerGreeting(Modes(0)), State.CLOSED),
        (State.SET_UP, SetUpResponse(Modes.ENCRYPTED), State.START),
        (State.SET_UP, SetUpResponse(Modes(0)), State.CLOSED),
        (State.START, ServerStart(Accept.OK), State.REQUEST),
        (State.START, ServerStart(Accept.FAILURE), State.CLOSED),
        (State.REQUEST, UnexpectedCommand(4, length_known=True), State.ACCEPT),
        (State.REQUEST, UnexpectedCommand(200, length_known=False), State.LAST_ACCEPT),
        (State.ACCEPT, AcceptSession(Accept.NOT_SUPPORTED), State.REQUEST),
        (State.LAST_ACCEPT, AcceptSession(Accept.NOT_SUPPORTED), State.CLOSED),
        (State.TEST, StopSessions(Accept.FAILURE, 1), State.REQUEST),
    ],
    ids=str,
)
def test_a_refusal_leads_elsewhere(state: State, message: Received, then: State) -> None:
    transition = transition_of(state, type(message), individual=False)
    assert transition is not None
    assert next_state(transition, message) is then


def test_only_a_control_client_that_waits_for_accept_session_asks_ahead() -> None:
    ahead = [(role, state) for role in Role for state in State if may_ask_ahead(role, state)]
    assert ahead == [(Role.CONTROL_CLIENT, State.ACCEPT)]


@pytest.mark.parametrize(
    ("offered", "chosen", "fault"),
    [
        (1, 1, None),
        (15, 4, None),
        (1, 1 | 1 << 30, None),  # a bit without meaning is ignored (RFC 4656 section 3.1)
        (1, 2, "not offered"),
        (2, 1, "not offered"),
        (3, 3, "2 security bits"),
        (1, 16, "0 security bits"),
        (1, 17, "features 16 were not offered"),
        (17, 17, None),
    ],
)
def test_the_chosen_mode_is_checked_against_the_offer(
    offered: int, chosen: int, fault: str | None
) -> None:
    found = check_mode(Modes(offered), Modes(chosen))
    assert found is None if fault is None else fault in str(found)
