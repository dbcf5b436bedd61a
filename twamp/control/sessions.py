"""The test sessions that a Server grants: judging a request, finding a port, and each session's life.

A session is accepted, started, stopped and ended; REFWAIT (RFC 5357 section 4.2) and the Timeout after
Stop-Sessions (section 3.5) end it without anybody waiting: packets that are on their way are still
reflected by the engine while the control connection goes on.
"""

import asyncio
import errno
import logging
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import NamedTuple

from twamp.endpoint import Endpoint, IPAddress
from twamp.engine.session_reflector import SessionConfig
from twamp.engine.workers import Reflector
from twamp.protocol.control_messages import RequestTWSession, dscp_from_type_p_descriptor
from twamp.protocol.crypto import PacketKeys
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.timestamps import ns_from_interval, ntp_from_unix_ns
from twamp.sockets import udp_socket

logger = logging.getLogger("twamp.sessions")

SECOND = 1_000_000_000
# The reply to the longest request must fit into a UDP datagram: 65,535 octets less IPv4 and UDP headers, and
# less the longest header of a Session-Reflector's packet.
MAXIMUM_PADDING = 65_507 - 112


class Protected(NamedTuple):
    """How the test packets of a session are protected: 1 not at all, 2 authenticated, 4 encrypted."""

    mode: Modes
    keys: PacketKeys | None = None


UNPROTECTED = Protected(Modes.UNAUTHENTICATED)


REASONS = (
    *("draining", "internal_error", "maximum_sessions", "maximum_sessions_per_connection"),
    *("no_port", "no_resources", "not_supported"),
)


class Refusal(Exception):
    """A request that is not granted: the Accept value for the client, one of REASONS to count, text to log."""

    def __init__(self, accept: Accept, reason: str, text: str) -> None:
        super().__init__(text)
        self.accept = accept
        self.reason = reason


def _not_supported(text: str) -> Refusal:
    return Refusal(Accept.NOT_SUPPORTED, "not_supported", text)


class Asked(NamedTuple):
    """What a Request-TW-Session asks for, its zero addresses replaced; ``local.port`` may be 0 (any)."""

    local: Endpoint
    peer: Endpoint
    dscp: int
    padding_length: int
    timeout_ns: int


def read_request(request: RequestTWSession, server: Endpoint, client: Endpoint) -> Asked:
    """Judges a request on the connection between ``server`` and ``client`` (RFC 5357 section 3.5).

    Raises :class:`Refusal` with Accept 3 for what no Server of this kind can do.
    """
    if request.ip_version not in (4, 6):
        raise _not_supported(f"IP version {request.ip_version} is neither 4 nor 6")
    if request.conf_sender or request.conf_receiver:
        raise _not_supported("Conf-Sender and Conf-Receiver must be 0")
    if request.number_of_schedule_slots or request.number_of_packets:
        raise _not_supported("schedule slots and number of packets must be 0")
    dscp = dscp_from_type_p_descriptor(request.type_p_descriptor)
    if dscp is None:
        raise _not_supported(f"Type-P Descriptor {request.type_p_descriptor:#010x} is no DSCP")
    if request.padding_length > MAXIMUM_PADDING:
        raise _not_supported(f"padding of {request.padding_length} octets fits no datagram")
    if request.sender_port == 0:
        raise _not_supported("Sender Port 0 cannot be answered")
    local = _read_address(request.receiver_address, request.ip_version, server)
    peer = _read_address(request.sender_address, request.ip_version, client)
    return Asked(
        local=local._replace(port=request.receiver_port),
        peer=peer._replace(port=request.sender_port),
        dscp=dscp,
        padding_length=request.padding_length,
        timeout_ns=ns_from_interval(request.timeout),
    )


def _read_address(octets: bytes, ip_version: int, fallback: Endpoint) -> Endpoint:
    """An address field; all zero is the control connection's own (RFC 5357 section 3.5)."""
    significant = octets[:4] if ip_version == 4 else octets
    if not any(significant):
        if fallback.ip_version != ip_version:
            raise _not_supported(
                f"a zero IPv{ip_version} address on an IPv{fallback.ip_version} connection"
            )
        return fallback
    address: IPAddress = IPv4Address(significant) if ip_version == 4 else IPv6Address(significant)
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise _not_supported(f"{address} is not the address of one host")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        raise _not_supported(f"{address} is an IPv4 address: ask with IP version 4")
    return Endpoint(address, 0, fallback.scope_id if address.is_link_local else 0)


