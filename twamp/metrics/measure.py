"""What the samples of a session mean: delay, variation, loss, reordering, duplication.

Exact and in integers: times are nanoseconds, each rounded to the nearest once, from 64-bit NTP
differences that are right across an era.  Percentiles are values that occurred (nearest rank).

With T1 the departure, T2 and T3 the reflector's arrival and departure, T4 the return:

* round-trip time ``(T4 − T1) − (T3 − T2)``: the reflector's residence is taken out, and with it
  every offset between the clocks;
* send time ``T2 − T1`` and reflect time ``T4 − T3``: as true as the clocks are synchronised;
* reflector processing time ``T3 − T2``.

Only the first reply to a packet counts for delay.  One that took longer than the loss timeout from
T1 to T4 is lost, and also counted as late.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import isqrt
from operator import attrgetter
from typing import NamedTuple

from twamp.endpoint import Endpoint
from twamp.protocol.timestamps import NS, ErrorEstimate

SOURCES = ("none", "user", "kernel", "hardware")  # enum tw_source of csrc/api/types.h
INITIAL_TTL = 255  # RFC 4656 section 4.1.2: what test packets set out with
_HALF = 1 << 63


class Sample(NamedTuple):
    """One packet, there and back: ``struct tw_sample`` of csrc/api/sender.h, field for field.

    Timestamps are NTP 64 bit; ``rank`` is the order of arrival from 1, 0 = no reply; sources are
    those of ``enum tw_source`` (0 none, 1 user, 2 kernel, 3 hardware).
    """

    t1: int
    t2: int
    t3: int
    t4: int
    sequence_number: int
    reflector_sequence_number: int
    rank: int
    lateness_ns: int
    sender_error_estimate: int
    reflector_error_estimate: int
    sender_ttl: int
    ttl: int
    tos: int
    t1_source: int
    t4_source: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One session as it went: ``samples`` by sequence number, ``duplicates`` as they arrived.

    A sample with ``t1_source`` 0 never left; ``send_errors`` counts those.  ``drops``: received
    datagrams that were no replies, by reason.

    The hosts are the ends as the user wrote them; empty: by address.  A part of a session says how
    many packets that has, and which of the reflector's numbers are the part's: from the first up to
    the second, which is not included, or None where nothing later was answered.
    """

    sid: bytes
    source: Endpoint
    destination: Endpoint
    samples: Sequence[Sample]
    duplicates: Sequence[Sample] = ()
    loss_timeout_ns: int
    drops: Mapping[str, int] = field(default_factory=dict)
    send_errors: int = 0
    source_host: str = ""
    destination_host: str = ""
    packets_of_session: int | None = None
    reflector_numbers: tuple[int, int | None] = (0, None)


# ---- one sample ----------------------------------------------------------------------------------


class Delays(NamedTuple):
    """The four delays of one answered packet, in ns."""

    round_trip: int
    send: int
    reflect: int
    processing: int


def _signed(difference: int) -> int:
    """A difference of NTP timestamps, right while they are within 68 years of each other."""
    return (difference + _HALF) % (2 * _HALF) - _HALF


def _ns(units: int) -> int:
    return (units * NS + (1 << 31)) >> 32


def delays(sample: Sample) -> Delays:
    processing = _signed(sample.t3 - sample.t2)
    return Delays(
        round_trip=_ns(_signed(sample.t4 - sample.t1) - processing),
        send=_ns(_signed(sample.t2 - sample.t1)),
        reflect=_ns(_signed(sample.t4 - sample.t3)),
        processing=_ns(processing),
    )


def is_late(sample: Sample, loss_timeout_ns: int) -> bool:
    """A reply came, but longer after the departure than the loss timeout."""
    return sample.rank > 0 and _ns(_signed(sample.t4 - sample.t1)) > loss_timeout_ns


