"""Reads the state of a running responder (see :mod:`twamp.reflector.state` for its shape)."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import cast

from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given, key_of, rows, written
from twamp.control.admission import REASONS as CONNECTION_REASONS
from twamp.control.connection import EVENTS, Connection, mode_text
from twamp.control.requests import REASONS as SESSION_REASONS
from twamp.control.server import Server
from twamp.control.sessions import GrantedSession
from twamp.endpoint import Endpoint
from twamp.engine.clock_model import ClockModel
from twamp.engine.session_reflector import clock_synchronized
from twamp.engine.stamping import HardwareStamping
from twamp.engine.statistics import EngineHistogram, ReflectorStats, SessionStats, T3ErrorStats
from twamp.engine.workers import Reflector
from twamp.protocol.registries import SECURITY_MODES
from twamp.reflector.state import (
    Clock,
    ConnectionRow,
    Counters,
    Lag,
    OptionRow,
    PacketCounters,
    SessionRow,
    Status,
    T3Error,
)

NS = 1_000_000_000
SESSIONS_AT_ONCE = 128  # rows made in one turn of the event loop


@dataclass
class StateReader:
    """Reads a Server and its Session-Reflector; ``given`` has the origin of each option."""

    server: Server
    reflector: Reflector
    version: str
    given: Mapping[str, Given]
    light: Sequence[Endpoint] = ()
    stamping: HardwareStamping | None = None
    started_ns: int = field(default_factory=time.time_ns)
    reloads: int = 0
    last_reload_ns: int | None = None
    restart_needed: Sequence[str] = ()

    def status(self) -> Status:
        service, config = self.server.service, self.server.config
        return Status(
            version=self.version,
            pid=os.getpid(),
            state="draining" if service.draining else "serving",
            started=_instant(self.started_ns),
            uptime=(time.time_ns() - self.started_ns) / NS,
            listening=[str(address) for address in self.server.addresses],
            light=[str(address) for address in self.light],
            port=config.port,
            test_ports="{}-{}".format(*config.test_ports),
            modes=mode_text(service.offered).split(", "),
            mode_bits=int(service.offered),
            count=config.pbkdf2_count,
            dscp=config.dscp_value,
            server_inactivity_timeout=config.server_inactivity_timeout,
            test_inactivity_timeout=config.test_inactivity_timeout,
            clock_synchronized=clock_synchronized(),
            connections={
                "current": service.admission.established,
                "maximum": config.maximum_connections,
            },
            handshaking=service.admission.handshaking,
            sessions={"current": len(self.server.sessions), "maximum": config.maximum_sessions},
            reloads=self.reloads,
            last_reload=None if self.last_reload_ns is None else _instant(self.last_reload_ns),
            restart_needed=list(self.restart_needed),
        )

    def connections(
        self, client: IPv4Network | IPv6Network | None = None
    ) -> Iterator[ConnectionRow]:
        now_ns = time.monotonic_ns()
        for connection in list(self.server.connections):
            if client is None or connection.remote.address in client:
                yield _connection_row(connection, now_ns)

    def sessions(
        self, client: IPv4Network | IPv6Network | None = None
    ) -> Iterator[list[SessionRow]]:
        """All test sessions, in portions, so that the event loop can do other work in between."""
        sessions = [
            session
            for session in self.server.sessions
            if client is None
            or session.control.client.address in client
            or session.asked.peer.address in client
        ]
        for first in range(0, len(sessions), SESSIONS_AT_ONCE):
            some = sessions[first : first + SESSIONS_AT_ONCE]
            now_ns = time.monotonic_ns()
            statistics = self.reflector.stats_of([session.reflector_id for session in some])
            yield [
                _session_row(session, stats, now_ns)
                for session, stats in zip(some, statistics, strict=True)
                if stats is not None  # ended meanwhile
            ]

    def counters(self) -> Counters:
        server, service, sessions = self.server, self.server.service, self.server.sessions
        return Counters(
            connections={
                "accepted": server.accepted,
                "established": service.established,
                "ended": server.ended,
                "rejected": _by_name(service.rejected, CONNECTION_REASONS),
                "handshake_timeout": service.handshake_timeouts,
                "tokens": service.authenticator.tokens,
                "token_wait_seconds": service.authenticator.wait_ns / 1e9,
            },
            sessions={
                "accepted": sessions.accepted,
                "completed": sessions.completed,
                "aborted": sessions.aborted,
                "rejected": _by_name(sessions.rejected, SESSION_REASONS),
            },
            packets=_packet_counters(self.reflector.stats()),
            t3_error=_t3_error(self.reflector.t3_error()),
            receive_lag=_lag(self.reflector.receive_lag()),
            clocks=_clocks(self.stamping),
            events=_by_name(service.events, EVENTS),
        )

    def config(self) -> list[OptionRow]:
        config = self.server.config
        return [
            OptionRow(
                option=key_of(name),
                value=written(row, getattr(config, name)),
                origin=self.given[name].origin if name in self.given else "default",
            )
            for name, row in rows(ReflectorConfig)
        ]


def _packet_counters(stats: ReflectorStats) -> PacketCounters:
    tree = {
        "received": stats.received,
        "reflected": stats.reflected,
        "dropped": dict(stats.drops),
        **stats.counters,
        "timestamp_sources": {
            "T2": dict(stats.receive_sources),
            "T3": {"user": stats.reflected},  # a reply cannot carry a stamp of its leaving
        },
        "sockets": stats.sockets,
        "receive_buffer": stats.receive_buffer,
        "t3_chunk": stats.chunk,
    }
    return cast("PacketCounters", tree)


def _t3_error(t3_error: T3ErrorStats) -> T3Error:
    return T3Error(
        source=t3_error.source,
        samples=t3_error.error.samples,
        missed=t3_error.missed,
        early=t3_error.early,
        correction_ns=t3_error.correction_ns,
        p50_ns=t3_error.error.percentile_ns(50),
        p99_ns=t3_error.error.percentile_ns(99),
        max_ns=t3_error.error.most_ns,
    )


def _lag(histogram: EngineHistogram) -> Lag:
    return Lag(
        samples=histogram.samples,
        p50_ns=histogram.percentile_ns(50),
        p99_ns=histogram.percentile_ns(99),
        max_ns=histogram.most_ns,
        histogram={str(ns): count for ns, count in histogram.doublings().items()},
    )


def _clocks(stamping: HardwareStamping | None) -> dict[str, Clock]:
    """The clocks by path; an unreadable clock has ``readable`` 0 and values of 0."""
    if stamping is None:
        return {}
    return {watched.clock.path: clock_row(watched.model) for watched in stamping.clocks.values()}


def clock_row(model: ClockModel) -> Clock:
    line = model.line
    return Clock(
        readable=int(line is not None),
        timescale=model.timescale,
        offset_ns=0 if line is None else line.unix_ns - line.device_ns,
        drift_ppb=0.0 if line is None else round(line.rate * 1e9, 1),
        error_ns=0 if line is None else line.error_ns,
        readings=model.readings,
        outliers=model.outliers,
        steps=model.steps,
    )


def _by_name(counter: Counter[str], names: Sequence[str]) -> dict[str, int]:
    """The counts of all ``names``, 0 for one that was never counted."""
    return {name: counter[name] for name in names}


def _instant(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns / NS, UTC).isoformat(timespec="milliseconds")


def _connection_row(connection: Connection, now_ns: int) -> ConnectionRow:
    age = (now_ns - connection.began_ns) / NS
    return ConnectionRow(
        id=connection.id,
        client=str(connection.remote.address),
        client_port=connection.remote.port,
        server=str(connection.local.address),
        server_port=connection.local.port,
        state=connection.state.name.lower(),
        mode=mode_text(connection.mode) if connection.mode else None,
        mode_bits=int(connection.mode & SECURITY_MODES),
        user=connection.user,
        count=connection.greeting.count,
        since=_instant(time.time_ns() - (now_ns - connection.began_ns)),
        age=age,
        idle=(now_ns - connection.heard_ns) / NS,
        sessions=len(connection.sessions),
    )


def _session_row(session: GrantedSession, stats: SessionStats, now_ns: int) -> SessionRow:
    client, server = session.control.client, session.control.server
    return SessionRow(
        sid=session.sid.hex(),
        connection=session.control.id,
        client=str(client.address),
        client_port=client.port,
        server=str(server.address),
        server_port=server.port,
        sender=str(session.asked.peer.address),
        sender_port=session.asked.peer.port,
        reflector=str(session.local.address),
        reflector_port=session.local.port,
        mode=mode_text(session.mode),
        dscp=session.asked.dscp,
        padding=session.asked.padding_length,
        state=session.state.name.lower(),
        since=_instant(session.since_ns),
        received=stats.received,
        reflected=stats.reflected,
        dropped=stats.dropped,
        last_packet=(now_ns - stats.last_packet_ns) / NS if stats.last_packet_ns else None,
        last_received_sequence=stats.last_received_sequence,
        last_sent_sequence=stats.last_sent_sequence,
        timestamp_source=stats.last_source,
        offload="none",
    )
