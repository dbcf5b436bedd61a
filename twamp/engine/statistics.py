"""Counters of a Session-Reflector, copied out of C: of a session, of a reflector, of all its workers.

The names of drops, sources and counters are those of the enums in ``csrc/api/``.  A counter costs a
row of ``enum tw_counter``, its increment in C, and a row of :data:`COUNTERS`.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from twamp.engine.native import enum_names

_DROPS = enum_names("tw_drop", "TW_DROP_")
_SOURCES = enum_names("tw_source", "TW_SOURCE_")
_COUNTERS = enum_names("tw_counter", "TW_COUNTER_")
_SOURCE_NAMES = {value: name for name, value in _SOURCES.items()}


class CounterRow(NamedTuple):
    """How a counter of the Session-Reflector is shown."""

    metric: str  # the exporter's name, between "twamp_" and "_total"
    help: str


COUNTERS: Final[Mapping[str, CounterRow]] = MappingProxyType(
    {
        "overflows": CounterRow(
            "reflector_receive_buffer_overflows",
            "Datagrams lost in full receive buffers, never received.",
        ),
        "truncated_control": CounterRow(
            "reflector_truncated_control",
            "Test packets whose ancillary data was cut short.",
        ),
        "refused_stamps": CounterRow(
            "reflector_refused_stamps",
            "Receive timestamps that were not plausible, and not used.",
        ),
        "segmented": CounterRow(
            "reflector_packets_segmented",
            "Test packets answered by segments of one send; each is among the reflected.",
        ),
        "segments_refused": CounterRow(
            "reflector_segments_refused",
            "Sends of segments that the kernel refused; the replies left one by one.",
        ),
        "zero_error_estimates": CounterRow(
            "reflector_zero_error_estimates",
            "Test packets answered though their Error Estimate has Multiplier 0.",
        ),
        "turns": CounterRow(
            "reflector_turns",
            "Turns of the reflecting loop; it makes one a second even without packets.",
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class SessionStats:
    """``struct tw_session_stats``: received == reflected + dropped, always."""

    received: int
    reflected: int
    dropped: int
    zero_error_estimates: int = 0  # of the reflected: requests with Multiplier 0
    last_packet_ns: int  # CLOCK_MONOTONIC of the last good one while started; 0 = none yet
    last_received_sequence: int | None = None  # the sender's; None while no good packet came
    last_sent_sequence: int | None = None  # the reflector's own; None while nothing was reflected
    last_source: str | None = None  # of the last good packet's T2, by enum tw_source

    @classmethod
    def of(cls, native: Any) -> Self:
        """From a ``struct tw_session_stats``."""
        good = native.last_packet_ns != 0
        return cls(
            received=native.received,
            reflected=native.reflected,
            dropped=native.dropped,
            zero_error_estimates=native.zero_error_estimates,
            last_packet_ns=native.last_packet_ns,
            last_received_sequence=native.last_received_sequence if good else None,
            last_sent_sequence=native.last_sent_sequence if native.reflected else None,
            last_source=_SOURCE_NAMES.get(native.last_source),
        )


@dataclass(frozen=True, kw_only=True)
class ReflectorStats:
    """``struct tw_reflector_stats``: received == reflected + the sum of drops, always."""

    received: int = 0
    reflected: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)  # by the name of enum tw_drop
    receive_sources: Mapping[str, int] = field(default_factory=dict)  # of T2, by enum tw_source
    counters: Mapping[str, int] = field(default_factory=dict)  # by enum tw_counter: COUNTERS
    sessions: int = 0
    sockets: int = 0
    receive_buffer: int = 0  # octets that the kernel granted, of the latest socket
    chunk: float = 0  # replies under one T3, now

    @classmethod
    def of(cls, native: Any) -> Self:
        """From a ``struct tw_reflector_stats``."""
        return cls(
            received=native.received,
            reflected=native.reflected,
            drops={name: native.drops[row] for name, row in _DROPS.items()},
            receive_sources={name: native.receive_sources[row] for name, row in _SOURCES.items()},
            counters={name: native.counters[row] for name, row in _COUNTERS.items()},
            sessions=native.sessions,
            sockets=native.sockets,
            receive_buffer=native.receive_buffer,
            chunk=native.t3_chunk / 8,
        )

    @classmethod
    def sum(cls, each: "Sequence[ReflectorStats]") -> "ReflectorStats":
        """All of them as one; ``chunk`` and ``receive_buffer`` are the largest."""
        if len(each) == 1:
            return each[0]
        return cls(
            received=sum(one.received for one in each),
            reflected=sum(one.reflected for one in each),
            drops=_sums([one.drops for one in each]),
            receive_sources=_sums([one.receive_sources for one in each]),
            counters=_sums([one.counters for one in each]),
            sessions=sum(one.sessions for one in each),
            sockets=sum(one.sockets for one in each),
            receive_buffer=max(one.receive_buffer for one in each),
            chunk=max(one.chunk for one in each),
        )


def _sums(each: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name, in the order of the first."""
    return {name: sum(one[name] for one in each) for name in each[0]}


