"""The Session-Reflector (RFC 5357 section 4.2) lends a thread to C, which answers TWAMP-Test packets.

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Self

from twamp.endpoint import Endpoint
from twamp.engine.native import (
    EngineClockModel,
    check,
    enum_names,
    ffi,
    lib,
    native_endpoint,
    native_keys,
    native_prefix,
    wipe_keys,
)
from twamp.engine.statistics import EngineHistogram, ReflectorStats, SessionStats, T3ErrorStats
from twamp.protocol.crypto import PacketKeys

logger = logging.getLogger("twamp.session_reflector")

# A 44-octet packet is charged 832 octets of it: 4 MB hold 5,000 of them.
RECEIVE_BUFFER = 4 << 20
T3_BUDGET_NS = 5000


@dataclass(frozen=True, kw_only=True)
class SessionConfig:
    """One session: its two addresses and ports, its mode and keys, and the DSCP of its replies (0..63)."""

    local: Endpoint  # Receiver Address, Receiver Port
    peer: (
        Endpoint  # Sender Address, Sender Port; port 0: that of its first packet once it is started
    )
    dscp: int = 0
    mode: int = 1  # 1 unauthenticated, 2 authenticated, 4 encrypted
    keys: PacketKeys | None = None  # of the secured modes
    rate_limit: int = 0  # packets per second that are reflected; 0: no limit


_TIMESTAMPS = enum_names("tw_timestamp", "TW_TIMESTAMP_")
_FORMATS = enum_names("tw_format", "TW_FORMAT_")
_ZERO_ERRORS = {"drop": 0, "accept": 1}


def clock_synchronized() -> bool:
    """Whether the kernel says that the system clock is synchronised (adjtimex)."""
    return bool(lib.tw_clock_error_estimate(0) & 1 << 15)  # S of the Error Estimate


def _named(option: str, name: str, values: Mapping[str, int]) -> int:
    if name not in values:
        raise ValueError(f"{option} is {name!r}: choose one of {', '.join(values)}")
    return values[name]


def _log_failure(over: "asyncio.Future[int]") -> None:
    if not over.cancelled() and over.result() < 0:
        logger.error("the reflector stopped: %s", os.strerror(-over.result()))


@dataclass(frozen=True)
class _Place:
    """The processor and the priority of a thread."""

    cpu: int | None
    realtime: int

    def take(self) -> OSError | None:
        """Applies them to the calling thread; returns the error if the system refuses."""
        try:
            if self.cpu is not None:
                os.sched_setaffinity(0, {self.cpu})
        except OSError as error:
            remedy = f"this process may use {sorted(os.sched_getaffinity(0))}"
            return OSError(error.errno, f"cpu: {self.cpu}: {error.strerror}; {remedy}")
        try:
            if self.realtime:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(self.realtime))
        except OSError as error:
            remedy = "it takes CAP_SYS_NICE or a higher RLIMIT_RTPRIO (LimitRTPRIO= of a unit)"
            return OSError(error.errno, f"realtime: {self.realtime}: {error.strerror}; {remedy}")
        return None


class SessionReflector:
    """Answers the packets of all sessions, in a thread of its own while ``async with`` lasts.

    Without ``async with`` there is no thread: :meth:`step` is one turn of the loop, and
    :meth:`close` the end.  Replies leave in
    chunks under one T3 each, as large as ``t3_budget_ns`` allows (more is faster, and the last of a
    chunk leaves that much later than it says), or of ``tx_batch`` replies where that is not 0.
    With ``t3_correction`` most of the least recent delay on the way to the device is added to T3, and
    after a pause the send is rehearsed over loopback, so that this delay varies less.
    ``rate_limit`` is for :meth:`set_rate_limit`, ``light_rate_limit`` for :meth:`set_light_rate_limit`.
    ``error_estimate`` says what becomes of requests whose Error Estimate has Multiplier 0 (RFC 4656 section
    4.1.2 calls them corrupt): ``drop``, or ``accept``: they are answered and counted.

    ``timestamp`` says which clock gives the Receive Timestamp: ``kernel``, ``user`` (this program reads
    it), ``auto``: the kernel if it can, or ``hardware``: the network device, if it stamps and
    :meth:`set_clock_models` has given a model of its clock, else as ``auto``.  ``timestamp_format`` is that
    of both Timestamps of a light session's reply: ``ntp``, or ``ptp`` (RFC 8186), of a PTP clock that runs on
    UTC; other sessions have not negotiated it, and have NTP's.
    ValueError for another name.  OSError when the system has no room, or the kernel cannot stamp though it
    must.

    ``spin_us`` is how long the loop looks for further packets before it sleeps: lower delay in the
    reflector for a processor that is never idle.  ``cpu`` is the one that the thread runs on, and
    ``realtime`` its SCHED_FIFO priority (0: none); ``async with`` raises OSError, with the remedy, where
    that may not be.
    """

    def __init__(
        self,
        *,
        maximum_sessions: int = 1024,  # 1..65536
        receive_buffer: int = RECEIVE_BUFFER,
        tx_batch: int = 0,  # 0..64
        t3_budget_ns: int = T3_BUDGET_NS,
        t3_correction: bool = False,
        rate_limit: int = 0,  # 0..2^32-1
        light_rate_limit: int = 0,  # 0..2^32-1
        error_estimate: str = "drop",
        timestamp: str = "auto",
        timestamp_format: str = "ntp",
        spin_us: int = 0,
        cpu: int | None = None,
        realtime: int = 0,  # 0..99
        hash_seed: int | None = None,
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
            "t3_budget_ns": t3_budget_ns,
            "t3_correction": t3_correction,
            "rate_limit": rate_limit,
            "light_rate_limit": light_rate_limit,
            "takes_zero_error": _named("error_estimate", error_estimate, _ZERO_ERRORS),
            "timestamp": _named("timestamp", timestamp, _TIMESTAMPS),
            "timestamp_format": _named("timestamp_format", timestamp_format, _FORMATS),
            "spin_us": spin_us,
        }
        self._place = _Place(cpu, realtime)
        handle = ffi.new("struct tw_reflector **")
        check(lib.tw_reflector_open(ffi.new("struct tw_reflector_config *", config), handle))
        self._handle = handle[0]

    async def __aenter__(self) -> Self:
        if self._handle is None or self._thread is not None:
            raise RuntimeError("a SessionReflector runs once")
        loop = asyncio.get_running_loop()
        began: asyncio.Future[OSError | None] = loop.create_future()
        over: asyncio.Future[int] = loop.create_future()
        over.add_done_callback(_log_failure)
        handle, place = self._handle, self._place

        def lend() -> None:  # does not know self: who forgets it can still be told
            refused = place.take()
            loop.call_soon_threadsafe(began.set_result, refused)
            result = lib.tw_reflector_run(handle) if refused is None else 0
            with contextlib.suppress(RuntimeError):  # the event loop is closed: forgotten
                loop.call_soon_threadsafe(over.set_result, result)

        self._over = over
        self._thread = threading.Thread(target=lend, name="twamp-reflector", daemon=True)
        self._thread.start()
        refused = await began
        if refused is not None:
            await self.aclose()
            raise refused
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def wait(self) -> None:
        """Waits until the loop ends: returns after :meth:`aclose`; OSError when the loop failed.

        Cancelled, it leaves the loop as it is.  RuntimeError when there never was a thread.
        """
        if self._over is None:
            raise RuntimeError("the SessionReflector does not run: use `async with`")
        check(await asyncio.shield(self._over))

    async def aclose(self) -> None:
        """Stops the loop, joins its thread and closes; when cancelled, it does so before it raises.

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
        """Frees the memory of C, for a reflector without a thread; the statistics stay readable."""
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

    @property
    def _opened(self) -> Any:
        """The handle; the caller holds the lock."""
        if self._handle is None:
            raise RuntimeError("the SessionReflector is closed")
        return self._handle

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
                "rate_limit": config.rate_limit,
                "keys": native_keys(config.keys),
            },
        )
        fd = -1 if sock is None else sock.fileno()
        with self._lock:
            try:
                return check(lib.tw_reflector_add(self._opened, native, fd))
            finally:
                wipe_keys(native)

    def add_light(self, local: Endpoint, sock: socket.socket | None) -> int:
        """Adds a session of every peer that has none of its own at ``local``, and returns its id.

        It is TWAMP Light (RFC 5357 Appendix I): there is no control
        connection, each reply has the number and the DSCP of its request, and what is shorter than its
        reply (41 octets) is dropped.  ``local`` may be a wildcard address (of IPv6 with IPV6_V6ONLY set):
        a reply leaves from the address that was asked.  It is started, and removed like any other; the
        OSErrors are those of :meth:`add`.
        """
        native = ffi.new("struct tw_endpoint *", native_endpoint(local))
        fd = -1 if sock is None else sock.fileno()
        with self._lock:
            return check(lib.tw_reflector_add_light(self._opened, native, fd))

    def set_light_clients(self, prefixes: Iterable[IPv4Network | IPv6Network]) -> None:
        """Sets the clients that may use light sessions from now on; without prefixes, everybody may.

        Packets of other clients are dropped as ``client_list``.  ValueError for more than 1024 prefixes.
        """
        rows = [native_prefix(prefix) for prefix in prefixes]
        if len(rows) > lib.TW_LIGHT_CLIENTS_MAX:
            raise ValueError(
                f"{len(rows)} prefixes of light clients: 0..{lib.TW_LIGHT_CLIENTS_MAX} are possible,"
                " so merge some"
            )
        native = ffi.new("struct tw_prefix[]", rows)
        with self._lock:
            check(lib.tw_reflector_set_light_clients(self._opened, native, len(rows)))

    def set_rate_limit(self, rate_limit: int) -> None:
        """Limits the packets per second that are reflected to one client; 0 is no limit.

        A client is an IPv4 address, or a /64 of IPv6, with all its sessions.  A tenth of a second's
        worth may come at once, and 16 in any case; the rest is dropped as ``rate_limit``.
        """
        with self._lock:
            check(lib.tw_reflector_set_rate_limit(self._opened, rate_limit))

    def set_light_rate_limit(self, rate_limit: int) -> None:
        """Limits the packets per second of one client of light sessions while everybody may use them."""
        with self._lock:
            check(lib.tw_reflector_set_light_rate_limit(self._opened, rate_limit))

    def start(self, session_id: int) -> None:
        """Starts reflecting a session's packets (Start-Sessions).  OSError ENOENT for a stale id."""
        with self._lock:
            check(lib.tw_reflector_start(self._opened, session_id))

    def finish(self, session_id: int, deadline_ns: int) -> None:
        """Reflects a session's packets until ``deadline_ns`` (CLOCK_MONOTONIC) and never later."""
        with self._lock:
            check(lib.tw_reflector_finish(self._opened, session_id, deadline_ns))

    def remove(self, session_id: int) -> None:
        """Removes a session; its port is free a moment after its last session is gone."""
        with self._lock:
            check(lib.tw_reflector_remove(self._opened, session_id))

    def session_stats(self, session_id: int) -> SessionStats:
        """The counters of one session now; from any thread."""
        native = ffi.new("struct tw_session_stats *")
        with self._lock:
            check(lib.tw_reflector_session_stats(self._opened, session_id, native))
        return SessionStats.of(native)

    def stats_of(self, ids: Sequence[int]) -> list[SessionStats | None]:
        """The counters of many sessions, in the order of ``ids``; None for a stale id.

        Each is of one moment, not all of the same: the loop goes on in between.
        """
        count = len(ids)
        native = ffi.new("struct tw_session_stats[]", count)
        found = ffi.new("uint8_t[]", count)
        asked = ffi.new("int64_t[]", list(ids))
        with self._lock:
            check(lib.tw_reflector_session_stats_of(self._opened, asked, count, native, found))
        return [SessionStats.of(native[i]) if found[i] else None for i in range(count)]

    def stats(self) -> ReflectorStats:
        """The counters now, or as they were when it was closed; from any thread."""
        with self._lock:
            return self._stats if self._handle is None else self._read_stats()

    def _read_stats(self) -> ReflectorStats:
        native = ffi.new("struct tw_reflector_stats *")
        lib.tw_reflector_stats(self._handle, native)
        return ReflectorStats.of(native)

    def turns(self) -> tuple[int, ...]:
        """How often each of the reflector's loops has turned; it has one."""
        return (self.stats().counters["turns"],)

    def t3_error(self) -> T3ErrorStats:
        """The error of T3, sampled on at most about a thousand replies a second; from any thread.

        Empty once it is closed, and where the kernel is not to stamp.
        """
        native = ffi.new("struct tw_t3_error_stats *")
        with self._lock:
            if self._handle is None:
                return T3ErrorStats()
            lib.tw_reflector_t3_error(self._handle, native)
        return T3ErrorStats.of(native)

    def receive_lag(self) -> EngineHistogram:
        """How much later than the device the kernel stamped packets, of those with both stamps, in ns.

        Empty once it is closed; from any thread.
        """
        native = ffi.new("struct tw_histogram *")
        with self._lock:
            if self._handle is None:
                return EngineHistogram()
            lib.tw_reflector_receive_lag(self._handle, native)
        return EngineHistogram.of(native)

    def set_clock_models(self, models: Sequence[EngineClockModel]) -> None:
        """Sets the models of the devices' clocks from now on, for ``timestamp="hardware"``.

        Stamps of a device without a model, or more than 10 s from it, are refused.  ValueError for more
        than 8.
        """
        if len(models) > lib.TW_CLOCK_MODELS_MAX:
            raise ValueError(
                f"{len(models)} clock models: 0..{lib.TW_CLOCK_MODELS_MAX} are possible"
            )
        native = ffi.new("struct tw_clock_model[]", [vars(model) for model in models])
        with self._lock:
            check(lib.tw_reflector_set_clock_models(self._opened, native, len(models)))

    def nudge(self) -> None:
        """Makes the loop take a turn without a packet; :meth:`turns` shows whether it still does."""
        with self._lock:
            check(lib.tw_reflector_nudge(self._opened))

    def step(self, timeout_ms: int = 0) -> int:
        """One turn of the loop, for a reflector without a thread; returns the packets read."""
        if self._thread is not None or self._handle is None:
            raise RuntimeError("the loop is the thread's, or over")
        return check(lib.tw_reflector_step(self._handle, timeout_ms))
