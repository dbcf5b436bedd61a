"""The states of a TWAMP-Control connection, and every rule about them (RFC 5357 section 3, RFC 5938).

:data:`TRANSITIONS` holds the order of messages for both ends: a message that one end may not send now is
exactly a message that the other may not receive now.  In each state one end speaks and the other waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

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
from twamp.protocol.message import Message
from twamp.protocol.registries import FEATURE_MODES, SECURITY_MODES, Accept, Modes


class Role(Enum):
    """The two ends of a TWAMP-Control connection (RFC 5357 section 1.2)."""

    SERVER = "Server"
    CONTROL_CLIENT = "Control-Client"

    @property
    def peer(self) -> "Role":
        return Role.CONTROL_CLIENT if self is Role.SERVER else Role.SERVER


class State(Enum):
    """The message that is due; the value names the end that owes it."""

    GREETING = "Server owes Server-Greeting"
    SET_UP = "Control-Client owes Set-Up-Response"
    START = "Server owes Server-Start"
    REQUEST = "Control-Client may command"
    ACCEPT = "Server owes Accept-Session"
    LAST_ACCEPT = "Server owes an Accept-Session that ends the connection"
    START_ACK = "Server owes Start-Ack"
    TEST = "Test sessions run; Control-Client may stop them"
    START_N_ACK = "Server owes Start-N-Ack"
    STOP_N_ACK = "Server owes Stop-N-Ack"
    CLOSED = "Nothing more is said"

    @property
    def speaker(self) -> Role:
        """The end that may send a message now."""
        return Role.CONTROL_CLIENT if self in _CLIENT_SPEAKS else Role.SERVER

    @property
    def is_handshake(self) -> bool:
        """Whether the connection is not set up yet."""
        return self in _HANDSHAKE


_CLIENT_SPEAKS: Final = frozenset({State.SET_UP, State.REQUEST, State.TEST})
_HANDSHAKE: Final = frozenset({State.GREETING, State.SET_UP, State.START})


@dataclass(frozen=True, slots=True)
class UnexpectedCommand:
    """A command that is not allowed now: answered by Accept-Session, Accept 3 (RFC 5357 section 3.5).

    ``length_known`` tells whether the next command can be found behind it; if not, the answer is the last.
    """

    command: int
    length_known: bool


@dataclass(frozen=True, slots=True)
class Transition:
    """The state that a message leads to: ``to``, or ``refused`` when the message carries a refusal.

    ``individual`` limits the row to conversations with (True) or without (False) RFC 5938's Individual
    Session Control; None is both.
    """

    to: State
    refused: State | None = None
    individual: bool | None = None


Received = Message | UnexpectedCommand

TRANSITIONS: Final[Mapping[State, Mapping[type[Received], Transition]]] = MappingProxyType(
    {
        State.GREETING: {ServerGreeting: Transition(State.SET_UP, refused=State.CLOSED)},
        State.SET_UP: {SetUpResponse: Transition(State.START, refused=State.CLOSED)},
        State.START: {ServerStart: Transition(State.REQUEST, refused=State.CLOSED)},
        State.REQUEST: {
            RequestTWSession: Transition(State.ACCEPT),
            StartSessions: Transition(State.START_ACK, individual=False),
            StartNSessions: Transition(State.START_N_ACK, individual=True),
            StopNSessions: Transition(State.STOP_N_ACK, individual=True),
            UnexpectedCommand: Transition(State.ACCEPT, refused=State.LAST_ACCEPT),
        },
        State.ACCEPT: {AcceptSession: Transition(State.REQUEST, refused=State.REQUEST)},
        State.LAST_ACCEPT: {AcceptSession: Transition(State.CLOSED, refused=State.CLOSED)},
        State.START_ACK: {StartAck: Transition(State.TEST, refused=State.CLOSED)},
        State.TEST: {StopSessions: Transition(State.REQUEST, refused=State.REQUEST)},
        State.START_N_ACK: {StartNAck: Transition(State.REQUEST, refused=State.REQUEST)},
        State.STOP_N_ACK: {StopNAck: Transition(State.REQUEST, refused=State.REQUEST)},
        State.CLOSED: {},
    }
)


def transition_of(state: State, kind: type[Received], *, individual: bool) -> Transition | None:
    """The row for a message of this kind in this state; None when it is not allowed."""
    transition = TRANSITIONS[state].get(kind)
    if transition is None or transition.individual in (None, individual):
        return transition
    return None


def next_state(transition: Transition, message: Received) -> State:
    """The state that ``message`` leads to."""
    if transition.refused is not None and _is_refusal(message):
        return transition.refused
    return transition.to


def _is_refusal(message: Received) -> bool:
    match message:
        case ServerGreeting():
            return not message.modes
        case SetUpResponse():
            return not message.mode
        case UnexpectedCommand():
            return not message.length_known
    accept = getattr(message, "accept", Accept.OK)
    return bool(accept is not Accept.OK)


def may_ask_ahead(role: Role, state: State) -> bool:
    """Whether a Control-Client may request another session before it has the answer to its last request.

    The Server answers in order, so each Accept-Session has its request.
    """
    return role is Role.CONTROL_CLIENT and state is State.ACCEPT


def check_mode(offered: Modes, chosen: Modes) -> str | None:
    """The fault of ``chosen`` as an answer to ``offered``, or None.

    RFC 4656 section 3.1, RFC 5618 section 3.1: exactly one security bit, and an offered one; features only if
    offered; bits without a meaning are ignored.
    """
    security = chosen & SECURITY_MODES
    if security.bit_count() != 1:
        return f"Mode {int(chosen)} has {security.bit_count()} security bits, not one"
    if not security & offered:
        return f"Mode {int(security)} was not offered; on offer: {int(offered)}"
    features = chosen & FEATURE_MODES & ~offered
    if features:
        return f"features {int(features)} were not offered; on offer: {int(offered)}"
    return None
