"""The octets of a peer, cut into messages: which message comes next, and how long it is.

A message's length is known from its first block at the latest.  The number of SIDs in it comes from the
peer, so it is bounded before anything is allocated by it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from twamp.errors import RemoteProtocolError
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
from twamp.protocol.crypto import OpeningStream, SessionKeys
from twamp.protocol.message import BLOCK, Message
from twamp.protocol.registries import Accept, Command
from twamp.protocol.states import Received, State, UnexpectedCommand, transition_of

# The message that the Control-Client reads next, by state; N-Acks have a length of their own.
ANSWERS: Final[Mapping[State, type[Message]]] = MappingProxyType(
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


def command_length(first_block: bytes) -> int | None:
    """The length of a message in octets, from its first block; None for other command numbers.

    A caller that allocates by it must bound it: Number of Sessions is whatever the peer says.
    """
    match first_block[0]:
        case Command.REQUEST_TW_SESSION:
            return RequestTWSession.LAYOUT.size
        case Command.START_SESSIONS | Command.STOP_SESSIONS:
            return StartSessions.LAYOUT.size
        case (
            Command.START_N_SESSIONS
            | Command.START_N_ACK
            | Command.STOP_N_SESSIONS
            | Command.STOP_N_ACK
        ):
            return BLOCK * (2 + int.from_bytes(first_block[12:16]))
    return None


def longest_command(sessions: int) -> int:
    """The length of the longest command that makes sense while ``sessions`` are accepted."""
    return max(RequestTWSession.LAYOUT.size, 2 * BLOCK + BLOCK * sessions)


class Incoming:
    """The octets that came from the peer and are no message yet.

    The methods that read a message return None while it is not complete, and raise
    :class:`~twamp.errors.RemoteProtocolError` for octets that cannot be one.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._opening: OpeningStream | None = None

    def __len__(self) -> int:
        """The number of octets that wait, with those of an incomplete cipher block."""
        return len(self._buffer) + (0 if self._opening is None else self._opening.partial)

    def receive(self, octets: bytes) -> None:
        """Adds octets of the peer, in pieces of any size."""
        self._buffer += octets if self._opening is None else self._opening.decrypt(octets)

    def open_from_here(self, opening: OpeningStream) -> None:
        """Decrypts from now on, first the octets that wait: a peer that sends early has encrypted them."""
        self._opening = opening
        self._buffer[:] = opening.decrypt(bytes(self._buffer))

    def read_answer(self, state: State, longest: int, keys: SessionKeys | None) -> Message | None:
        """The Server's message that is due in ``state``; ``keys`` open a Server-Start that accepts."""
        kind = ANSWERS[state]
        length = kind.LAYOUT.size
        if kind in (StartNAck, StopNAck):
            if len(self._buffer) < BLOCK:
                return None
            length = _bounded(command_length(bytes(self._buffer[:BLOCK])), longest)
        octets = self._take(length)
        if octets is None:
            return None
        return kind.parse(self._open_start(octets, keys) if kind is ServerStart else octets)

    def read_command(self, state: State, longest: int, *, individual: bool) -> Received | None:
        """The Control-Client's next message in ``state``, whichever it is."""
        if state is State.SET_UP:
            octets = self._take(SetUpResponse.LAYOUT.size)
            return None if octets is None else SetUpResponse.parse(octets)
        if len(self._buffer) < BLOCK:
            return None
        first_block = bytes(self._buffer[:BLOCK])
        kind = _COMMANDS.get(first_block[0])
        if kind is not None and transition_of(state, kind, individual=individual):
            octets = self._take(_bounded(command_length(first_block), longest))
            return None if octets is None else kind.parse(octets)
        if state is State.TEST:
            # RFC 4656 section 3.4: between Start-Sessions and Stop-Sessions, nothing else.
            raise RemoteProtocolError(
                f"command {first_block[0]} while test sessions run",
                accept=Accept.NOT_SUPPORTED,
                section="RFC 4656 section 3.4",
            )
        return self._read_unexpected(first_block, longest)

    def _read_unexpected(self, first_block: bytes, longest: int) -> UnexpectedCommand | None:
        length = _FOREIGN_LENGTHS.get(first_block[0])
        if length is None and first_block[0] in _COMMANDS:
            length = command_length(first_block)
        if length is None or length > longest:
            # Its HMAC cannot be found, nor the next command: it is answered (RFC 5357 section 3.5 has no
            # exception for the secured modes), and the connection ends.
            self._buffer.clear()
            return UnexpectedCommand(first_block[0], length_known=False)
        if self._take(length) is None:
            return None
        return UnexpectedCommand(first_block[0], length_known=True)

    def _take(self, length: int) -> bytes | None:
        """A whole message, its HMAC checked before anything in it is used (RFC 4656 section 6.10)."""
        if len(self._buffer) < length:
            return None
        octets = bytes(self._buffer[:length])
        del self._buffer[:length]
        if self._opening is not None:
            self._opening.verify(octets)
        return octets

    def _open_start(self, octets: bytes, keys: SessionKeys | None) -> bytes:
        """A Server-Start in clear; one that refuses is not encrypted (RFC 4656 section 3.1)."""
        start = ServerStart.parse(octets)
        if keys is None or start.accept is not Accept.OK:
            return octets
        opening = OpeningStream(keys, start.server_iv)
        block = opening.decrypt(octets[-BLOCK:])
        opening.cover(block)
        self.open_from_here(opening)
        return octets[:-BLOCK] + block


def _bounded(length: int | None, longest: int) -> int:
    if length is None or length > longest:
        what = "octets that begin no message" if length is None else f"a message of {length}"
        raise RemoteProtocolError(
            f"{what}; {longest} octets at most are possible here",
            accept=Accept.NOT_SUPPORTED,
            section="RFC 5938 section 3.2",
        )
    return length