@dataclass(frozen=True, kw_only=True)
class EngineHistogram:
    """``struct tw_histogram``: ``counts`` are by ns: 0..31 one each; above, 32 for each doubling."""

    samples: int = 0
    most_ns: int = 0
    counts: Sequence[int] = ()

    @classmethod
    def of(cls, native: Any) -> Self:
        """From a ``struct tw_histogram``."""
        return cls(samples=native.samples, most_ns=native.most_ns, counts=tuple(native.counts))

    @classmethod
    def sum(cls, each: "Sequence[EngineHistogram]") -> "EngineHistogram":
        """All of them as one."""
        return cls(
            samples=sum(one.samples for one in each),
            most_ns=max((one.most_ns for one in each), default=0),
            counts=tuple(
                map(sum, itertools.zip_longest(*(one.counts for one in each), fillvalue=0))
            ),
        )

    def doublings(self) -> dict[int, int]:
        """How many values there are up to 31 ns, and in each doubling above, by its greatest value."""
        result: dict[int, int] = {}
        for bucket, count in enumerate(self.counts):
            if count:
                greatest = (32 << bucket // 32) - 1
                result[greatest] = result.get(greatest, 0) + count
        return result

    def percentile_ns(self, percent: float) -> int:
        """The nearest rank, to the end of its bucket, 3 % more at most; 0 without samples."""
        wanted = math.ceil(self.samples * percent / 100)
        for bucket, seen in enumerate(itertools.accumulate(self.counts)):
            if seen >= max(wanted, 1):
                return min(_end_of_bucket(bucket), self.most_ns)
        return 0


def _end_of_bucket(bucket: int) -> int:
    if bucket < 32:
        return bucket
    return ((bucket % 32 + 33) << (bucket // 32 - 1)) - 1


@dataclass(frozen=True, kw_only=True)
class T3ErrorStats:
    """``struct tw_t3_error_stats``: how much later than its T3 a reply has left, of the sampled ones."""

    error: EngineHistogram = field(default_factory=EngineHistogram)
    missed: int = 0  # asked for, and never told
    early: int = 0  # left before its T3; in the histogram as 0
    correction_ns: int = 0  # is added to the clock for T3, now
    source: str | None = None  # who tells: "kernel", "hardware"; None while nobody has

    @classmethod
    def of(cls, native: Any) -> Self:
        """From a ``struct tw_t3_error_stats``."""
        return cls(
            error=EngineHistogram.of(native.error),
            missed=native.missed,
            early=native.early,
            correction_ns=native.correction_ns,
            source=_SOURCE_NAMES.get(native.source),
        )

    @classmethod
    def sum(cls, each: "Sequence[T3ErrorStats]") -> "T3ErrorStats":
        """All of them as one; ``correction_ns`` is the largest."""
        sources = {one.source for one in each} - {None}
        return cls(
            error=EngineHistogram.sum([one.error for one in each]),
            missed=sum(one.missed for one in each),
            early=sum(one.early for one in each),
            correction_ns=max(one.correction_ns for one in each),
            source="kernel" if "kernel" in sources else next(iter(sources), None),
        )