# ---- distributions -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distribution:
    """Values in ns, ascending.  What an empty one cannot know is None."""

    values: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: Iterable[int]) -> "Distribution":
        return cls(tuple(sorted(values)))

    @property
    def minimum(self) -> int | None:
        return self.values[0] if self.values else None

    @property
    def median(self) -> int | None:
        return self.percentile(50)

    @property
    def maximum(self) -> int | None:
        return self.values[-1] if self.values else None

    @cached_property
    def mean(self) -> int | None:
        """To the nearest nanosecond, halves upwards."""
        count = len(self.values)
        return (2 * sum(self.values) + count) // (2 * count) if count else None

    @cached_property
    def standard_deviation(self) -> int | None:
        """Of these values, not of those that might have been (population); to the nanosecond."""
        count = len(self.values)
        if not count:
            return None
        spread = count * sum(value * value for value in self.values) - sum(self.values) ** 2
        return (2 * isqrt(spread) + count) // (2 * count)

    def percentile(self, percent: int | Fraction) -> int | None:
        """Nearest rank: the smallest value that at least ``percent`` % do not exceed.

        0 gives the minimum; so the median of an even count is the lower of the middle two.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent} is no percentile: 0 to 100")
        if not self.values:
            return None
        rank = -(-percent * len(self.values) // 100)
        return self.values[max(int(rank), 1) - 1]

    @property
    def p95_p50(self) -> int | None:
        """The reference's jitter: the 95th percentile less the median."""
        high, middle = self.percentile(95), self.median
        return None if high is None or middle is None else high - middle


@dataclass(frozen=True, kw_only=True)
class Delay:
    """One kind of delay and how it varies.

    ``pdv``: each delay less the session's least (RFC 5481 section 4.2).  ``ipdv``: each delay less
    that of the packet sent just before it; undefined, and so left out, where either is lost
    (RFC 3393).  ``jitter``: that of RTP, see :func:`interarrival_jitter`; the greatest of several sessions.
    ``error_ns``: the greatest sum of the error estimates that a delay stands on, None
    without a delay.
    """

    delay: Distribution
    pdv: Distribution
    ipdv: Distribution
    jitter: int | None
    error_ns: int | None


@dataclass(frozen=True, kw_only=True)
class Hops:
    """Routers passed, 255 − TTL: how many different counts were seen, and their ends.

    ``counts``: packets by the number of routers.
    """

    distinct: int = 0
    minimum: int | None = None
    maximum: int | None = None
    counts: Mapping[int, int] = field(default_factory=dict)


