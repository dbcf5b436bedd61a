"""TWAMP-Control as one state machine for both ends (RFC 5357 section 3, RFC 5938 section 3).

A :class:`Conversation` has no socket and no clock: octets and the time go in, messages and deadlines
come out.  ``TRANSITIONS`` is the whole of the rules: what we may not send is exactly what the peer may
not send us.  Each state has one speaker; while it is our turn to answer, octets that arrive wait, so a
peer that pipelines its commands is served in order.

In the secured modes a cipher lies under all this (RFC 4656 sections 3.1 to 3.4): :meth:`Conversation.use_keys`
says with which keys, before the Server-Start or the Set-Up-Response that begins it.

::

    conversation.receive_data(octets, now_ns)          octets = conversation.send(message, now_ns)
    while message := conversation.next_message(now_ns):
        ...                                            conversation.get_timer() -> when to call
                                                       conversation.handle_timer(now_ns)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from twamp.errors import IntegrityError, LocalProtocolError, ProtocolError, RemoteProtocolError
from twamp.protocol.control_messages import (
    FEATURE_MODES,
    SECURITY_MODES,
    Accept,
    AcceptSession,
    Command,
    Modes,
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
    command_length,
)
from twamp.protocol.crypto import OpeningStream, SealingStream, SessionKeys
from twamp.protocol.message import Message

BLOCK: Final = 16
SECOND: Final = 1_000_000_000


class Role(Enum):
    """The two ends of a TWAMP-Control connection (RFC 5357 section 1.2)."""

    SERVER = "Server"
    CONTROL_CLIENT = "Control-Client"

    @property
    def peer(self) -> "Role":
        return Role.CONTROL_CLIENT if self is Role.SERVER else Role.SERVER


class State(Enum):
    """Named after the message that is due; the value says who owes it."""

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


_CLIENT_SPEAKS: Final = frozenset({State.SET_UP, State.REQUEST, State.TEST})
_HANDSHAKE: Final = frozenset({State.GREETING, State.SET_UP, State.START})


@dataclass(frozen=True, slots=True)
class UnexpectedCommand:
    """A command that has no business here: answered with Accept-Session, Accept 3 (RFC 5357 section 3.5).

    ``length_known`` tells whether the next command can be found behind it; if not, the answer is the last.
    """

    command: int
    length_known: bool


@dataclass(frozen=True, slots=True)
class Transition:
    """Where a message leads: ``to``, or ``refused`` when the message carries a refusal.

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

# What the Control-Client reads next, by state; N-Acks have a length of their own.
_ANSWERS: Final[Mapping[State, type[Message]]] = MappingProxyType(
    {
        State.GREETING: ServerGreeting,
        State.START: ServerStart,
        State.ACCEPT: AcceptSession,
        State.LAST_ACCEPT: AcceptSession,
        State.START_ACK: StartAck,
        State.START_N_ACK: StartNAck,
        State.STOP_N_ACK: StopNAck,
    }
)

_COMMANDS: Final[Mapping[int, type[Message]]] = MappingProxyType(
    {
        Command.REQUEST_TW_SESSION: RequestTWSession,
        Command.START_SESSIONS: StartSessions,
        Command.STOP_SESSIONS: StopSessions,
        Command.START_N_SESSIONS: StartNSessions,
        Command.STOP_N_SESSIONS: StopNSessions,
    }
)

# Commands of other protocols whose length is fixed: Fetch-Session (RFC 4656 section 3.9) and
# Request-TW-Micro-Sessions, which has the layout of Request-TW-Session.
_FOREIGN_LENGTHS: Final[Mapping[int, int]] = MappingProxyType(
    {Command.FETCH_SESSION: 48, Command.REQUEST_TW_MICRO_SESSIONS: 112}
)


class Expiry(Enum):
    """Which deadline passed."""

    SERVWAIT = "no command within SERVWAIT"
    HANDSHAKE = "not set up within the handshake timeout"
    MESSAGE = "a message stayed incomplete"
    RESPONSE = "no answer in time"


