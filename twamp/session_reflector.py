"""Session-Reflector (RFC 5357 section 4.2): lends a thread to C, which answers TWAMP-Test packets.

Sessions cross to C by value and an id comes back; sockets are shared by the sessions of one local
address and port::

    async with SessionReflector(maximum_sessions=1000) as reflector:
        session = reflector.add(SessionConfig(local=local, peer=peer), sock)  # not yet reflected
        reflector.start(session)  # Start-Sessions
        reflector.finish(session, deadline_ns)  # Stop-Sessions: until Timeout
        reflector.remove(session)

The socket that is given to :meth:`SessionReflector.add` is bound to ``local`` and stays the
caller's, to be closed: C keeps a duplicate until the last session there is removed.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Self

from twamp.endpoint import Endpoint
from twamp.native import (
    check,
    enum_names,
    ffi,
    lib,
    native_endpoint,
    native_keys,
    wipe_keys,
)
from twamp.protocol.crypto import PacketKeys

logger = logging.getLogger(__name__)

# A 44-octet packet is charged 832 octets of it: 4 MB hold 5,000 of them.
RECEIVE_BUFFER = 4 << 20


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """One session: from which address and port, to which, and the DSCP of the replies (0..63)."""

    local: Endpoint  # Receiver Address, Receiver Port
    peer: Endpoint  # Sender Address, Sender Port
    dscp: int = 0
    mode: int = 1  # 1 unauthenticated, 2 authenticated, 4 encrypted
    keys: PacketKeys | None = None  # of the secured modes


@dataclass(frozen=True, kw_only=True)
class SessionStats:
    """``struct tw_session_stats``: received == reflected + dropped, always."""

    received: int
    reflected: int
    dropped: int
    last_packet_ns: int  # CLOCK_MONOTONIC of the last good one while started; 0 = none yet
    last_received_sequence: int | None = None  # the sender's, of that packet
    last_sent_sequence: int | None = None  # of the last reply
    last_source: str | None = None  # of that packet's T2, by enum tw_source


@dataclass(frozen=True, kw_only=True)
class ReflectorStats:
    """``struct tw_reflector_stats``: received == reflected + the sum of drops, always."""

    received: int = 0
    reflected: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)  # by the name of enum tw_drop
    receive_sources: Mapping[str, int] = field(default_factory=dict)  # of T2, by enum tw_source
    refused_stamps: int = 0
    truncated_control: int = 0
    overflows: int = 0  # never received: lost in full receive buffers; seen with the next packet
    turns: int = 0  # of the loop: its heartbeat
    sessions: int = 0
    sockets: int = 0


_DROPS = enum_names("tw_drop", "TW_DROP_")
_SOURCES = enum_names("tw_source", "TW_SOURCE_")
_SOURCE_NAMES = {value: name for name, value in _SOURCES.items()}
_TIMESTAMPS = enum_names("tw_timestamp", "TW_TIMESTAMP_")
_FORMATS = enum_names("tw_timestamp_format", "TW_TIMESTAMP_FORMAT_")
_SYNCHRONIZED = 1 << 15  # S of the Error Estimate


def clock_synchronized() -> bool:
    """Whether the kernel says that the system clock is synchronised (adjtimex)."""
    return bool(lib.tw_clock_error_estimate(0) & _SYNCHRONIZED)


def _log_failure(over: "asyncio.Future[int]") -> None:
    if not over.cancelled() and over.result() < 0:
        logger.error("the reflector stopped: %s", os.strerror(-over.result()))


def _value_of(option: str, name: str, values: Mapping[str, int]) -> int:
    if name not in values:
        raise ValueError(f"{option} is {name!r}: choose one of {', '.join(values)}")
    return values[name]


def _session_stats(native: Any) -> SessionStats:
    heard = native.last_packet_ns != 0
    return SessionStats(
        received=native.received,
        reflected=native.reflected,
        dropped=native.dropped,
        last_packet_ns=native.last_packet_ns,
        last_received_sequence=native.last_received_sequence if heard else None,
        last_sent_sequence=native.last_sent_sequence if native.reflected else None,
        last_source=_SOURCE_NAMES.get(native.last_source),
    )


class SessionReflector:
    """Answers the packets of all sessions, in a thread of its own while ``async with`` lasts.

    Without ``async with`` there is no thread: :meth:`step` is one turn of the loop, and
    :meth:`close` the end.  ``tx_batch`` replies (1..64) leave under one Timestamp: more is faster,
    and every position makes it two microseconds older; ``rate_limit`` is in packets a second for
    one client (0: no limit); ``timestamp`` says where T2 is to come from (auto, kernel, user) and
    ``timestamp_format`` how T2 and T3 are written (ntp, ptp).  OSError when the system has no room.
    """

    def __init__(
        self,
        *,
        maximum_sessions: int = 1024,  # 1..65536
        receive_buffer: int = RECEIVE_BUFFER,
        tx_batch: int = 2,
        hash_seed: int | None = None,
        rate_limit: int = 0,
        timestamp: str = "auto",
        timestamp_format: str = "ntp",
    ) -> None:
        self._lock = threading.Lock()  # over the handle: nobody uses it after it is closed
        self._handle: Any = None
        self._thread: threading.Thread | None = None
        self._over: asyncio.Future[int] | None = None
        self._stats = ReflectorStats()
        config = {
            "hash_seed": secrets.randbits(64) if hash_seed is None else hash_seed,
            "maximum_sessions": maximum_sessions,
            "receive_buffer": receive_buffer,
            "tx_batch": tx_batch,
            "rate_limit": rate_limit,
            "timestamp": _value_of("timestamp", timestamp, _TIMESTAMPS),
            "timestamp_format": _value_of("timestamp_format", timestamp_format, _FORMATS),
        }
        handle = ffi.new("struct tw_reflector **")
        check(lib.tw_reflector_open(ffi.new("struct tw_reflector_config *", config), handle))
        self._handle = handle[0]

    async def __aenter__(self) -> Self:
        if self._handle is None or self._thread is not None:
            raise RuntimeError("a SessionReflector runs once")
        loop = asyncio.get_running_loop()
        over: asyncio.Future[int] = loop.create_future()
        over.add_done_callback(_log_failure)
        handle = self._handle

        def lend() -> None:  # does not know self: who forgets it can still be told
            result = lib.tw_reflector_run(handle)
            with contextlib.suppress(RuntimeError):  # the event loop is closed: forgotten
                loop.call_soon_threadsafe(over.set_result, result)

        self._over = over
        self._thread = threading.Thread(target=lend, name="twamp-reflector", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def wait(self) -> None:
        """Until the loop is over: returns after :meth:`aclose`, OSError when the loop failed.

        Cancelled, it leaves the loop as it is.  RuntimeError when there never was a thread.
        """
        if self._over is None:
            raise RuntimeError("the SessionReflector does not run: use `async with`")
        check(await asyncio.shield(self._over))

    async def aclose(self) -> None:
        """Stop, join, close.  Cancelled, it does so all the same before CancelledError goes on.

        OSError when the loop had failed.
        """
        if self._handle is None:
            return
        result = 0
        cancelled = False
        if self._thread is not None and self._over is not None:
            check(lib.tw_reflector_stop(self._handle))
            while not self._over.done():
                try:
                    await asyncio.shield(self._over)
                except asyncio.CancelledError:
                    cancelled = True
            self._thread.join()  # it has nothing left to do
            self._thread = None
            result = self._over.result()
        self.close()
        if cancelled:
            raise asyncio.CancelledError
        check(result)

    def close(self) -> None:
        """Frees what C holds; for a reflector that has no thread.  The statistics stay."""
        if self._thread is not None:
            raise RuntimeError("the reflector runs: await aclose()")
        with self._lock:
            if self._handle is not None:
                self._stats = self._read_stats()
                handle, self._handle = self._handle, None
                lib.tw_reflector_close(handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is None:
            return
        message = f"{self!r} was not closed: use `async with`, or await aclose()"
        warnings.warn(message, ResourceWarning, stacklevel=2, source=self)
        if self._thread is not None:
            lib.tw_reflector_stop(self._handle)
            self._thread.join()
            self._thread = None
        self.close()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        with self._lock:
            if self._handle is None:
                raise RuntimeError("the SessionReflector is closed")
            yield self._handle

    def add(self, config: SessionConfig, sock: socket.socket | None) -> int:
        """Adds a session that does not reflect yet and returns its id.

        With ``sock`` None the socket that other sessions of ``config.local`` use.  OSError: ENOENT
        there is none; EEXIST such a session exists; ENOSPC ``maximum_sessions`` exist; EINVAL
        ``sock`` is not bound to ``config.local``.
        """
        native = ffi.new(
            "struct tw_session_config *",
            {
                "local": native_endpoint(config.local),
                "peer": native_endpoint(config.peer),
                "dscp": config.dscp,
                "mode": config.mode,
                "keys": native_keys(config.keys),
            },
        )
        fd = -1 if sock is None else sock.fileno()
        with self._opened() as handle:
            try:
                return check(lib.tw_reflector_add(handle, native, fd))
            finally:
                wipe_keys(native)

    def add_light(self, local: Endpoint, sock: socket.socket) -> int:
        """Reflects at ``local`` for any peer, without TWAMP-Control, from now on; returns an id.

        TWAMP Light (RFC 5357 appendix I) and stateless STAMP (RFC 8762).  ``sock`` is bound to
        ``local``, which may be a wildcard address.  OSError: EEXIST it does so already; ENOSPC.
        """
        native = ffi.new("struct tw_endpoint *", native_endpoint(local))
        with self._opened() as handle:
            return check(lib.tw_reflector_add_light(handle, native, sock.fileno()))

    def set_light_clients(self, prefixes: Sequence[IPv4Network | IPv6Network]) -> None:
        """Whose packets are reflected without TWAMP-Control; without prefixes, everybody's.

        OSError EINVAL for more than 1024 of them.
        """
        native = ffi.new(
            "struct tw_prefix[]",
            [
                {
                    "address": prefix.network_address.packed.ljust(16, b"\0"),
                    "length": prefix.prefixlen,
                    "ip_version": prefix.version,
                }
                for prefix in prefixes
            ],
        )
        with self._opened() as handle:
            check(lib.tw_reflector_set_light_clients(handle, native, len(prefixes)))

    def set_rate_limit(self, packets_per_second: int) -> None:
        """How many packets of one client are reflected a second; 0: no limit."""
        with self._opened() as handle:
            check(lib.tw_reflector_set_rate_limit(handle, packets_per_second))

    def nudge(self) -> None:
        """Makes the loop turn once: :attr:`ReflectorStats.turns` shows whether it did."""
        with self._opened() as handle:
            check(lib.tw_reflector_nudge(handle))

    def start(self, session_id: int) -> None:
        """From now on packets are reflected (Start-Sessions).  OSError ENOENT for a stale id."""
        with self._opened() as handle:
            check(lib.tw_reflector_start(handle, session_id))

    def finish(self, session_id: int, deadline_ns: int) -> None:
        """Packets are reflected until ``deadline_ns`` (CLOCK_MONOTONIC) and never later."""
        with self._opened() as handle:
            check(lib.tw_reflector_finish(handle, session_id, deadline_ns))

    def remove(self, session_id: int) -> None:
        """Forgets a session; its port is free a moment after its last session is gone."""
        with self._opened() as handle:
            check(lib.tw_reflector_remove(handle, session_id))

    def session_stats(self, session_id: int) -> SessionStats:
        """The counters of one session now; from any thread."""
        native = ffi.new("struct tw_session_stats *")
        with self._opened() as handle:
            check(lib.tw_reflector_session_stats(handle, session_id, native))
        return _session_stats(native)

    def stats_of(self, session_ids: Sequence[int]) -> list[SessionStats | None]:
        """The counters of many sessions; None where an id is stale."""
        count = len(session_ids)
        natives = ffi.new("struct tw_session_stats[]", count)
        found = ffi.new("uint8_t[]", count)
        ids = ffi.new("int64_t[]", session_ids)
        with self._opened() as handle:
            check(lib.tw_reflector_session_stats_of(handle, ids, count, natives, found))
        return [_session_stats(natives[i]) if found[i] else None for i in range(count)]

    def stats(self) -> ReflectorStats:
        """The counters now, or as they were when it was closed; from any thread."""
        with self._lock:
            return self._stats if self._handle is None else self._read_stats()

    def _read_stats(self) -> ReflectorStats:
        native = ffi.new("struct tw_reflector_stats *")
        lib.tw_reflector_stats(self._handle, native)
        return ReflectorStats(
            received=native.received,
            reflected=native.reflected,
            drops={name: native.drops[value] for name, value in _DROPS.items()},
            receive_sources={
                name: native.receive_sources[value] for name, value in _SOURCES.items()
            },
            refused_stamps=native.refused_stamps,
            truncated_control=native.truncated_control,
            overflows=native.overflows,
            turns=native.turns,
            sessions=native.sessions,
            sockets=native.sockets,
        )

    def step(self, timeout_ms: int = 0) -> int:
        """One turn of the loop, for a reflector without a thread; returns the packets read."""
        if self._thread is not None or self._handle is None:
            raise RuntimeError("the loop is the thread's, or over")
        return check(lib.tw_reflector_step(self._handle, timeout_ms))
