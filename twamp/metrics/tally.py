"""Figures that can be added up: counts and histograms of samples that need not be kept.

A :class:`Tally` takes any number of packets, and tallies of intervals add up to that of all.  A
:class:`SessionFold` adds the samples of one session to tallies, in the order of their numbers, as
:meth:`~twamp.engine.session_sender.SessionSender.collect` gives them.

:meth:`Tally.metrics` gives the figures of :mod:`twamp.metrics.measure`, with three limits: percentiles
are right to 0.1 %; which way a packet was lost is asked within one tally, so that those before its
first and after its last answer are ``unknown``; and a reply that came after its row was collected is
no sample but a drop, ``late``.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from twamp.metrics.columns import Jitter
from twamp.metrics.figures import Delay, Hops, Loss, Metrics, Reordering, by_source, by_value
from twamp.metrics.histogram import Histogram
from twamp.metrics.sample import (
    INITIAL_TTL,
    SOURCES,
    Delays,
    Sample,
    delays,
    is_clock_back,
    is_late,
    is_stamped,
)
from twamp.metrics.values import Less
from twamp.protocol.timestamps import (
    ErrorEstimate,
    difference_ns,
    ntp_from_unix_ns,
    unix_ns_from_ntp,
)

MOST_IN_FLIGHT = 1 << 16  # arrivals that wait for their order to be judged


@dataclass
class Variation:
    """One kind of delay in ns, and how it varies.

    ``ipdv``: from packet to packet (RFC 3393); ``jitter``: RTP's (RFC 3550) after the last packet.
    """

    delay: Histogram = field(default_factory=Histogram)
    ipdv: Histogram = field(default_factory=Histogram)
    jitter: int | None = None

    def merge(self, other: "Variation") -> None:
        """Adds what was measured later."""
        self.delay.merge(other.delay)
        self.ipdv.merge(other.ipdv)
        if other.jitter is not None:
            self.jitter = other.jitter

    @property
    def pdv(self) -> Less:
        """Each delay less the least (RFC 5481 section 4.2)."""
        return Less(self.delay, self.delay.minimum or 0)

    def figures(self, error_ns: int | None) -> Delay:
        return Delay.of_session(self.delay, self.ipdv, jitter=self.jitter, error_ns=error_ns)


@dataclass
class Tally:
    """Packets of one or more sessions, added up.  ``first`` and ``last``: T1 in Unix ns.

    Memory: ten histograms and some forty numbers.
    """

    first: int | None = None
    last: int | None = None
    sent: int = 0
    received: int = 0
    unstamped: int = 0  # of received: T2 or T3 is 0, so that there are no delays
    clock_back: int = 0  # of received: T4 is before T1, so our clock was set back meanwhile
    late: int = 0
    forward: int = 0
    reverse: int = 0
    unknown: int = 0
    send_duplicates: int = 0
    reflect_duplicates: int = 0
    reordered: int = 0
    reordered_forward: int = 0
    reordered_reverse: int = 0
    send_errors: int = 0
    stalls: int = 0  # times that the sender waited for us
    sender_unsynchronized: int = 0  # of those with delays
    reflector_unsynchronized: int = 0
    error_ns: int | None = None  # of a one-way delay: the greatest sum of both ends' estimates
    round_trip: Variation = field(default_factory=Variation)
    send: Variation = field(default_factory=Variation)
    reflect: Variation = field(default_factory=Variation)
    # One-way delays of the packets of which they are known: for counters that only ever grow.
    known_send: Histogram = field(default_factory=Histogram)
    known_reflect: Histogram = field(default_factory=Histogram)
    below_zero_ns: int = 0  # the sum of the round trips that are negative
    processing: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)  # of sending, after the schedule
    sender_error_ns: int | None = None  # the greatest Error Estimate of either end
    reflector_error_ns: int | None = None
    send_hops: Counter[int] = field(default_factory=Counter)
    reflect_hops: Counter[int] = field(default_factory=Counter)
    reflect_dscp: Counter[int] = field(default_factory=Counter)  # of replies as received
    reflect_ecn: Counter[int] = field(default_factory=Counter)
    t1_sources: Counter[str] = field(default_factory=Counter)
    t4_sources: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        return self.sent - self.received

    @property
    def loss(self) -> Loss:
        return Loss(self.late, self.forward, self.reverse, self.unknown)

    @property
    def reordering(self) -> Reordering:
        return Reordering(self.reordered, self.reordered_forward, self.reordered_reverse)

    def metrics(self) -> Metrics:
        """The figures of this tally as those of a finite session; the histograms are not copied."""
        both_ways = None if self.error_ns is None else 2 * self.error_ns
        timed = self.received - self.unstamped
        return Metrics(
            first=None if self.first is None else ntp_from_unix_ns(self.first),
            last=None if self.last is None else ntp_from_unix_ns(self.last),
            sent=self.sent,
            received=self.received,
            unstamped=self.unstamped,
            clock_back=self.clock_back,
            loss=self.loss,
            send_duplicates=self.send_duplicates,
            reflect_duplicates=self.reflect_duplicates,
            reordering=self.reordering,
            round_trip=self.round_trip.figures(both_ways),
            send=self.send.figures(self.error_ns),
            reflect=self.reflect.figures(self.error_ns),
            processing=self.processing,
            send_hops=Hops.of(self.send_hops),
            reflect_hops=Hops.of(self.reflect_hops),
            sender_synchronized=timed > 0 and not self.sender_unsynchronized,
            reflector_synchronized=timed > 0 and not self.reflector_unsynchronized,
            sender_error_ns=self.sender_error_ns,
            reflector_error_ns=self.reflector_error_ns,
            t1_sources=by_source(self.t1_sources),
            t4_sources=by_source(self.t4_sources),
            reflect_dscp=by_value(self.reflect_dscp),
            reflect_ecn=by_value(self.reflect_ecn),
            lateness=self.lateness,
            drops=dict(self.drops),
            send_errors=self.send_errors,
            stalls=self.stalls,
        )

    def merge(self, other: "Tally") -> None:
        """Adds all that ``other`` has, which was measured later or by another session."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(value, Histogram | Variation):
                mine.merge(value)
            elif isinstance(value, Counter):
                mine.update(value)
            elif name in _GREATEST:
                setattr(self, name, max(_known(mine, value), default=None))
            elif name != "first":
                setattr(self, name, mine + value)
        self.first = min(_known(self.first, other.first), default=None)

    @classmethod
    def of(cls, parts: Iterable["Tally"]) -> "Tally":
        """Sessions together; their jitter is the greatest."""
        result = cls()
        parts = list(parts)
        for part in parts:
            result.merge(part)
        for name in ("round_trip", "send", "reflect"):
            jitters = _known(*(getattr(part, name).jitter for part in parts))
            getattr(result, name).jitter = max(jitters, default=None)
        return result

    def add_counters(self, *, drops: Mapping[str, int], send_errors: int, stalls: int) -> None:
        """Adds a sender's own counters, as far as they have grown since the last time."""
        self.drops.update({name: count for name, count in drops.items() if count})
        self.send_errors += send_errors
        self.stalls += stalls