@dataclass(frozen=True, kw_only=True)
class Timers:
    """How long an end waits, in ns.

    ``servwait_ns``: the Server's patience between commands (RFC 5357 section 3.1); ``handshake_ns``: from
    the beginning until the Server-Start, whatever trickles in; ``message_ns``: for the rest of a message
    whose first octet has come (RFC 4656 section 3: minutes, 30 at most); ``response_ns``: the
    Control-Client's for an answer.
    """

    servwait_ns: int = 900 * SECOND
    handshake_ns: int = 30 * SECOND
    message_ns: int = 60 * SECOND
    response_ns: int = 10 * SECOND


def check_mode(offered: Modes, chosen: Modes) -> str | None:
    """Why ``chosen`` is no answer to ``offered``, or None (RFC 4656 section 3.1, RFC 5618 section 3.1).

    Exactly one security bit, and an offered one; features only if offered; bits without a meaning are
    ignored.
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


class Conversation:
    """One TWAMP-Control connection, seen from ``role``.

    All times are ns of one monotonic clock of the caller.  ``offered`` and ``mode`` are what the greeting
    and the Set-Up-Response said; ``accepted`` holds the SIDs that Stop-Sessions must count.
    """

    def __init__(self, role: Role, *, now_ns: int, timers: Timers | None = None) -> None:
        self.role = role
        self.state = State.GREETING
        self.offered = Modes(0)
        self.mode = Modes(0)
        self.accepted: dict[bytes, None] = {}
        self.timers = timers or Timers()
        self._began_ns = now_ns
        self._buffer = bytearray()
        self._entered_ns = now_ns
        self._heard_ns = now_ns
        self._message_began_ns: int | None = None
        self._servwait_runs = True
        self._unacknowledged: set[bytes] = set()
        self._ahead = 0  # requests sent before the one that is to be answered was
        self._keys: SessionKeys | None = None
        self._client_iv = b""
        self._sealing: SealingStream | None = None
        self._opening: OpeningStream | None = None

    @property
    def secured(self) -> bool:
        """Whether the mode that was chosen encrypts the control connection."""
        return bool(self.mode & SECURITY_MODES & ~Modes.UNAUTHENTICATED)

    def use_keys(self, keys: SessionKeys) -> None:
        """The session keys of a secured mode: from the Token, or for the Token that is sent next."""
        self._keys = keys

    # ---- in ------------------------------------------------------------------------------------

    @property
    def our_turn(self) -> bool:
        """Whether the peer waits for us; what it sends meanwhile waits, too."""
        return self.state is not State.CLOSED and self._speaker is self.role

    def receive_data(self, octets: bytes, now_ns: int) -> None:
        """Takes what the connection delivered, in pieces of any size."""
        if octets:
            self._heard_ns = now_ns
            if not self._incomplete:
                self._message_began_ns = now_ns
            self._buffer += octets if self._opening is None else self._opening.decrypt(octets)

    def next_message(self, now_ns: int) -> Received | None:
        """The next whole message, or None: more octets are needed, or it is our turn.

        Raises :class:`~twamp.errors.RemoteProtocolError` for what the peer may not send; the conversation
        is closed then.
        """
        if self.state is State.CLOSED or self.our_turn:
            return None
        try:
            message = self._read_command() if self.role is Role.SERVER else self._read_answer()
            if message is None:
                return None
            self._follow(message, self.role.peer, now_ns)
        except ProtocolError:
            self._enter(State.CLOSED, now_ns)
            raise
        self._message_began_ns = now_ns if self._incomplete else None
        return message

    def receive_eof(self, now_ns: int) -> None:
        """The peer has closed; an error if it owed us something (RFC 4656 section 3.1)."""
        owed = self.role is Role.CONTROL_CLIENT and self.state in _ANSWERS
        state = self.state
        self._enter(State.CLOSED, now_ns)
        if state is State.CLOSED:
            return
        if self._incomplete and self._speaker_of(state) is not self.role:
            raise RemoteProtocolError(
                f"the connection ended after {self._incomplete} octets of a message"
            )
        if owed:
            raise RemoteProtocolError(f"the connection ended while the {state.value}")

    # ---- out -----------------------------------------------------------------------------------

    def send(self, message: Message, now_ns: int) -> bytes:
        """The octets of ``message``; raises :class:`~twamp.errors.LocalProtocolError` out of turn."""
        if isinstance(message, ServerStart) and message.accept is Accept.OK:
            fault = check_mode(self.offered, self.mode)
            if fault is None and self.secured and self._keys is None:
                fault = "a secured mode has no keys"
            if fault is not None:
                raise LocalProtocolError(fault, section="RFC 4656 section 3.1")
        octets = bytes(message)
        if self._may_ask_ahead and isinstance(message, RequestTWSession):
            self._ahead += 1
        else:
            self._follow(message, self.role, now_ns)
        return self._seal(message, octets)

    @property
    def _may_ask_ahead(self) -> bool:
        """A Control-Client may ask for further sessions before it has the answer: they come in order."""
        return self.role is Role.CONTROL_CLIENT and self.state is State.ACCEPT

    def close(self, now_ns: int) -> None:
        """We say no more."""
        self._enter(State.CLOSED, now_ns)

    # ---- time ----------------------------------------------------------------------------------

    def get_timer(self) -> int | None:
        """When :meth:`handle_timer` wants to be called, or None."""
        deadline = self._deadline()
        return None if deadline is None else deadline[0]

    def handle_timer(self, now_ns: int) -> Expiry | None:
        """Closes the conversation if a deadline has passed, and says which."""
        deadline = self._deadline()
        if deadline is None or now_ns < deadline[0]:
            return None
        self._enter(State.CLOSED, now_ns)
        return deadline[1]

    def resume_servwait(self, now_ns: int) -> None:
        """REFWAIT has expired on all sessions, or none runs: SERVWAIT counts again (RFC 5357 section 3.1)."""
        if not self._servwait_runs:
            self._servwait_runs = True
            self._heard_ns = now_ns

    def suspend_servwait(self) -> None:
        """A session runs (RFC 5357 section 3.1, RFC 5938 section 3.6)."""
        self._servwait_runs = False

    def _deadline(self) -> tuple[int, Expiry] | None:
        if self.state is State.CLOSED:
            return None
        if self.role is Role.CONTROL_CLIENT:
            if self.our_turn:
                return None
            return self._entered_ns + self.timers.response_ns, Expiry.RESPONSE
        deadlines = []
        if self.state in _HANDSHAKE:
            deadlines.append((self._began_ns + self.timers.handshake_ns, Expiry.HANDSHAKE))
        elif self._message_began_ns is not None:
            deadlines.append((self._message_began_ns + self.timers.message_ns, Expiry.MESSAGE))
        if self._servwait_runs:
            deadlines.append((self._heard_ns + self.timers.servwait_ns, Expiry.SERVWAIT))
        return min(deadlines, key=lambda deadline: deadline[0], default=None)

    # ---- the walk through the table --------------------------------------------------------------

    @property
    def individual(self) -> bool:
        """Whether RFC 5938's Individual Session Control was agreed on."""
        return bool(self.mode & self.offered & Modes.INDIVIDUAL_SESSION_CONTROL)

    @property
    def _speaker(self) -> Role:
        return self._speaker_of(self.state)

    @staticmethod
    def _speaker_of(state: State) -> Role:
        return Role.CONTROL_CLIENT if state in _CLIENT_SPEAKS else Role.SERVER

    def _legal(self, kind: type[Received]) -> Transition | None:
        transition = TRANSITIONS[self.state].get(kind)
        if transition is None or transition.individual is None:
            return transition
        return transition if transition.individual is self.individual else None

    def _follow(self, message: Received, speaker: Role, now_ns: int) -> None:
        transition = self._legal(type(message))
        fault = (
            f"{type(message).__name__} is not for the {speaker.value} now: {self.state.value}"
            if transition is None or speaker is not self._speaker
            else self._note(message)
        )
        if fault is not None or transition is None:
            kind = LocalProtocolError if speaker is self.role else RemoteProtocolError
            raise kind(str(fault), accept=Accept.NOT_SUPPORTED, section="RFC 5357 section 3")
        if isinstance(message, StartNAck | StopNAck) and self._unacknowledged:
            return  # one command may be answered by several Acks (RFC 5938 section 3.3)
        if transition.refused is not None and _is_refusal(message):
            self._enter(transition.refused, now_ns)
        else:
            self._enter(transition.to, now_ns)
        if isinstance(message, AcceptSession) and self._ahead:
            self._ahead -= 1
            self._enter(State.ACCEPT, now_ns)

    def _note(self, message: Received) -> str | None:
        """Remembers what later messages depend on; returns what is wrong with this one."""
        match message:
            case ServerGreeting():
                self.offered = message.modes
            case SetUpResponse():
                self.mode = message.mode
                self._client_iv = message.client_iv
            case AcceptSession(accept=Accept.OK):
                self.accepted[message.sid] = None
            case StopSessions():
                return self._note_stop(message)
            case StartNSessions() | StopNSessions():
                self._unacknowledged = set(message.sids)
            case StartNAck() | StopNAck():
                return self._note_acknowledged(message)
        return None

    def _note_stop(self, message: StopSessions) -> str | None:
        # RFC 5357 section 3.8: all that were accepted, also those whose REFWAIT has expired.
        if message.number_of_sessions != len(self.accepted):
            return (
                f"Stop-Sessions counts {message.number_of_sessions} sessions,"
                f" {len(self.accepted)} were accepted"
            )
        self.accepted.clear()
        return None

    def _note_acknowledged(self, message: StartNAck | StopNAck) -> str | None:
        strangers = set(message.sids) - self._unacknowledged
        if strangers:
            return (
                f"{type(message).__name__} names {len(strangers)} sessions that were not asked for"
            )
        self._unacknowledged -= set(message.sids)
        if isinstance(message, StopNAck) and message.accept is Accept.OK:
            for sid in message.sids:
                self.accepted.pop(sid, None)
        return None

    def _enter(self, state: State, now_ns: int) -> None:
        if state is State.TEST:
            self.suspend_servwait()
        elif self.state is State.TEST:
            self.resume_servwait(now_ns)
        self.state = state
        self._entered_ns = now_ns

    # ---- the cipher ----------------------------------------------------------------------------

    def _seal(self, message: Message, octets: bytes) -> bytes:
        """What goes out for ``octets``; begins the two streams where they begin."""
        if self._sealing is not None:
            return self._sealing.seal(octets)
        if self._keys is not None and isinstance(message, SetUpResponse):
            self._sealing = SealingStream(self._keys, message.client_iv)
        elif self._keys is not None and isinstance(message, ServerStart) and not message.accept:
            self._sealing = SealingStream(self._keys, message.server_iv)
            self._open_from_here(OpeningStream(self._keys, self._client_iv))
            # Only the last block is encrypted; the first HMAC covers it (RFC 5357 section 3.2).
            return octets[:-BLOCK] + self._sealing.seal_block(octets[-BLOCK:])
        return octets

    def _open_from_here(self, opening: OpeningStream) -> None:
        """What is buffered already was encrypted by a peer that did not wait for us."""
        self._opening = opening
        self._buffer[:] = opening.decrypt(bytes(self._buffer))

    def _open_server_start(self, octets: bytes) -> bytes:
        """Server-Start in clear; one that refuses is so already (RFC 4656 section 3.1)."""
        start = ServerStart.parse(octets)
        if self._keys is None or start.accept is not Accept.OK:
            return octets
        opening = OpeningStream(self._keys, start.server_iv)
        block = opening.decrypt(octets[-BLOCK:])
        opening.cover(block)
        self._open_from_here(opening)
        return octets[:-BLOCK] + block

    # ---- framing -------------------------------------------------------------------------------

    @property
    def _incomplete(self) -> int:
        """Octets of the peer that make no whole message yet."""
        return len(self._buffer) + (0 if self._opening is None else self._opening.partial)

    def _take(self, length: int) -> bytes | None:
        """A whole message, its HMAC checked before anything in it is used (RFC 4656 section 6.10)."""
        if len(self._buffer) < length:
            return None
        octets = bytes(self._buffer[:length])
        del self._buffer[:length]
        if self._opening is not None:
            self._opening.verify(octets)
        return octets

    def _read_answer(self) -> Message | None:
        kind = _ANSWERS[self.state]
        length = kind.LAYOUT.size
        if kind in (StartNAck, StopNAck):
            if len(self._buffer) < BLOCK:
                return None
            length = self._bounded_length(command_length(bytes(self._buffer[:BLOCK])))
        octets = self._take(length)
        if octets is None:
            return None
        return kind.parse(self._open_server_start(octets) if kind is ServerStart else octets)

    def _read_command(self) -> Received | None:
        if self.state is State.SET_UP:
            octets = self._take(SetUpResponse.LAYOUT.size)
            return None if octets is None else SetUpResponse.parse(octets)
        if len(self._buffer) < BLOCK:
            return None
        first_block = bytes(self._buffer[:BLOCK])
        kind = _COMMANDS.get(first_block[0])
        if kind is not None and self._legal(kind):
            octets = self._take(self._bounded_length(command_length(first_block)))
            return None if octets is None else kind.parse(octets)
        if self.state is State.TEST:
            # RFC 4656 section 3.4: between Start-Sessions and Stop-Sessions, nothing else.
            raise RemoteProtocolError(
                f"command {first_block[0]} while test sessions run",
                accept=Accept.NOT_SUPPORTED,
                section="RFC 4656 section 3.4",
            )
        return self._read_unexpected(first_block)

    def _read_unexpected(self, first_block: bytes) -> UnexpectedCommand | None:
        length = _FOREIGN_LENGTHS.get(first_block[0])
        if length is None and first_block[0] in _COMMANDS:
            length = command_length(first_block)
        if length is None or length > self._longest:
            if self._opening is not None:
                raise IntegrityError(
                    f"command {first_block[0]} has no HMAC that could be found",
                    section="RFC 4656 section 6.10",
                )
            self._buffer.clear()
            return UnexpectedCommand(first_block[0], length_known=False)
        if self._take(length) is None:
            return None
        return UnexpectedCommand(first_block[0], length_known=True)

    @property
    def _longest(self) -> int:
        """The longest command that makes sense: the number of SIDs in it drives what we allocate."""
        return max(RequestTWSession.LAYOUT.size, 2 * BLOCK + BLOCK * len(self.accepted))

    def _bounded_length(self, length: int | None) -> int:
        if length is None or length > self._longest:
            what = "octets that begin no message" if length is None else f"a message of {length}"
            raise RemoteProtocolError(
                f"{what}; {self._longest} octets at most are possible here",
                accept=Accept.NOT_SUPPORTED,
                section="RFC 5938 section 3.2",
            )
        return length


def _is_refusal(message: Received) -> bool:
    """Whether the message says no: what else ``Transition.refused`` is for."""
    match message:
        case ServerGreeting():
            return not message.modes
        case SetUpResponse():
            return not message.mode
        case UnexpectedCommand():
            return not message.length_known
    accept = getattr(message, "accept", Accept.OK)
    return bool(accept is not Accept.OK)
