"""One TWAMP-Control connection, from the greeting to its end (RFC 5357 section 3).

A connection is a coroutine that reads, asks the Conversation for the next message, and answers it; a
message is handled by the method ``on_`` + its name.  A client can end its own connection, and no other,
by what it sends or does not send.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twamp.config.classes import NO_CLASS
from twamp.config.reflector import ReflectorConfig
from twamp.control.admission import Admission, client_of
from twamp.control.authenticator import Authenticator, user_of
from twamp.control.channel import Channel
from twamp.control.requests import Limits, Refusal, judge
from twamp.control.sessions import (
    UNPROTECTED,
    Control,
    GrantedSession,
    Protected,
    Sessions,
    SessionState,
)
from twamp.control.turns import Turns
from twamp.endpoint import Endpoint
from twamp.errors import IntegrityError, ProtocolError
from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartSessions,
    StopSessions,
)
from twamp.protocol.conversation import Conversation, Expiry, Timers
from twamp.protocol.crypto import SessionKeys, packet_keys
from twamp.protocol.message import Message
from twamp.protocol.registries import SECURITY_MODES, Accept, Modes
from twamp.protocol.states import Received, Role, State, UnexpectedCommand, check_mode
from twamp.protocol.timestamps import NS

logger = logging.getLogger("twamp.connection")

SESSIONS_A_TURN = 16  # that a connection starts, stops or ends in a turn of the event loop

# The events of a Server that are counted, beside refusals.
EVENTS = (
    *("accept_failed", "authentication_failed", "clock_stepped", "connection_failed"),
    *("hmac_failed", "interface_lost"),
    *("maximum_connection_duration", "mode_refused", "protocol_error", "reload_failed"),
    *("servwait", "unexpected_command", "unhandled"),
)


@dataclass(eq=False)
class Service:
    """The state that all connections of a Server share; a reload replaces ``config`` and ``offered``."""

    config: ReflectorConfig
    offered: Modes
    start_time: int  # RFC 4656 section 3.1: the same for every client of this instance
    admission: "Admission[Connection]"
    authenticator: Authenticator
    sessions: Sessions
    events: Counter[str]
    turns: Turns
    established: int = 0  # since the start
    handshake_timeouts: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    of_class: Counter[str] = field(default_factory=Counter)  # connections that are set up
    draining: bool = False

    @property
    def timers(self) -> Timers:
        return Timers(
            servwait_ns=self.config.server_inactivity_timeout * NS,
            handshake_ns=self.config.handshake_timeout * NS,
        )


class Connection:
    """One TWAMP-Control connection and the test sessions asked for on it."""

    _ids = itertools.count(1)

    def __init__(
        self,
        service: Service,
        channel: Channel,
        local: Endpoint,
        remote: Endpoint,
    ) -> None:
        self.id = next(self._ids)
        self.local = local
        self.remote = remote
        self.began_ns = self.heard_ns = time.monotonic_ns()
        self.mode = Modes(0)
        self.user: str | None = None
        self.client_class = NO_CLASS
        self._is_of_class = False
        self.sessions: list[GrantedSession] = []
        self._service = service
        self.channel = channel
        self._client = client_of(remote.address)
        self._outgoing = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end_reason = ""
        self._duration_timer: asyncio.TimerHandle | None = None
        self._ring = service.authenticator.ring(service.config.pbkdf2_count)
        self.greeting = ServerGreeting(
            service.offered,
            challenge=secrets.token_bytes(16),
            salt=self._ring.salt,
            count=self._ring.count,
        )
        self._keys: SessionKeys | None = None
        self._conversation = Conversation(Role.SERVER, now_ns=self.began_ns, timers=service.timers)

    @property
    def state(self) -> State:
        return self._conversation.state

    @property
    def has_sessions(self) -> bool:
        """Whether one of its test sessions has not ended."""
        return any(session.state is not SessionState.ENDED for session in self.sessions)

    def serve(self) -> asyncio.Task[None]:
        """Serves the connection until it ends; sessions that are not stopped end with it."""
        self._task = asyncio.get_running_loop().create_task(self._serve())
        return self._task

    async def _serve(self) -> None:
        self._log("connection_start", "connected to %s", self.local)
        reason = "shutting down"
        try:
            reason = await self._converse()
        except IntegrityError as error:
            self._service.events["hmac_failed"] += 1
            reason = f"an HMAC is wrong: {error}"
        except ProtocolError as error:
            self._service.events["protocol_error"] += 1
            reason = f"protocol error: {error}"
        except OSError as error:
            reason = f"connection lost: {error}"
        except asyncio.CancelledError:
            if not self._end_reason:
                raise
            reason = self._end_reason
        finally:
            self._task = None
            self._cancel_timers()
            try:
                await self._abandon_sessions()
                await self.channel.close(bytes(self._outgoing))
            finally:
                self._leave_class()
                self._service.admission.end(self)
                self._log("connection_end", "disconnected: %s", reason, reason=reason)

    def end(self, reason: str) -> None:
        """Ends the connection at once, whatever it waits for."""
        if not self._end_reason:
            self._end_reason = reason
            if self._task is not None:
                self._task.cancel()

    def reconfigure(self) -> None:
        """Applies the timeouts of the Service's new config."""
        self._conversation.timers = self._service.timers
        self._watch()
        self._watch_duration()

    async def _converse(self) -> str:
        """Reads and answers until one end closes; returns the reason."""
        self._watch()
        self._watch_duration()
        await self._service.turns.take(self._client)
        if self.channel.is_hung_up():
            return "closed by the client"
        self._send(self.greeting)
        while self.state is not State.CLOSED:
            self._watch()
            await self._flush()
            octets = await self.channel.read()
            self.heard_ns = time.monotonic_ns()
            if not octets:
                self._conversation.receive_eof(self.heard_ns)
                return "closed by the client"
            self._conversation.receive_data(octets, self.heard_ns)
            while (message := await self._next_message()) is not None:
                logger.debug("%s > %s", self.remote, message)
                answer = await _HANDLERS[type(message)](self, message)
                if answer is not None:
                    self._send(answer)
        return "closed by the server"

    async def _next_message(self) -> Received | None:
        """The client's next message, in its turn: others have theirs before the next one."""
        await self._service.turns.take(self._client)
        return self._conversation.next_message(time.monotonic_ns())

    async def _a_turn_each(
        self, sessions: Sequence[GrantedSession]
    ) -> AsyncIterator[GrantedSession]:
        """Some sessions in each turn of the event loop."""
        for number, session in enumerate(sessions, 1):
            yield session
            if number % SESSIONS_A_TURN == 0:
                await self._service.turns.take(self._client)

    def _send(self, message: Message) -> None:
        logger.debug("%s < %s", self.remote, message)
        self._outgoing += self._conversation.send(message, time.monotonic_ns())

    async def _flush(self) -> None:
        """Writes all answers at once: a client may have sent many commands together."""
        if self._outgoing:
            octets = bytes(self._outgoing)
            self._outgoing.clear()
            await self.channel.write(octets)

    def _log(self, event: str, text: str, *values: object, **fields: object) -> None:
        """Logs an event of the connection, as a line and as fields."""
        logger.info(
            f"%s {text}",
            self.remote,
            *values,
            extra={
                "fields": {"event": event, "connection": self.id, "client": str(self.remote)}
                | fields
            },
        )

    # ---- deadlines -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Arms the timer for the conversation's next deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ns = self._conversation.get_timer()
        if due_ns is not None:
            delay = max(0, due_ns - time.monotonic_ns()) / NS
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        expiry = self._conversation.handle_timer(time.monotonic_ns())
        if expiry is None:
            self._watch()
            return
        if expiry is Expiry.HANDSHAKE:
            self._service.handshake_timeouts += 1
        elif expiry is Expiry.SERVWAIT:
            self._service.events["servwait"] += 1
        self.end(f"timer: {expiry.value}")

    def _watch_duration(self) -> None:
        if self._duration_timer is not None:
            self._duration_timer.cancel()
            self._duration_timer = None
        limit = self._service.config.maximum_connection_duration
        if limit:
            age = (time.monotonic_ns() - self.began_ns) / NS
            loop = asyncio.get_running_loop()
            self._duration_timer = loop.call_later(max(0, limit - age), self._on_duration)

    def _on_duration(self) -> None:
        self._service.events["maximum_connection_duration"] += 1
        self.end("it has lasted maximum-connection-duration")

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._duration_timer):
            if timer is not None:
                timer.cancel()

    async def _abandon_sessions(self) -> None:
        """Ends the sessions that are not stopped, all of them even if this task is cancelled meanwhile."""
        why = "its control connection ended"
        try:
            async for session in self._a_turn_each(self.sessions):
                self._service.sessions.abandon(session, why)
        finally:
            for session in self.sessions:
                self._service.sessions.abandon(session, why)

    # ---- messages of the client --------------------------------------------------------------------

    async def on_set_up_response(self, message: SetUpResponse) -> Message | None:
        """RFC 4656 section 3.1: refuses a mode that was not offered, else sets the connection up."""
        if not message.mode:
            return None  # it declined, and the conversation is closed
        fault = check_mode(self.greeting.modes, message.mode)
        if fault is not None:
            return self._refuse("mode_refused", Accept.NOT_SUPPORTED, fault)
        mode = message.mode & SECURITY_MODES
        if mode is not Modes.UNAUTHENTICATED:
            self._keys = await self._service.authenticator.open_token(
                self._client, self._ring, self.greeting, message, self.channel.is_hung_up
            )
            if self._keys is None:
                return self._refuse(
                    "authentication_failed",
                    Accept.FAILURE,
                    f"no such user and passphrase, {user_of(message)!r}",
                )
        full = self._join_class(message) or self._service.admission.establish(
            self, self.remote.address
        )
        if full is not None:
            self._service.rejected[full] += 1
            return self._refuse(None, Accept.TEMPORARY_RESOURCE_LIMITATION, full)
        self._set_up(mode, message)
        return ServerStart(
            Accept.OK,
            server_iv=secrets.token_bytes(16) if self._keys is not None else bytes(16),
            start_time=self._service.start_time,
        )

    def _join_class(self, message: SetUpResponse) -> str | None:
        """Counts the connection in its client's class; returns the limit that forbids it, or None."""
        user = None if self._keys is None else user_of(message)
        self.client_class = self._service.config.classes.of(user, self.remote.address)
        limit = self.client_class.maximum_connections
        if limit is not None and self._service.of_class[self.client_class.name] >= limit:
            return "class"
        self._service.of_class[self.client_class.name] += 1
        self._is_of_class = True
        return None

    def _leave_class(self) -> None:
        if self._is_of_class:
            self._is_of_class = False
            self._service.of_class[self.client_class.name] -= 1

    def _refuse(self, event: str | None, accept: Accept, reason: str) -> ServerStart:
        if event is not None:
            self._service.events[event] += 1
        logger.warning(
            "%s refused: %s",
            self.remote,
            reason,
            extra={"fields": {"event": "connection_refused", "client": str(self.remote)}},
        )
        return ServerStart(accept)

    def _set_up(self, mode: Modes, message: SetUpResponse) -> None:
        self._service.established += 1
        self.mode = mode
        if self._keys is not None:
            self.user = user_of(message)
            self._conversation.use_keys(self._keys)
            self._log("connection_set_up", "is %r, %s", self.user, mode_text(mode), user=self.user)

    async def on_request_tw_session(self, message: RequestTWSession) -> Message:
        """RFC 5357 section 3.5: every request gets one Accept-Session; a refusal keeps the connection."""
        try:
            session = self._grant(message)
        except Refusal as refusal:
            self._service.sessions.rejected[refusal.reason] += 1
            logger.warning(
                "%s session refused, %s: %s",
                self.remote,
                refusal.accept.name,
                refusal,
                extra={"fields": {"event": "session_refused", "reason": refusal.reason}},
            )
            return AcceptSession(refusal.accept)
        self._log(
            "session_start",
            "%s accepted: %s to %s, DSCP %d, padding %d",
            session,
            session.asked.peer,
            session.local,
            session.asked.dscp,
            session.asked.padding_length,
            sid=session.sid.hex(),
        )
        return AcceptSession(Accept.OK, port=session.local.port, sid=session.sid)

    def _grant(self, request: RequestTWSession) -> GrantedSession:
        maximum = self._service.config.maximum_sessions_per_connection
        sessions = self._service.sessions
        secured = self._keys is not None and self.mode is not Modes.MIXED
        limits = Limits(
            self._service.draining, len(self.sessions), maximum, secured, self.client_class
        )
        asked = judge(request, self.local, self.remote, limits, sessions.rules)
        control = Control(self.id, self.remote, self.local)
        sessions.make_room(control, len(self.sessions), maximum)
        sid = sessions.next_sid(asked.local)
        session = sessions.accept(sid, asked, control, self._protected(sid))
        self.sessions.append(session)
        return session

    def _protected(self, sid: bytes) -> Protected:
        """RFC 5618 section 3.1: in mixed mode the test packets are not protected."""
        if self._keys is None or self.mode is Modes.MIXED:
            return UNPROTECTED
        return Protected(self.mode, packet_keys(sid, self._keys))

    async def on_start_sessions(self, _: StartSessions) -> Message:
        """RFC 5357 section 3.7: starts all accepted sessions, and answers at once.

        Without any there is nothing to start: TEST, in which SERVWAIT does not run, is for sessions.
        """
        if not self.has_sessions:
            logger.warning("%s starts, but has no session: refused", self.remote)
            return StartAck(Accept.FAILURE)
        async for session in self._a_turn_each(self.sessions):
            if session.state is SessionState.ACCEPTED:  # it may have ended in another's turn
                self._service.sessions.start(session, self._on_refwait)
        logger.info("%s started %d sessions", self.remote, len(self.sessions))
        return StartAck(Accept.OK)

    async def on_stop_sessions(self, message: StopSessions) -> None:
        """RFC 5357 section 3.8: no answer; packets on their way are reflected until Timeout."""
        logger.info(
            "%s stopped %d sessions, %s", self.remote, len(self.sessions), message.accept.name
        )
        async for session in self._a_turn_each(self.sessions):
            if session.state is not SessionState.ENDED:
                self._service.sessions.stop(session)
        self.sessions.clear()

    async def on_unexpected_command(self, message: UnexpectedCommand) -> Message:
        """RFC 5357 section 3.5: Accept-Session with Accept 3."""
        self._service.events["unexpected_command"] += 1
        logger.warning("%s sent command %d, unexpected here", self.remote, message.command)
        return AcceptSession(Accept.NOT_SUPPORTED)

    def _on_refwait(self) -> None:
        """Restarts SERVWAIT when REFWAIT has ended the last session (RFC 5357 section 3.1)."""
        if not self.has_sessions:
            self._conversation.resume_servwait(time.monotonic_ns())
            self._watch()


_HANDLERS: dict[type, Callable[[Connection, Any], Awaitable[Message | None]]] = {
    SetUpResponse: Connection.on_set_up_response,
    RequestTWSession: Connection.on_request_tw_session,
    StartSessions: Connection.on_start_sessions,
    StopSessions: Connection.on_stop_sessions,
    UnexpectedCommand: Connection.on_unexpected_command,
}


def mode_text(mode: Modes) -> str:
    """Security modes in words: "unauthenticated, encrypted"."""
    return str(mode.name).lower().replace("|", ", ")