_GREATEST = ("last", "error_ns", "sender_error_ns", "reflector_error_ns")


def _known(*values: int | None) -> list[int]:
    return [value for value in values if value is not None]


class _Estimate(NamedTuple):
    synchronized: bool
    error_ns: int

    @classmethod
    def of(cls, value: int) -> "_Estimate":
        estimate = ErrorEstimate.from_int(value)
        return cls(estimate.synchronized, estimate.error_ns)


class _Order:
    """Counts packets that arrive after one sent later (RFC 4737 section 3.3)."""

    def __init__(self) -> None:
        self._expected = 0

    def is_reordered(self, number: int) -> bool:
        if number < self._expected:
            return True
        self._expected = number + 1
        return False


class _Arrival(NamedTuple):
    """A reply in time; ``place``: its rank, or the reflector's number."""

    place: int
    sequence_number: int
    sample: Sample
    delays: Delays | None  # of a reply without the reflector's timestamps


class _Jitters(NamedTuple):
    round_trip: Jitter
    send: Jitter
    reflect: Jitter


class SessionFold:
    """Adds one session's samples to tallies.

    Whether a packet was reordered can be told once everything has been seen that was sent before it
    arrived: until then its arrival waits here, and then it counts in the tally of the day.
    """

    def __init__(self, loss_timeout_ns: int) -> None:
        self._loss_timeout_ns = loss_timeout_ns
        self._copies: dict[int, list[int]] = {}  # reflector numbers of duplicates, by packet
        self._previous: tuple[int, int, int] | None = None  # delays of the packet sent before
        self._estimates: dict[tuple[int, int], tuple[_Estimate, _Estimate]] = {}
        # For loss by direction, within the tally that was used last:
        self._tally: Tally | None = None
        self._silent = 0  # unanswered since the last answer
        self._resolved = 0  # unanswered before it
        self._reverse = 0  # of resolved, already counted as reverse
        self._greatest = -1  # reflector numbers: the greatest, and how many
        self._numbers = 0
        self._missing_before = 0  # before this tally
        # Arrivals whose turn has not come, by rank and by the reflector's number.
        self._by_rank: list[_Arrival] = []
        self._by_reflector: list[_Arrival] = []
        self._round_trip, self._there, self._back = _Order(), _Order(), _Order()
        self._jitter = _Jitters(Jitter(), Jitter(), Jitter())

    def add_duplicates(self, duplicates: Iterable[Sample]) -> None:
        """Adds further replies, before the samples of their packets are added."""
        for sample in duplicates:
            self._copies.setdefault(sample.sequence_number, []).append(
                sample.reflector_sequence_number
            )

    def add(self, samples: Iterable[Sample], tally: Tally) -> None:
        """Adds final samples, in the order of their numbers, until all have been added."""
        if tally is not self._tally:
            self._begin(tally)
        sample = None
        for sample in samples:
            if sample.t1_source:
                self._add_sent(sample, tally)
        if sample is not None and sample.t1_source:
            self._judge_order(tally, sample.t1)
        self._share_losses(tally)

    def finish(self, tally: Tally) -> None:
        """Ends the session: no packet was sent after those that were added."""
        self._judge_order(tally, None)
        self._copies.clear()

    def _begin(self, tally: Tally) -> None:
        self._tally = tally
        self._silent = self._resolved = self._reverse = 0
        self._missing_before = self._greatest + 1 - self._numbers

    def _add_sent(self, sample: Sample, tally: Tally) -> None:
        tally.sent += 1
        t1 = unix_ns_from_ntp(sample.t1)
        if tally.first is None or t1 < tally.first:
            tally.first = t1
        if tally.last is None or t1 > tally.last:
            tally.last = t1
        tally.t1_sources[SOURCES[sample.t1_source]] += 1
        tally.lateness.add(sample.lateness_ns)
        if not sample.rank:
            self._silent += 1
            tally.unknown += 1
            self._previous = None
            return
        self._count_copies(sample, tally)
        self._resolved += self._silent
        tally.unknown -= self._silent
        tally.forward += self._silent  # until the numbers say otherwise
        self._silent = 0
        if is_late(sample, self._loss_timeout_ns):
            tally.late += 1
            self._previous = None
        else:
            self._add_received(sample, tally)

    def _count_copies(self, sample: Sample, tally: Tally) -> None:
        number = sample.reflector_sequence_number
        distinct = 1
        copies = self._copies.pop(sample.sequence_number, None)
        if copies is not None:
            distinct = len({number, *copies})
            tally.send_duplicates += distinct - 1
            tally.reflect_duplicates += 1 + len(copies) - distinct
            self._greatest = max(self._greatest, *copies)
        self._numbers += distinct
        if number > self._greatest:
            self._greatest = number

    def _add_received(self, sample: Sample, tally: Tally) -> None:
        tally.received += 1
        tally.clock_back += is_clock_back(sample)
        tally.send_hops[INITIAL_TTL - sample.sender_ttl] += 1
        tally.reflect_hops[INITIAL_TTL - sample.ttl] += 1
        tally.t4_sources[SOURCES[sample.t4_source]] += 1
        tally.reflect_dscp[sample.tos >> 2] += 1
        tally.reflect_ecn[sample.tos & 3] += 1
        one = None
        if is_stamped(sample):
            one = delays(sample)
            self._add_delays(sample, one, tally)
        else:
            tally.unstamped += 1
            self._previous = None
        sequence, number = sample.sequence_number, sample.reflector_sequence_number
        heapq.heappush(self._by_rank, _Arrival(sample.rank, sequence, sample, one))
        heapq.heappush(self._by_reflector, _Arrival(number, sequence, sample, one))

    def _add_delays(self, sample: Sample, one: Delays, tally: Tally) -> None:
        tally.round_trip.delay.add(one.round_trip)
        tally.send.delay.add(one.send)
        tally.reflect.delay.add(one.reflect)
        tally.processing.add(one.processing)
        tally.below_zero_ns += min(one.round_trip, 0)
        if self._previous is not None:
            round_trip, send, reflect = self._previous
            tally.round_trip.ipdv.add(one.round_trip - round_trip)
            tally.send.ipdv.add(one.send - send)
            tally.reflect.ipdv.add(one.reflect - reflect)
        self._previous = one[:3]
        here, there = self._estimates_of(sample)
        if here.synchronized and there.synchronized and min(one) >= 0:
            tally.known_send.add(one.send)
            tally.known_reflect.add(one.reflect)
        tally.sender_unsynchronized += not here.synchronized
        tally.reflector_unsynchronized += not there.synchronized
        tally.error_ns = max(tally.error_ns or 0, here.error_ns + there.error_ns)
        tally.sender_error_ns = max(tally.sender_error_ns or 0, here.error_ns)
        tally.reflector_error_ns = max(tally.reflector_error_ns or 0, there.error_ns)

    def _estimates_of(self, sample: Sample) -> "tuple[_Estimate, _Estimate]":
        """Those of both ends; they seldom change."""
        key = (sample.sender_error_estimate, sample.reflector_error_estimate)
        found = self._estimates.get(key)
        if found is None:
            here, there = map(_Estimate.of, key)
            found = here, there
            if len(self._estimates) >= 64:
                self._estimates.clear()
            self._estimates[key] = found
        return found

    def _share_losses(self, tally: Tally) -> None:
        """Counts the reflector's missing numbers as lost on the way back, other losses as forward."""
        missing = max(0, self._greatest + 1 - self._numbers - self._missing_before)
        reverse = min(missing, self._resolved)
        tally.reverse += reverse - self._reverse
        tally.forward -= reverse - self._reverse
        self._reverse = reverse

    def _judge_order(self, tally: Tally, t1: int | None) -> None:
        """Judges the order of arrivals before ``t1``, the last departure so far (None: of all)."""

        def take(waiting: list[_Arrival]) -> Iterator[_Arrival]:
            while waiting and (
                t1 is None
                or difference_ns(t1, waiting[0].sample.t4) > 0
                or len(waiting) > MOST_IN_FLIGHT
            ):
                yield heapq.heappop(waiting)

        back = [*take(self._by_rank)]
        for _, sequence, sample, _ in back:
            tally.reordered += self._round_trip.is_reordered(sequence)
            tally.reordered_reverse += self._back.is_reordered(sample.reflector_sequence_number)
        there = [*take(self._by_reflector)]
        for _, sequence, _, _ in there:
            tally.reordered_forward += self._there.is_reordered(sequence)
        came_back = [arrival.delays for arrival in back if arrival.delays]
        self._jitter.round_trip.add([each.round_trip for each in came_back])
        self._jitter.send.add([arrival.delays.send for arrival in there if arrival.delays])
        self._jitter.reflect.add([each.reflect for each in came_back])
        if tally.received > tally.unstamped:
            tally.round_trip.jitter = self._jitter.round_trip.value
            tally.send.jitter = self._jitter.send.value
            tally.reflect.jitter = self._jitter.reflect.value
