"""Session-Sender (RFC 5357 section 4.1): runs C in a thread and owns the table of samples.

C sends and receives; Python gives the schedule, the peer and the contents, and reads the samples at the end::

    sender = SessionSender(sock, SenderConfig(peer=peer, schedule=schedule, start_ns=…, …))
    await sender.run()
    sender.samples, sender.duplicates, sender.stats()

With ``count`` greater than the schedule's length, samples are kept in a ring of that length, and the
caller keeps up with it while :meth:`SessionSender.run` runs: :meth:`~SessionSender.collect` takes the
samples that are final, and :meth:`~SessionSender.schedule_more` gives their rows to further packets.  A
caller that is late delays packets, and loses none.

The socket must be bound, and stays the caller's: C works with a duplicate of it.  Make the object well
before ``start_ns``: the kernel turns timestamps on some milliseconds after they were asked for.
"""

import asyncio
import os
import socket
import threading
import warnings
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from twamp.endpoint import Endpoint
from twamp.engine.native import (
    EngineClockModel,
    check,
    enum_names,
    ffi,
    lib,
    native_clock_models,
    native_endpoint,
    native_keys,
    python_endpoint,
    wipe_keys,
)
from twamp.engine.sample_table import SAMPLE_LAYOUT, SampleTable
from twamp.metrics.sample import Sample
from twamp.protocol.crypto import PacketKeys

# A 44-octet packet is charged 832 octets of it: 4 MB hold 5,000 of them.
RECEIVE_BUFFER = 4 << 20
LEAST_DUPLICATES = 1024
MOST_PACKETS = (1 << 32) - 1  # of one session: sequence numbers have 32 bits
PADDING_WINDOWS = 256


@dataclass(frozen=True, kw_only=True)
class SenderConfig:
    """Configures one Session-Sender.  Times are in nanoseconds.

    ``padding`` has at least ``padding_length + 255`` octets; each packet takes another window of it, so
    that packets differ.  By default it is random (RFC 4656 section 4.1.2), with ``zero_padding`` zeros.
    """

    peer: Endpoint
    schedule: Sequence[int]  # after start_ns, ascending; array("Q") is taken as it is
    count: int | None = None  # packets in all, up to MOST_PACKETS; None: as many as are scheduled
    start_ns: int  # CLOCK_MONOTONIC
    loss_timeout_ns: int  # replies are read so long after the last packet; of a ring: after each
    padding_length: int = 0
    zero_padding: bool = False
    padding: bytes | None = None
    dscp: int = 0
    mode: int = 1  # 1 unauthenticated, 2 authenticated, 4 encrypted
    keys: PacketKeys | None = None  # of the secured modes
    ttl: int = 255
    any_source: bool = False  # replies may come from any address and port
    zero_estimate: bool = False  # replies may have an Error Estimate of Multiplier 0
    do_not_fragment: bool = False  # packets have DF, and may be longer than the path's MTU
    hardware: bool = (
        False  # the device is to stamp, too, as far as set_clock_models tells of its clock
    )
    receive_buffer: int = RECEIVE_BUFFER
    duplicates_size: int | None = None  # rows; by default one for each packet, 1024 at least

    def padding_octets(self) -> bytes:
        size = self.padding_length + PADDING_WINDOWS - 1
        if self.zero_padding:
            return bytes(size)
        if self.padding is None:
            return os.urandom(size)
        if len(self.padding) < size:
            raise ValueError(f"padding has {len(self.padding)} octets; it needs {size}")
        return self.padding


@dataclass(frozen=True, kw_only=True)
class SenderStats:
    """The counters of one session (``struct tw_sender_stats``).

    At any time received == replies + duplicates + the sum of drops.
    """

    sent: int = 0
    send_errors: int = 0  # packets that the kernel refused
    received: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)  # by the name of enum tw_sender_drop
    refused_stamps: int = 0
    truncated_control: int = 0
    duplicates: int = 0
    stalls: int = 0  # times that a ring waited for schedule_more
    send_errno: int = 0  # of the last refused packet
    icmp: Mapping[str, int] = field(default_factory=dict)  # by the name of enum tw_icmp
    icmp_source: Endpoint | None = None  # of the last ICMP error
    path_mtu: int = 0  # as an ICMP error has said it; 0: none has
    foreign: Endpoint | None = None  # the source of the last foreign datagram
    without_estimate: int = 0  # replies taken whose Error Estimate has Multiplier 0

    @property
    def replies(self) -> int:
        """Packets answered at least once."""
        return self.received - self.duplicates - sum(self.drops.values())


_ICMP = enum_names("tw_icmp", "TW_ICMP_")
_DROPS = enum_names("tw_sender_drop", "TW_SENDER_DROP_")


