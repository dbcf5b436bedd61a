"""The figures of a measurement: :class:`Metrics`, and what it is made of.

A finite session's are exact (:mod:`twamp.metrics.measure`); those of an interval of a continuous one
come from histograms (:mod:`twamp.metrics.tally`) and differ only in the ``resolution`` of their
percentiles.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from twamp.metrics.sample import INITIAL_TTL, SOURCES, signed
from twamp.metrics.values import Less, Movable, Values, all_together


@dataclass(frozen=True, kw_only=True)
class Delay:
    """One kind of delay and how it varies.

    ``pdv``: each delay less the session's least (RFC 5481 section 4.2).  ``ipdv``: each delay less
    that of the packet sent just before it; undefined, and so left out, where either is lost
    (RFC 3393).  ``jitter``: that of RTP (RFC 3550) after the last packet; the greatest of several
    sessions.  ``error_ns``: the greatest sum of the error estimates that a delay stands on, None
    without a delay.
    """

    delay: Values
    pdv: Values
    ipdv: Values
    jitter: int | None
    error_ns: int | None

    @classmethod
    def of_session(
        cls, delay: Movable, ipdv: Values, *, jitter: int | None, error_ns: int | None
    ) -> "Delay":
        pdv = Less(delay, delay.minimum or 0)
        return cls(delay=delay, pdv=pdv, ipdv=ipdv, jitter=jitter, error_ns=error_ns)

    @classmethod
    def together(cls, parts: Sequence["Delay"]) -> "Delay":
        """PDV is taken within each session, and then put together."""
        return cls(
            delay=all_together([part.delay for part in parts]),
            pdv=all_together([part.pdv for part in parts]),
            ipdv=all_together([part.ipdv for part in parts]),
            jitter=_greatest(part.jitter for part in parts),
            error_ns=_greatest(part.error_ns for part in parts),
        )


@dataclass(frozen=True, kw_only=True)
class Hops:
    """Routers passed, 255 − TTL: how many different counts were seen, and their ends.

    ``counts``: packets by the number of routers.
    """

    distinct: int = 0
    minimum: int | None = None
    maximum: int | None = None
    counts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> "Hops":
        """From packets by the number of routers."""
        return cls(
            distinct=len(counts),
            minimum=min(counts, default=None),
            maximum=max(counts, default=None),
            counts=dict(counts),
        )

    @classmethod
    def of_ttls(cls, counts: Mapping[int, int]) -> "Hops":
        """From packets by the TTL with which they came."""
        return cls.of({INITIAL_TTL - ttl: count for ttl, count in counts.items()})


class Loss(NamedTuple):
    """Where packets were lost: ``late + forward + reverse + unknown`` is all that were lost.

    Inferred: a Session-Reflector numbers its replies 0, 1, 2, … as packets reach it (RFC 5357
    section 4.2.1), so a number below the greatest that came back, but which itself did not, is a
    packet that arrived and whose reply was lost (``reverse``).  The other packets lost before the
    last one answered never arrived (``forward``).  The direction of those after it is ``unknown``.

    Limits: a reflector that copies the sender's number instead (stateless: RFC 8762 section 4)
    makes every loss look like ``reverse``; so does one that does not begin at 0; a duplicate made
    on the way there whose reply is lost counts as ``reverse`` in place of a ``forward`` one.
    """

    late: int = 0
    forward: int = 0
    reverse: int = 0
    unknown: int = 0


class Reordering(NamedTuple):
    """Packets that came after one sent later: Type-P-Reordered (RFC 4737 section 3.3).

    ``round_trip`` judges sending against return; ``forward`` sending against arrival at the
    reflector (by its numbers), ``reverse`` these against return.  First replies in time only.
    """

    round_trip: int = 0
    forward: int = 0
    reverse: int = 0


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """All the figures that are reported.  ``first`` and ``last``: T1 (NTP) of the ends; None if none was sent.

    ``send_duplicates``: further reflector numbers for one packet (it was multiplied on the way
    there); ``reflect_duplicates``: the same reflector number again (on the way back).
    """

    first: int | None
    last: int | None
    sent: int
    received: int
    unstamped: int  # of received: T2 or T3 is 0, so that there are no delays
    clock_back: int  # of received: T4 is before T1, so our clock was set back meanwhile
    loss: Loss
    send_duplicates: int
    reflect_duplicates: int
    reordering: Reordering
    round_trip: Delay
    send: Delay
    reflect: Delay
    processing: Values
    send_hops: Hops
    reflect_hops: Hops
    sender_synchronized: bool
    reflector_synchronized: bool
    sender_error_ns: int | None  # the greatest Error Estimate of either end
    reflector_error_ns: int | None
    t1_sources: Mapping[str, int]
    t4_sources: Mapping[str, int]
    reflect_dscp: Mapping[int, int]  # replies by the DSCP with which they were received
    reflect_ecn: Mapping[int, int]  # and by ECN; the forward direction cannot be observed
    lateness: Values  # of sending, after the schedule
    drops: Mapping[str, int]
    send_errors: int
    icmp: Mapping[str, int] = field(default_factory=dict)  # ICMP errors about packets, by kind
    not_measured: int = 0  # packets whose fate the far end hid when it ended the session
    stalls: int | None = None  # times that sending waited for us; a finite run never does

    @property
    def lost(self) -> int:
        return self.sent - self.received

    @property
    def synchronized(self) -> bool:
        """Both ends said, in every packet, that an outside source keeps their clock."""
        return self.sender_synchronized and self.reflector_synchronized

    @property
    def clocks_apart(self) -> bool:
        """Some one-way delay is negative, so the clocks differ, whatever they say of themselves."""
        return any((kind.delay.minimum or 0) < 0 for kind in (self.send, self.reflect))

    @classmethod
    def together(cls, parts: Sequence["Metrics"]) -> "Metrics":
        """The figures of several sessions: exact, without a look at their samples.

        Loss by direction, duplicates, reordering, PDV and IPDV are taken within each session and then
        put together.
        """
        if len(parts) == 1:
            return parts[0]
        timed = [part for part in parts if part.processing.count]
        stalls = [part.stalls for part in parts if part.stalls is not None]
        return cls(
            first=_end((part.first for part in parts), min),
            last=_end((part.last for part in parts), max),
            sent=sum(part.sent for part in parts),
            received=sum(part.received for part in parts),
            unstamped=sum(part.unstamped for part in parts),
            clock_back=sum(part.clock_back for part in parts),
            loss=Loss(*map(sum, zip(*(part.loss for part in parts), strict=True))),
            send_duplicates=sum(part.send_duplicates for part in parts),
            reflect_duplicates=sum(part.reflect_duplicates for part in parts),
            reordering=Reordering(*map(sum, zip(*(p.reordering for p in parts), strict=True))),
            round_trip=Delay.together([part.round_trip for part in parts]),
            send=Delay.together([part.send for part in parts]),
            reflect=Delay.together([part.reflect for part in parts]),
            processing=all_together([part.processing for part in parts]),
            send_hops=Hops.of(_added(part.send_hops.counts for part in parts)),
            reflect_hops=Hops.of(_added(part.reflect_hops.counts for part in parts)),
            sender_synchronized=_all(part.sender_synchronized for part in timed),
            reflector_synchronized=_all(part.reflector_synchronized for part in timed),
            sender_error_ns=_greatest(part.sender_error_ns for part in parts),
            reflector_error_ns=_greatest(part.reflector_error_ns for part in parts),
            t1_sources=by_source(_added(part.t1_sources for part in parts)),
            t4_sources=by_source(_added(part.t4_sources for part in parts)),
            reflect_dscp=by_value(_added(part.reflect_dscp for part in parts)),
            reflect_ecn=by_value(_added(part.reflect_ecn for part in parts)),
            lateness=all_together([part.lateness for part in parts]),
            drops=dict(_added(part.drops for part in parts)),
            send_errors=sum(part.send_errors for part in parts),
            icmp=dict(_added(part.icmp for part in parts)),
            not_measured=sum(part.not_measured for part in parts),
            stalls=sum(stalls) if stalls else None,
        )


def by_value(counts: Mapping[int, int]) -> dict[int, int]:
    return dict(sorted(counts.items()))


def by_source(counts: Mapping[str, int]) -> dict[str, int]:
    """Packets by the source of a timestamp; those that did not occur are left out."""
    return {source: counts[source] for source in SOURCES if counts.get(source)}


def _greatest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _all(answers: Iterable[bool]) -> bool:
    """Whether there are any, and all of them true."""
    answers = list(answers)
    return bool(answers) and all(answers)


def _end(times: Iterable[int | None], least_or_most: Callable[[Iterable[int]], int]) -> int | None:
    """The earliest or the latest of NTP timestamps, right across an era."""
    known = [time for time in times if time is not None]
    if not known:
        return None
    origin = known[0]
    return (origin + least_or_most([signed(time - origin) for time in known])) % (1 << 64)


Key = TypeVar("Key")


def _added(parts: Iterable[Mapping[Key, int]]) -> Counter[Key]:
    result: Counter[Key] = Counter()
    for part in parts:
        result.update(part)
    return result
