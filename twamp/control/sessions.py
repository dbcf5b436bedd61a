"""The life of the test sessions that a Server grants.

A session is accepted, started, stopped and ended.  Timers end it after REFWAIT (RFC 5357 section 4.2) or
after the Timeout that follows Stop-Sessions (section 3.5), of ``maximum-timeout`` at most; until then it
*lingers*: the engine still reflects packets that are on their way, while the control connection goes on.
"""

import asyncio
import errno
import logging
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from twamp.config.reflector import ReflectorConfig
from twamp.control.admission import client_of
from twamp.control.lingering import Lingering
from twamp.control.ports import Ports
from twamp.control.requests import Asked, Refusal, Rules, refusal_of
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionConfig
from twamp.engine.workers import Reflector
from twamp.protocol.crypto import PacketKeys
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.timestamps import NS, ntp_from_unix_ns

logger = logging.getLogger("twamp.sessions")


class Protected(NamedTuple):
    """The mode of a session's test packets (unauthenticated, authenticated or encrypted), and its keys."""

    mode: Modes
    keys: PacketKeys | None = None


UNPROTECTED = Protected(Modes.UNAUTHENTICATED)


class SessionState(Enum):
    """The states of a session, in their order."""

    ACCEPTED = "accepted"
    STARTED = "started"
    STOPPED = "stopped, reflecting until its Timeout"
    ENDED = "ended"


class Control(NamedTuple):
    """The control connection that requested a session."""

    id: int
    client: Endpoint
    server: Endpoint


@dataclass(eq=False, slots=True, kw_only=True)
class GrantedSession:
    """One test session; ``reflector_id`` is the engine's id of it."""

    sid: bytes
    asked: Asked
    control: Control
    local: Endpoint
    mode: Modes
    since_ns: int  # Unix
    reflector_id: int
    state: SessionState = SessionState.ACCEPTED
    on_expiry: Callable[[], None] = field(default=lambda: None)
    quiet_since_ns: int = 0
    deadline_ns: int | None = None
    timer: asyncio.TimerHandle | None = None

    def __str__(self) -> str:
        return f"session {self.sid.hex()}"