def _table(rows: Any, count: int) -> SampleTable:
    return SampleTable(rows, ffi.cast("struct tw_sample *", rows), count)


def _ring_samples(table: Any, begin: int, end: int) -> list[Sample]:
    """Reads the rows of the packets from ``begin`` to before ``end``, at most one turn of the ring."""
    size, octets = len(table), ffi.buffer(table)
    result: list[Sample] = []
    while begin < end:
        place = begin % size
        count = min(end - begin, size - place)
        width = SAMPLE_LAYOUT.size
        rows = SAMPLE_LAYOUT.iter_unpack(octets[place * width : (place + count) * width])
        result.extend(map(Sample._make, rows))
        begin += count
    return result


class Collected(NamedTuple):
    """The result of :meth:`SessionSender.collect`; ``duplicates`` are of these samples or of later ones."""

    samples: list[Sample]
    duplicates: list[Sample]


class SessionSender:
    """Sends one test session; call :meth:`run` once.

    Raises OSError when the socket cannot be set up or has not the peer's IP version.
    """

    def __init__(self, sock: socket.socket, config: SenderConfig) -> None:
        self.config = config
        self._lock = threading.Lock()  # over the handle: nobody uses it after it is closed
        self._handle: Any = None
        self._started = False
        self._running = False
        self._stats = SenderStats()
        self._samples: SampleTable | None = None
        self._duplicates: SampleTable | None = None
        size = len(config.schedule)
        self._count = size if config.count is None else config.count
        if not 0 <= self._count <= MOST_PACKETS:
            raise ValueError(f"count is {self._count}; it goes from 0 to {MOST_PACKETS}")
        self._is_ring = self._count > size
        self._scheduled = min(size, self._count)
        self._collected = self._duplicates_collected = 0
        duplicates_size = config.duplicates_size
        if duplicates_size is None:
            duplicates_size = max(LEAST_DUPLICATES, size)
        schedule = config.schedule
        if not (isinstance(schedule, array) and schedule.typecode == "Q"):
            schedule = array("Q", schedule)
        # C keeps pointers into all of these.
        self._padding = ffi.from_buffer(config.padding_octets())
        self._schedule = ffi.from_buffer("uint64_t[]", schedule)
        self._sample_table = ffi.new("struct tw_sample[]", size)
        self._duplicate_table = ffi.new("struct tw_sample[]", duplicates_size)
        native = self._native_config()
        handle = ffi.new("struct tw_sender **")
        try:
            check(lib.tw_sender_open(native, sock.fileno(), handle))
        finally:
            wipe_keys(native)
        self._handle = handle[0]

    def _native_config(self) -> Any:
        config = self.config
        peer = native_endpoint(config.peer)
        return ffi.new(
            "struct tw_sender_config *",
            {
                "schedule": self._schedule,
                "padding": ffi.cast("uint8_t *", self._padding),
                "samples": self._sample_table,
                "duplicates": self._duplicate_table,
                "start_ns": config.start_ns,
                "loss_timeout_ns": config.loss_timeout_ns,
                "peer": peer,
                "count": self._count,
                "size": len(self._schedule),
                "padding_length": config.padding_length,
                "duplicates_size": len(self._duplicate_table),
                "receive_buffer": config.receive_buffer,
                "dscp": config.dscp,
                "mode": config.mode,
                "keys": native_keys(config.keys),
                "ttl": config.ttl,
                "hardware": config.hardware,
                "any_source": config.any_source,
                "zero_estimate": config.zero_estimate,
                "do_not_fragment": config.do_not_fragment,
            },
        )

    async def run(self) -> None:
        """Sends the schedule and reads replies until ``loss_timeout_ns`` after the last packet.

        Without a ring it ends earlier, once every packet has been answered and a quarter of a second has
        passed for duplicates.

        The work is done in a thread of its own.  When cancelled, it stops at once and joins the thread before
        it raises CancelledError.  Raises OSError when the kernel's poll fails.
        """
        if self._handle is None or self._started:
            raise RuntimeError("a SessionSender runs once")
        self._started = True
        loop = asyncio.get_running_loop()
        over: asyncio.Future[int] = loop.create_future()

        def lend() -> None:
            result = lib.tw_sender_run(self._handle)
            loop.call_soon_threadsafe(over.set_result, result)

        thread = threading.Thread(target=lend, name=f"twamp-sender-{self.config.peer.port}")
        thread.start()
        self._running = True
        cancelled = False
        while not over.done():
            try:
                await asyncio.shield(over)
            except asyncio.CancelledError:
                cancelled = True
                self.stop(drain=False)
        thread.join()
        self._running = False
        self.close()
        if cancelled:
            raise asyncio.CancelledError
        check(over.result())

    def stop(self, drain: bool = True) -> None:
        """Stops sending; :meth:`run` returns after ``loss_timeout_ns``, or at once without ``drain``.

        May be called from any thread or signal handler, also after the end.
        """
        with self._lock:
            if self._handle is not None:
                check(lib.tw_sender_stop(self._handle, drain))

    def set_clock_models(self, models: Sequence[EngineClockModel]) -> None:
        """Sets the models of the devices' clocks; may be called after the end, too.

        Raises ValueError for more than 8.
        """
        native = native_clock_models(models)
        with self._lock:
            if self._handle is not None:
                check(lib.tw_sender_set_clock_models(self._handle, native, len(models)))

    def close(self) -> None:
        """Frees what C holds, as :meth:`run` does at its end.  Samples and statistics stay."""
        if self._running:
            raise RuntimeError("the session still runs: stop it, and let run() return")
        with self._lock:
            if self._handle is not None:
                self._stats = self._read_stats()
                handle, self._handle = self._handle, None
                lib.tw_sender_close(handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            message = f"{self!r} was neither run nor closed"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)
            if not self._running:
                self.close()

    def stats(self) -> SenderStats:
        """Returns the counters as they are now; from any thread, also while the session runs."""
        with self._lock:
            return self._stats if self._handle is None else self._read_stats()

    def _read_stats(self) -> SenderStats:
        native = ffi.new("struct tw_sender_stats *")
        lib.tw_sender_stats(self._handle, native)
        return SenderStats(
            sent=native.sent,
            send_errors=native.send_errors,
            received=native.received,
            drops={name: native.drops[value] for name, value in _DROPS.items()},
            refused_stamps=native.refused_stamps,
            truncated_control=native.truncated_control,
            duplicates=native.duplicates,
            stalls=native.stalls,
            send_errno=native.send_errno,
            icmp={name: native.icmp[value] for name, value in _ICMP.items()},
            icmp_source=python_endpoint(native.icmp_source),
            path_mtu=native.path_mtu,
            foreign=python_endpoint(native.foreign),
            without_estimate=native.without_estimate,
        )

    @property
    def sent(self) -> int:
        """The number of packets sent so far."""
        return self.stats().sent

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples of all packets that were due, by sequence number; ``t1_source`` 0 = never left.

        Packets that were not yet due at :meth:`stop` have none.
        """
        self._require_end()
        if self._samples is None:
            stats = self.stats()
            self._samples = _table(self._sample_table, stats.sent + stats.send_errors)
        return self._samples

    @property
    def duplicates(self) -> Sequence[Sample]:
        """The second and later replies to packets, in the order of arrival."""
        self._require_end()
        if self._duplicates is None:
            self._duplicates = _table(self._duplicate_table, self.stats().duplicates)
        return self._duplicates

    def _require_end(self) -> None:
        if self._running:
            raise RuntimeError("C still writes the samples: wait for run() to return")
        if self._is_ring:
            raise RuntimeError("a ring does not keep the samples: collect() them")

    # ---- a ring ----------------------------------------------------------------------------------

    @property
    def collected(self) -> int:
        """The sequence number of the sample that :meth:`collect` gives next."""
        return self._collected

    @property
    def room(self) -> int:
        """The number of packets that :meth:`schedule_more` takes now."""
        return min(self._collected + len(self._schedule), self._count) - self._scheduled

    def collect(self) -> Collected:
        """Takes the samples that have become final since the last call, in the order of their numbers.

        A sample is final when its packet was sent more than ``loss_timeout_ns`` ago, or when :meth:`run` is
        over; a reply after that is a drop, ``late``.  Call this before the ring fills up, and never from two
        threads.
        """
        with self._lock:
            if self._handle is None:
                settled = self._stats.sent + self._stats.send_errors
                duplicates = self._stats.duplicates
            else:
                native = ffi.new("uint64_t *")
                settled = lib.tw_sender_settled(self._handle, native)
                duplicates = native[0]
        result = Collected(
            _ring_samples(self._sample_table, self._collected, settled),
            _ring_samples(self._duplicate_table, self._duplicates_collected, duplicates),
        )
        self._collected, self._duplicates_collected = settled, duplicates
        return result

    def schedule_more(self, times: Iterable[int] = ()) -> None:
        """Schedules the next packets, up to :attr:`room` of them, in ns after ``start_ns``, ascending.

        This also gives back the rows of the samples that were collected, so call it after each
        :meth:`collect`, even if there is nothing to schedule.
        """
        times = list(times)
        if len(times) > self.room:
            raise ValueError(f"{len(times)} packets, and there is room for {self.room}")
        for due_ns in times:
            self._schedule[self._scheduled % len(self._schedule)] = due_ns
            self._scheduled += 1
        with self._lock:
            if self._handle is not None:
                check(
                    lib.tw_sender_schedule_until(
                        self._handle, self._scheduled, self._duplicates_collected
                    )
                )