class SessionState(Enum):
    """Where a session stands."""

    ACCEPTED = "accepted"
    STARTED = "started"
    STOPPED = "stopped, reflecting until its Timeout"
    ENDED = "ended"


class Control(NamedTuple):
    """The control connection that asked for a session."""

    id: int
    client: Endpoint
    server: Endpoint


@dataclass(eq=False, slots=True, kw_only=True)
class GrantedSession:
    """One test session; ``reflector_id`` is the engine's name for it."""

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

    ``test_ports`` is the inclusive range of Receiver Ports, ``refwait_ns`` REFWAIT, ``interface`` the
    device to bind test sockets to; ``clock`` gives ns of CLOCK_MONOTONIC, the engine's clock.
    """

    def __init__(
        self,
        reflector: Reflector,
        *,
        test_ports: tuple[int, int],
        refwait_ns: int,
        clock: Callable[[], int],
        interface: str | None = None,
    ) -> None:
        self._reflector = reflector
        self._ports = range(test_ports[0], test_ports[1] + 1)
        self._refwait_ns = refwait_ns
        self._clock = clock
        self._interface = interface
        # Sessions of each port, by the address (with port 0).
        self._uses: dict[Endpoint, Counter[int]] = {}
        self._next_port = 0
        self._sid_time = 0
        self._all: dict[GrantedSession, None] = {}
        self._stopped: dict[GrantedSession, None] = {}
        # Since the start: granted; ended by Stop-Sessions; ended otherwise; refused, by reason.
        self.accepted = self.completed = self.aborted = 0
        self.rejected: Counter[str] = Counter()

    def __iter__(self) -> Iterator[GrantedSession]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def reconfigure(self, test_ports: tuple[int, int], refwait_ns: int) -> None:
        """Other ports for what comes, another REFWAIT for all."""
        self._ports = range(test_ports[0], test_ports[1] + 1)
        self._next_port = 0
        self._refwait_ns = refwait_ns
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
        try:
            local, reflector_id = self._place(asked, protected)
        except OSError as error:
            raise _refusal_of(error, asked.local) from error
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
        return session

    def start(self, session: GrantedSession, on_expiry: Callable[[], None]) -> None:
        """Start-Sessions: packets are reflected from now on; ``on_expiry`` is called if REFWAIT passes."""
        self._reflector.start(session.reflector_id)
        session.state = SessionState.STARTED
        session.on_expiry = on_expiry
        session.quiet_since_ns = self._clock()
        self._watch(session)

    def stop(self, session: GrantedSession) -> None:
        """Stop-Sessions: packets are reflected until Timeout has passed, never later."""
        if session.state is not SessionState.STARTED:
            self.end(session, "stopped")
            return
        session.state = SessionState.STOPPED
        self.completed += 1
        session.deadline_ns = self._clock() + session.asked.timeout_ns
        self._reflector.finish(session.reflector_id, min(session.deadline_ns, (1 << 64) - 1))
        self._stopped[session] = None
        self._watch(session)

    def end(self, session: GrantedSession, reason: str) -> None:
        """Frees the session and, if it was the last one there, its port; a second call does nothing."""
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
        self._stopped.pop(session, None)
        self._all.pop(session, None)
        self._forget_use(session.local)
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

    def abandon(self, session: GrantedSession, reason: str) -> None:
        """Its connection ends, and the session too, unless it is stopped: then it waits for its Timeout."""
        if session.state is not SessionState.STOPPED:
            self.end(session, reason)

    def end_stopped(self) -> None:
        """Ends all sessions that only wait for their Timeout."""
        for session in list(self._stopped):
            self.end(session, "shutting down")

    def _watch(self, session: GrantedSession) -> None:
        """Arms the session's timer for its Timeout or REFWAIT, whichever comes first."""
        if session.timer is not None:
            session.timer.cancel()
        due_ns = session.quiet_since_ns + self._refwait_ns
        if session.deadline_ns is not None:
            due_ns = min(due_ns, session.deadline_ns)
        delay = max(0, due_ns - self._clock()) / SECOND
        loop = asyncio.get_running_loop()
        session.timer = loop.call_later(delay, self._on_timer, session)

    def _on_timer(self, session: GrantedSession) -> None:
        now_ns = self._clock()
        last_ns = self._reflector.session_stats(session.reflector_id).last_packet_ns
        session.quiet_since_ns = max(session.quiet_since_ns, last_ns)
        if session.deadline_ns is not None and now_ns >= session.deadline_ns:
            self.end(session, "Timeout after Stop-Sessions")
        elif now_ns >= session.quiet_since_ns + self._refwait_ns:
            self.end(session, f"no packet for {self._refwait_ns / SECOND:g} s (REFWAIT)")
            session.on_expiry()
        else:
            self._watch(session)

    # ---- ports ---------------------------------------------------------------------------------

    def _place(self, asked: Asked, protected: Protected) -> tuple[Endpoint, int]:
        """The first Receiver Port that works: a local endpoint and the engine's id."""
        host = asked.local._replace(port=0)
        uses = self._uses.get(host, Counter())  # not kept for an address that is not ours
        for port in self._candidates(asked.local.port, uses):
            local = asked.local._replace(port=port)
            try:
                reflector_id = self._open(local, asked, protected, is_new=port not in uses)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOENT):
                    raise
            else:
                self._uses[host] = uses
                uses[port] += 1
                return local, reflector_id
        # Every port is in use by this very peer, or by other programs.  A session that only waits for
        # its Timeout gives way to the new one that its sender asks for.
        for session in list(self._stopped):
            if session.asked.peer == asked.peer and session.local.address == asked.local.address:
                self.end(session, "its ports are asked for anew")
                return self._place(asked, protected)
        raise Refusal(
            Accept.TEMPORARY_RESOURCE_LIMITATION,
            "no_port",
            f"no free port in {self._ports[0]}-{self._ports[-1]} for {asked.peer}",
        )

    def _candidates(self, wanted: int, uses: Mapping[int, int]) -> Iterator[int]:
        """The asked port if it is one of ours, then unused ones in turn, then ports to share."""
        if wanted in self._ports:
            yield wanted
        first = self._next_port
        for used in (False, True):
            for position in chain(range(first, len(self._ports)), range(first)):
                port = self._ports[position]
                if (port in uses) is used:
                    self._next_port = (position + 1) % len(self._ports)
                    yield port

    def _forget_use(self, local: Endpoint) -> None:
        host = local._replace(port=0)
        uses = self._uses[host]
        uses[local.port] -= 1
        if not uses[local.port]:
            del uses[local.port]
        if not uses:
            del self._uses[host]

    def _open(self, local: Endpoint, asked: Asked, protected: Protected, *, is_new: bool) -> int:
        config = SessionConfig(
            local=local,
            peer=asked.peer,
            dscp=asked.dscp,
            mode=protected.mode,
            keys=protected.keys,
        )
        if is_new:
            try:
                with self._bind(local) as sock:
                    return self._add(config, sock)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        # Shared; or in use by a socket that the engine is about to close, and then keeps.
        return self._add(config, None)

    def _add(self, config: SessionConfig, sock: socket.socket | None) -> int:
        try:
            return self._reflector.add(config, sock)
        except OSError as error:
            if error.errno != errno.ENOSPC or not self._stopped:
                raise
        # Full: the session that has waited longest for its Timeout gives way.
        self.end(next(iter(self._stopped)), "its place is needed")
        return self._reflector.add(config, sock)

    def _bind(self, local: Endpoint) -> socket.socket:
        sock = udp_socket(local.ip_version, self._interface)
        try:
            sock.bind(local.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock


_REFUSAL_OF_ERRNO = {
    errno.EADDRNOTAVAIL: (Accept.NOT_SUPPORTED, "not_supported"),
    errno.EMFILE: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENFILE: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENOBUFS: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENOMEM: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENODEV: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENOSPC: (Accept.TEMPORARY_RESOURCE_LIMITATION, "maximum_sessions"),
}


def _refusal_of(error: OSError, local: Endpoint) -> Refusal:
    """RFC 4656 section 3.3: the Accept value that says most."""
    accept, reason = _REFUSAL_OF_ERRNO.get(
        error.errno or 0, (Accept.INTERNAL_ERROR, "internal_error")
    )
    text = "every session is in use" if error.errno == errno.ENOSPC else str(error)
    return Refusal(accept, reason, f"{local.address}: {text}")
