"""TWAMP-Control as one state machine for both ends (RFC 5357 section 3, RFC 5938 section 3).

A :class:`Conversation` has no socket and no clock: octets and the time go in, messages and deadlines
come out.  Each state has one speaker (:mod:`twamp.protocol.states`); while it is our turn to answer, octets
that arrive wait, so a peer that pipelines its commands is served in order.

In the secured modes the messages are encrypted (RFC 4656 sections 3.1 to 3.4): :meth:`Conversation.use_keys`
sets the keys, before the Server-Start or the Set-Up-Response with which that begins.

::

    conversation.receive_data(octets, now_ns)          octets = conversation.send(message, now_ns)
    while message := conversation.next_message(now_ns):
        ...                                            conversation.get_timer() -> when to call
                                                       conversation.handle_timer(now_ns)
"""

from dataclasses import dataclass
from enum import Enum

from twamp.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartNAck,
    StartNSessions,
    StopNAck,
    StopNSessions,
    StopSessions,
)
from twamp.protocol.crypto import OpeningStream, SealingStream, SessionKeys
from twamp.protocol.framing import ANSWERS, Incoming, longest_command
from twamp.protocol.message import BLOCK, Message
from twamp.protocol.registries import SECURITY_MODES, Accept, Modes
from twamp.protocol.states import (
    Received,
    Role,
    State,
    check_mode,
    may_ask_ahead,
    next_state,
    transition_of,
)
from twamp.protocol.timestamps import NS


class Expiry(Enum):
    """The deadline that has passed."""

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

    servwait_ns: int = 900 * NS
    handshake_ns: int = 30 * NS
    message_ns: int = 60 * NS
    response_ns: int = 10 * NS