class Loss(NamedTuple):
    """Where packets were lost: ``late + forward + reverse + unknown`` is all that were lost.

    Inferred: a Session-Reflector numbers its replies 0, 1, 2, … as packets reach it (RFC 5357
    section 4.2.1), so a number below the greatest that came back, but which itself did not, is a
    packet that arrived and whose reply was lost (``reverse``).  The other packets lost before the
    last one answered never arrived (``forward``).  After it nothing tells (``unknown``).

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
    """All that is reported.  ``first`` and ``last``: T1 (NTP) of the ends; None if none was sent.

    ``send_duplicates``: further reflector numbers for one packet (it was multiplied on the way
    there); ``reflect_duplicates``: the same reflector number again (on the way back).
    """

    first: int | None
    last: int | None
    sent: int
    received: int
    lost: int
    loss: Loss
    send_duplicates: int
    reflect_duplicates: int
    reordering: Reordering
    round_trip: Delay
    send: Delay
    reflect: Delay
    processing: Distribution
    send_hops: Hops
    reflect_hops: Hops
    sender_synchronized: bool
    reflector_synchronized: bool
    sender_error_ns: int | None  # the greatest Error Estimate of either end
    reflector_error_ns: int | None
    t1_sources: Mapping[str, int]
    t4_sources: Mapping[str, int]
    reflect_dscp: Mapping[int, int]  # replies by the DSCP with which they came
    reflect_ecn: Mapping[int, int]  # and by ECN; of the way there nobody tells
    lateness: Distribution  # of sending, after the schedule
    drops: Mapping[str, int]
    send_errors: int

    @property
    def synchronized(self) -> bool:
        """Both ends said, in every packet, that an outside source keeps their clock."""
        return self.sender_synchronized and self.reflector_synchronized

    @property
    def clocks_apart(self) -> bool:
        """Some one-way delay is negative, so the clocks differ, whatever they say of themselves."""
        return any((kind.delay.minimum or 0) < 0 for kind in (self.send, self.reflect))


# ---- one session ---------------------------------------------------------------------------------


class _Session:
    """The samples of one measurement, sorted by what became of them."""

    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement
        timeout_ns = measurement.loss_timeout_ns
        self.sent = [sample for sample in measurement.samples if sample.t1_source]
        self.answered = [sample for sample in self.sent if sample.rank]
        self.received = [sample for sample in self.answered if not is_late(sample, timeout_ns)]
        self.delays = {sample.sequence_number: delays(sample) for sample in self.received}

    def loss(self) -> Loss:
        late = len(self.answered) - len(self.received)
        last_answered = max((sample.sequence_number for sample in self.answered), default=-1)
        silent = [sample.sequence_number for sample in self.sent if not sample.rank]
        begin, end = self.measurement.reflector_numbers
        unknown = sum(number > last_answered for number in silent) if end is None else 0
        numbers = {
            sample.reflector_sequence_number
            for sample in (*self.answered, *self.measurement.duplicates)
        }
        if end is None:
            end = max(numbers, default=begin - 1) + 1
        missing = end - begin - sum(begin <= number < end for number in numbers)
        reverse = min(missing, len(silent) - unknown)
        return Loss(
            late=late,
            forward=len(silent) - unknown - reverse,
            reverse=reverse,
            unknown=unknown,
        )

    def duplicates(self) -> tuple[int, int]:
        """Send and reflect duplicates."""
        copies = [
            (sample.sequence_number, sample.reflector_sequence_number)
            for sample in (*self.answered, *self.measurement.duplicates)
        ]
        arrivals = len(set(copies))
        packets = len({sequence_number for sequence_number, _ in copies})
        return arrivals - packets, len(copies) - arrivals

    def reordering(self) -> Reordering:
        by_rank = sorted(self.received, key=lambda sample: sample.rank)
        by_reflector = sorted(self.received, key=lambda sample: sample.reflector_sequence_number)
        return Reordering(
            round_trip=reordered(sample.sequence_number for sample in by_rank),
            forward=reordered(sample.sequence_number for sample in by_reflector),
            reverse=reordered(sample.reflector_sequence_number for sample in by_rank),
        )

    def jitter(self, kind: str) -> int | None:
        """Of packets as they came to the reflector, ``send``; else as they came back."""
        arrival = attrgetter("reflector_sequence_number" if kind == "send" else "rank")
        return interarrival_jitter(
            getattr(self.delays[sample.sequence_number], kind)
            for sample in sorted(self.received, key=arrival)
        )

    def variation(self, kind: str) -> tuple[list[int], list[int], list[int]]:
        """Delays of one kind, their PDV and their IPDV."""
        values = {number: getattr(each, kind) for number, each in self.delays.items()}
        least = min(values.values(), default=0)
        ipdv = [
            values[later.sequence_number] - values[earlier.sequence_number]
            for earlier, later in pairwise(self.sent)
            if earlier.sequence_number in values and later.sequence_number in values
        ]
        return [*values.values()], [value - least for value in values.values()], ipdv


def interarrival_jitter(transits: Iterable[int]) -> int | None:
    """RTP's (RFC 3550 section 6.4.1), of transit times in the order of arrival, by its appendix A.8.

    Each difference between one and the next moves it by a sixteenth of what it differs, so it tells
    of the last packets; None without a difference.
    """
    scaled = None
    for before, after in pairwise(transits):
        scaled = scaled or 0
        scaled += abs(after - before) - ((scaled + 8) >> 4)
    return None if scaled is None else scaled >> 4


def reordered(numbers: Iterable[int]) -> int:
    """How many of ``numbers``, in the order of arrival, are less than one before them."""
    count = 0
    expected = -1
    for number in numbers:
        if number < expected:
            count += 1
        else:
            expected = number + 1
    return count


# ---- any number of sessions ----------------------------------------------------------------------


def measure(*measurements: Measurement) -> Metrics:
    """The metrics of one session, or of several together.

    What depends on numbers or on the least delay (loss by direction, duplicates, reordering, PDV,
    IPDV) is taken within each session and then put together.
    """
    sessions = [_Session(measurement) for measurement in measurements]
    received = [sample for session in sessions for sample in session.received]
    sent = [sample for session in sessions for sample in session.sent]
    losses = [session.loss() for session in sessions]
    duplicates = [session.duplicates() for session in sessions]
    reorderings = [session.reordering() for session in sessions]
    sender = [ErrorEstimate.from_int(sample.sender_error_estimate) for sample in received]
    reflector = [ErrorEstimate.from_int(sample.reflector_error_estimate) for sample in received]
    one_way = max(
        (a.error_ns + b.error_ns for a, b in zip(sender, reflector, strict=True)), default=None
    )
    drops: Counter[str] = Counter()
    for measurement in measurements:
        drops.update(measurement.drops)
    return Metrics(
        first=_end(sent, min),
        last=_end(sent, max),
        sent=len(sent),
        received=len(received),
        lost=len(sent) - len(received),
        loss=Loss(*map(sum, zip(*losses, strict=True))),
        send_duplicates=sum(send for send, _ in duplicates),
        reflect_duplicates=sum(reflect for _, reflect in duplicates),
        reordering=Reordering(*map(sum, zip(*reorderings, strict=True))),
        round_trip=_delay(sessions, "round_trip", None if one_way is None else 2 * one_way),
        send=_delay(sessions, "send", one_way),
        reflect=_delay(sessions, "reflect", one_way),
        processing=_delay(sessions, "processing", None).delay,
        send_hops=_hops(sample.sender_ttl for sample in received),
        reflect_hops=_hops(sample.ttl for sample in received),
        sender_error_ns=max((estimate.error_ns for estimate in sender), default=None),
        reflector_error_ns=max((estimate.error_ns for estimate in reflector), default=None),
        sender_synchronized=bool(received) and all(estimate.synchronized for estimate in sender),
        reflector_synchronized=bool(received)
        and all(estimate.synchronized for estimate in reflector),
        t1_sources=_sources(sample.t1_source for sample in sent),
        t4_sources=_sources(sample.t4_source for sample in received),
        reflect_dscp=_by_value(sample.tos >> 2 for sample in received),
        reflect_ecn=_by_value(sample.tos & 3 for sample in received),
        lateness=Distribution.of(sample.lateness_ns for sample in sent),
        drops=dict(drops),
        send_errors=sum(measurement.send_errors for measurement in measurements),
    )


def _end(sent: Sequence[Sample], least_or_most: Callable[[Iterable[int]], int]) -> int | None:
    if not sent:
        return None
    origin = sent[0].t1
    return origin + least_or_most(_signed(sample.t1 - origin) for sample in sent) & 2 * _HALF - 1


def _delay(sessions: Sequence[_Session], kind: str, error_ns: int | None) -> Delay:
    columns = [session.variation(kind) for session in sessions]
    delay, pdv, ipdv = (
        Distribution.of(value for column in columns for value in column[place])
        for place in range(3)
    )
    jitters = [jitter for session in sessions if (jitter := session.jitter(kind)) is not None]
    return Delay(
        delay=delay, pdv=pdv, ipdv=ipdv, jitter=max(jitters, default=None), error_ns=error_ns
    )


def _hops(ttls: Iterable[int]) -> Hops:
    seen = Counter(INITIAL_TTL - ttl for ttl in ttls)
    return Hops(
        distinct=len(seen),
        minimum=min(seen, default=None),
        maximum=max(seen, default=None),
        counts=dict(seen),
    )


def _by_value(values: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(values).items()))


def _sources(sources: Iterable[int]) -> dict[str, int]:
    """Packets by the source of a timestamp; those that did not occur are left out."""
    counts = Counter(sources)
    return {SOURCES[source]: counts[source] for source in sorted(counts)}