class Sessions:
    """All test sessions of a Server, over one Session-Reflector.

    ``descriptors`` gives the number from which on descriptors are not for test ports; ``clock`` gives ns of
    CLOCK_MONOTONIC, the engine's clock.
    """

    def __init__(
        self,
        reflector: Reflector,
        config: ReflectorConfig,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        descriptors: Callable[[], int] | None = None,
    ) -> None:
        self._reflector = reflector
        self._ports = Ports(config.test_ports, config.device, descriptors)
        self._clock = clock
        self._sid_time = 0
        self._all: dict[GrantedSession, None] = {}
        self._of_client: Counter[str] = Counter()
        self._of_class: Counter[str] = Counter()
        self._lingering: Lingering[GrantedSession] = Lingering(_groups_of)
        # Since the start: granted; ended by Stop-Sessions; ended otherwise; refused, by reason.
        self.accepted = self.completed = self.aborted = 0
        self.rejected: Counter[str] = Counter()
        self._set(config)

    def _set(self, config: ReflectorConfig) -> None:
        self.rules = Rules.of(config)
        self._refwait_ns = config.test_inactivity_timeout * NS
        self._most_connections = config.maximum_connections_per_client or config.maximum_connections
        self._most_linger_ns = config.maximum_timeout * NS
        self._rate_limit = config.session_rate_limit
        self._port_translation = config.port_translation

    def __iter__(self) -> Iterator[GrantedSession]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def reconfigure(self, config: ReflectorConfig) -> None:
        """Sets other ports and rules for new sessions, and other timeouts for all."""
        self._ports.reconfigure(config.test_ports)
        self._set(config)
        for session in self:
            if session.timer is not None:
                self._watch(session)

    def next_sid(self, local: Endpoint) -> bytes:
        """A fresh SID: address ‖ timestamp ‖ random (RFC 4656 section 3.5)."""
        # Never the same timestamp twice, so that never the same SID twice.
        self._sid_time = max(self._sid_time + 1, ntp_from_unix_ns(time.time_ns()))
        return (
            local.address.packed[-4:]
            + (self._sid_time & (1 << 64) - 1).to_bytes(8)
            + secrets.token_bytes(4)
        )

    # ---- the life of a session -----------------------------------------------------------------

    def accept(
        self, sid: bytes, asked: Asked, control: Control, protected: Protected = UNPROTECTED
    ) -> GrantedSession:
        """Opens the session's port, not yet reflecting; raises :class:`Refusal`."""
        limit = asked.client_class.maximum_sessions
        if limit is not None and self._of_class[asked.client_class.name] >= limit:
            raise Refusal(
                Accept.TEMPORARY_RESOURCE_LIMITATION,
                "class",
                f"{limit} sessions of class.{asked.client_class.name}",
            )
        try:
            local, reflector_id = self._place(asked, protected)
        except OSError as error:
            raise refusal_of(error, asked.local) from error
        self.accepted += 1
        session = GrantedSession(
            sid=sid,
            asked=asked,
            control=control,
            local=local,
            mode=protected.mode,
            since_ns=time.time_ns(),
            reflector_id=reflector_id,
        )
        self._all[session] = None
        self._of_client[client_of(control.client.address)] += 1
        self._of_class[asked.client_class.name] += 1
        return session

    def start(self, session: GrantedSession, on_expiry: Callable[[], None]) -> None:
        """Starts reflecting (Start-Sessions); ``on_expiry`` is called when REFWAIT ends the session."""
        self._reflector.start(session.reflector_id)
        session.state = SessionState.STARTED
        session.on_expiry = on_expiry
        session.quiet_since_ns = self._clock()
        self._watch(session)

    def stop(self, session: GrantedSession) -> None:
        """Stops the session (Stop-Sessions): packets are reflected until Timeout has passed, never later."""
        if session.state is not SessionState.STARTED:
            self.end(session, "stopped")
            return
        session.state = SessionState.STOPPED
        self.completed += 1
        linger_ns = min(session.asked.timeout_ns, self._most_linger_ns)
        session.deadline_ns = self._clock() + linger_ns
        self._reflector.finish(session.reflector_id, session.deadline_ns)
        self._lingering.add(session)
        self._watch(session)

    def end(self, session: GrantedSession, reason: str) -> None:
        """Frees the session, and its port if no other session has it; a second call does nothing."""
        if session.state is SessionState.ENDED:
            return
        if session.state is not SessionState.STOPPED:
            self.aborted += 1
        session.state = SessionState.ENDED
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        stats = self._reflector.session_stats(session.reflector_id)
        self._reflector.remove(session.reflector_id)
        self._lingering.discard(session)
        self._all.pop(session, None)
        self._forget_client(client_of(session.control.client.address))
        self._of_class[session.asked.client_class.name] -= 1
        self._ports.release(session.local, session.asked.peer)
        if stats.zero_error_estimates:
            logger.warning(
                "%s: %d packets had an Error Estimate with Multiplier 0, which RFC 4656 calls corrupt"
                " (error-estimate)",
                session,
                stats.zero_error_estimates,
            )
        logger.info(
            "%s ended (%s): %d packets received, %d reflected, %d dropped",
            session,
            reason,
            stats.received,
            stats.reflected,
            stats.dropped,
            extra={
                "fields": {
                    "event": "session_end",
                    "sid": session.sid.hex(),
                    "client": str(session.control.client),
                    "reason": reason,
                    "received": stats.received,
                    "reflected": stats.reflected,
                    "dropped": stats.dropped,
                }
            },
        )

    def _forget_client(self, client: str) -> None:
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]

    def abandon(self, session: GrantedSession, reason: str) -> None:
        """Ends the session with its connection, unless it is stopped: then it ends after its Timeout."""
        if session.state is not SessionState.STOPPED:
            self.end(session, reason)

    def end_stopped(self) -> None:
        """Ends all sessions that only wait for their Timeout."""
        for session in self._lingering:
            self.end(session, "shutting down")

    def make_room(self, control: Control, sessions: int, most: int) -> None:
        """Makes room for one more session of a connection that has ``sessions``, and may have ``most``.

        Sessions that linger count, for their connection as for their client, which may have as many as all
        its connections together; the oldest of them end if there are too many.
        """
        mine = ("connection", control.id)
        while sessions + self._lingering.count(mine) >= most and self._end_oldest(mine):
            pass
        client = client_of(control.client.address)
        most_of_client = most * self._most_connections
        theirs = ("client", client)
        while self._of_client[client] >= most_of_client and self._end_oldest(theirs):
            pass

    def _end_oldest(self, group: Hashable) -> bool:
        oldest = self._lingering.oldest(group)
        if oldest is not None:
            self.end(oldest, "its place is asked for anew")
        return oldest is not None

    def _watch(self, session: GrantedSession) -> None:
        """Arms the session's timer for its Timeout or REFWAIT, whichever comes first."""
        if session.timer is not None:
            session.timer.cancel()
        due_ns = session.quiet_since_ns + self._refwait_ns
        if session.deadline_ns is not None:
            due_ns = min(due_ns, session.deadline_ns)
        delay = max(0, due_ns - self._clock()) / NS
        loop = asyncio.get_running_loop()
        session.timer = loop.call_later(delay, self._on_timer, session)

    def _on_timer(self, session: GrantedSession) -> None:
        now_ns = self._clock()
        last_ns = self._reflector.session_stats(session.reflector_id).last_packet_ns
        session.quiet_since_ns = max(session.quiet_since_ns, last_ns)
        if session.deadline_ns is not None and now_ns >= session.deadline_ns:
            self.end(session, "Timeout after Stop-Sessions")
        elif now_ns >= session.quiet_since_ns + self._refwait_ns:
            self.end(session, f"no packet for {self._refwait_ns / NS:g} s (REFWAIT)")
            session.on_expiry()
        else:
            self._watch(session)

    # ---- a place for a session -----------------------------------------------------------------

    def _place(self, asked: Asked, protected: Protected) -> tuple[Endpoint, int]:
        """The first Receiver Port that works: a local endpoint, and the engine's id of the session."""
        for local in self._ports.candidates(asked.local, asked.peer):
            try:
                reflector_id = self._open(local, asked, protected)
            except OSError as error:
                # EEXIST: this very peer has the port; ENOENT: another program has it.
                if error.errno not in (errno.EEXIST, errno.ENOENT):
                    raise
            else:
                self._ports.use(local, asked.peer)
                return local, reflector_id
        # No port is left.  A session that only waits for its Timeout gives way to a new session of the
        # same sender.
        lingering = self._lingering.oldest(("sender", asked.peer, asked.local.address))
        if lingering is not None:
            self.end(lingering, "its port is asked for anew")
            return self._place(asked, protected)
        raise Refusal(
            Accept.TEMPORARY_RESOURCE_LIMITATION,
            "no_port",
            f"no free port in {self._ports} for {asked.peer}",
        )

    def _open(self, local: Endpoint, asked: Asked, protected: Protected) -> int:
        own = asked.client_class.session_rate_limit
        translated = self._port_translation and asked.is_client
        config = SessionConfig(
            local=local,
            peer=asked.peer._replace(port=0) if translated else asked.peer,
            rate_limit=self._rate_limit if own is None else own,
            dscp=asked.dscp,
            mode=protected.mode,
            keys=protected.keys,
        )
        if self._ports.is_used(local):
            return self._add(config, None)
        try:
            return self._open_unused(config)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        # The engine may have closed the port's socket between the two attempts to have it.
        return self._open_unused(config)

    def _open_unused(self, config: SessionConfig) -> int:
        try:
            with self._ports.open(config.local) as sock:
                return self._add(config, sock)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        # Another program has the port (ENOENT); or the engine is about to close its socket, and keeps it.
        return self._add(config, None)

    def _add(self, config: SessionConfig, sock: socket.socket | None) -> int:
        try:
            return self._reflector.add(config, sock)
        except OSError as error:
            oldest = self._lingering.oldest()
            if error.errno != errno.ENOSPC or oldest is None:
                raise
        # Full: the session that has waited longest for its Timeout gives way.
        self.end(oldest, "its place is needed")
        return self._reflector.add(config, sock)


def _groups_of(session: GrantedSession) -> tuple[Hashable, ...]:
    """The groups in which a lingering session is looked for."""
    control, asked = session.control, session.asked
    return (
        ("connection", control.id),
        ("client", client_of(control.client.address)),
        ("sender", asked.peer, session.local.address),
    )