class Conversation:
    """One TWAMP-Control connection, seen from ``role``.

    All times are ns of one monotonic clock of the caller.  ``offered`` is the Modes of the greeting,
    ``mode`` that of the Set-Up-Response; ``accepted`` holds the SID of each session that Stop-Sessions must
    count, also if the Server has given one twice.
    """

    def __init__(self, role: Role, *, now_ns: int, timers: Timers | None = None) -> None:
        self.role = role
        self.state = State.GREETING
        self.offered = Modes(0)
        self.mode = Modes(0)
        self.accepted: list[bytes] = []
        self.timers = timers or Timers()
        self._began_ns = now_ns
        self._incoming = Incoming()
        self._entered_ns = now_ns
        self._heard_ns = now_ns
        self._message_began_ns: int | None = None
        self._servwait_runs = True
        self._unacknowledged: set[bytes] = set()
        self._ahead = 0  # requests sent before the one that is to be answered was
        self._keys: SessionKeys | None = None
        self._client_iv = b""
        self._sealing: SealingStream | None = None

    @property
    def secured(self) -> bool:
        """Whether the chosen mode encrypts the control connection."""
        return bool(self.mode & SECURITY_MODES & ~Modes.UNAUTHENTICATED)

    @property
    def individual(self) -> bool:
        """Whether RFC 5938's Individual Session Control was agreed on."""
        return bool(self.mode & self.offered & Modes.INDIVIDUAL_SESSION_CONTROL)

    def use_keys(self, keys: SessionKeys) -> None:
        """Sets the session keys of a secured mode: from the Token, or for the Token that is sent next."""
        self._keys = keys

    # ---- in ------------------------------------------------------------------------------------

    @property
    def our_turn(self) -> bool:
        """Whether the peer waits for our message; octets that it sends meanwhile wait, too."""
        return self.state is not State.CLOSED and self.state.speaker is self.role

    def receive_data(self, octets: bytes, now_ns: int) -> None:
        """Takes the octets that the connection delivered, in pieces of any size."""
        if octets:
            self._heard_ns = now_ns
            if not len(self._incoming):
                self._message_began_ns = now_ns
            self._incoming.receive(octets)

    def next_message(self, now_ns: int) -> Received | None:
        """The next whole message, or None: more octets are needed, or it is our turn.

        Raises :class:`~twamp.errors.RemoteProtocolError` for a message that the peer may not send; the
        conversation is closed then.
        """
        if self.state is State.CLOSED or self.our_turn:
            return None
        try:
            message = self._read()
            if message is None:
                return None
            self._follow(message, self.role.peer, now_ns)
        except ProtocolError:
            self._enter(State.CLOSED, now_ns)
            raise
        self._message_began_ns = now_ns if len(self._incoming) else None
        return message

    def _read(self) -> Received | None:
        longest = longest_command(len(self.accepted))
        if self.role is Role.CONTROL_CLIENT:
            return self._incoming.read_answer(self.state, longest, self._keys)
        return self._incoming.read_command(self.state, longest, individual=self.individual)

    def receive_eof(self, now_ns: int) -> None:
        """Notes that the peer has closed; an error if it owed us a message (RFC 4656 section 3.1)."""
        state = self.state
        self._enter(State.CLOSED, now_ns)
        if state is State.CLOSED:
            return
        incomplete = len(self._incoming)
        if incomplete and state.speaker is not self.role:
            raise RemoteProtocolError(
                f"the connection ended after {incomplete} octets of a message"
            )
        if self.role is Role.CONTROL_CLIENT and state in ANSWERS:
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
        if isinstance(message, RequestTWSession) and may_ask_ahead(self.role, self.state):
            self._ahead += 1
        else:
            self._follow(message, self.role, now_ns)
        return self._seal(message, octets)

    def _seal(self, message: Message, octets: bytes) -> bytes:
        """The octets to send for ``octets``; starts the encryption of each direction where it begins."""
        if self._sealing is not None:
            return self._sealing.seal(octets)
        if self._keys is not None and isinstance(message, SetUpResponse):
            self._sealing = SealingStream(self._keys, message.client_iv)
        elif self._keys is not None and isinstance(message, ServerStart) and not message.accept:
            self._sealing = SealingStream(self._keys, message.server_iv)
            self._incoming.open_from_here(OpeningStream(self._keys, self._client_iv))
            # Only the last block is encrypted; the first HMAC covers it (RFC 5357 section 3.2).
            return octets[:-BLOCK] + self._sealing.seal_block(octets[-BLOCK:])
        return octets

    def close(self, now_ns: int) -> None:
        """Ends the conversation: nothing more is sent."""
        self._enter(State.CLOSED, now_ns)

    # ---- time ----------------------------------------------------------------------------------

    def get_timer(self) -> int | None:
        """The time at which :meth:`handle_timer` must be called, or None."""
        deadline = self._deadline()
        return None if deadline is None else deadline[0]

    def handle_timer(self, now_ns: int) -> Expiry | None:
        """Closes the conversation if a deadline has passed, and returns that deadline."""
        deadline = self._deadline()
        if deadline is None or now_ns < deadline[0]:
            return None
        self._enter(State.CLOSED, now_ns)
        return deadline[1]

    def resume_servwait(self, now_ns: int) -> None:
        """Restarts SERVWAIT: REFWAIT has ended all sessions, or none runs (RFC 5357 section 3.1)."""
        if not self._servwait_runs:
            self._servwait_runs = True
            self._heard_ns = now_ns

    def suspend_servwait(self) -> None:
        """Stops SERVWAIT while a session runs (RFC 5357 section 3.1, RFC 5938 section 3.6)."""
        self._servwait_runs = False

    def _deadline(self) -> tuple[int, Expiry] | None:
        if self.state is State.CLOSED:
            return None
        if self.role is Role.CONTROL_CLIENT:
            if self.our_turn:
                return None
            return self._entered_ns + self.timers.response_ns, Expiry.RESPONSE
        deadlines = []
        if self.state.is_handshake:
            deadlines.append((self._began_ns + self.timers.handshake_ns, Expiry.HANDSHAKE))
        elif self._message_began_ns is not None:
            deadlines.append((self._message_began_ns + self.timers.message_ns, Expiry.MESSAGE))
        if self._servwait_runs:
            deadlines.append((self._heard_ns + self.timers.servwait_ns, Expiry.SERVWAIT))
        return min(deadlines, key=lambda deadline: deadline[0], default=None)

    # ---- the walk through the table --------------------------------------------------------------

    def _follow(self, message: Received, speaker: Role, now_ns: int) -> None:
        transition = transition_of(self.state, type(message), individual=self.individual)
        fault = (
            f"{type(message).__name__} is not for the {speaker.value} now: {self.state.value}"
            if transition is None or speaker is not self.state.speaker
            else self._note(message)
        )
        if fault is not None or transition is None:
            kind = LocalProtocolError if speaker is self.role else RemoteProtocolError
            raise kind(str(fault), accept=Accept.NOT_SUPPORTED, section="RFC 5357 section 3")
        if isinstance(message, StartNAck | StopNAck) and self._unacknowledged:
            return  # one command may be answered by several Acks (RFC 5938 section 3.3)
        self._enter(next_state(transition, message), now_ns)
        if isinstance(message, AcceptSession) and self._ahead:
            self._ahead -= 1
            self._enter(State.ACCEPT, now_ns)

    def _note(self, message: Received) -> str | None:
        """Remembers the fields that later messages depend on; returns the fault of this one, or None."""
        match message:
            case ServerGreeting():
                self.offered = message.modes
            case SetUpResponse():
                self.mode = message.mode
                self._client_iv = message.client_iv
            case AcceptSession(accept=Accept.OK):
                self.accepted.append(message.sid)
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
            for sid in set(message.sids) & set(self.accepted):
                self.accepted.remove(sid)
        return None

    def _enter(self, state: State, now_ns: int) -> None:
        if state is State.TEST:
            self.suspend_servwait()
        elif self.state is State.TEST:
            self.resume_servwait(now_ns)
        self.state = state
        self._entered_ns = now_ns
