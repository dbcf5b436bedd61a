"""What has to be known of one session's packets to have its figures, column by column.

:func:`columns_of` is the plain way, in Python.  A sequence of samples that knows a faster one offers
it (:class:`OffersColumns`); that of the engine does, in C.  Both give the same, value for value.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple, Protocol, runtime_checkable

from twamp.metrics.figures import Loss, Reordering
from twamp.metrics.sample import Delays, Measurement, Sample, delays, is_late, signed
from twamp.metrics.values import Distribution
from twamp.protocol.timestamps import ErrorEstimate


class Errors(NamedTuple):
    """What the Error Estimates of the packets received say; times in ns, None of no packet."""

    sender_synchronized: bool  # in every packet
    reflector_synchronized: bool
    sender_ns: int | None  # the greatest
    reflector_ns: int | None
    one_way_ns: int | None  # the greatest sum of both in one packet


@dataclass(frozen=True, kw_only=True)
class Columns:
    """One session.  Of received packets: all but ``sent``, the ends, ``t1_sources`` and ``lateness``.

    ``ipdv`` and ``jitter`` are those of the round trip, the send time and the reflect time; TTLs,
    TOS and sources are counts by value.
    """

    sent: int
    first: int | None  # T1 (NTP) of the ends
    last: int | None
    delays: tuple[Distribution, Distribution, Distribution, Distribution]  # as Delays has them
    ipdv: tuple[Distribution, Distribution, Distribution]
    jitter: tuple[int | None, int | None, int | None]
    lateness: Distribution
    loss: Loss
    send_duplicates: int
    reflect_duplicates: int
    reordering: Reordering
    errors: Errors
    sender_ttls: Mapping[int, int]
    ttls: Mapping[int, int]
    tos: Mapping[int, int]
    t1_sources: Mapping[int, int]
    t4_sources: Mapping[int, int]


@runtime_checkable
class OffersColumns(Protocol):
    """Samples that know a way to their columns which is faster than to look at each of them."""

    def columns(self, measurement: Measurement) -> Columns | None:
        """Those of ``measurement``, whose samples these are; None where the way is not open."""
        ...


def columns_of(measurement: Measurement) -> Columns:
    """The columns of any samples, one by one in Python."""
    timeout_ns = measurement.loss_timeout_ns
    sent = [sample for sample in measurement.samples if sample.t1_source]
    answered = [sample for sample in sent if sample.rank]
    received = [sample for sample in answered if not is_late(sample, timeout_ns)]
    fates = [
        delays(sample) if sample.rank and not is_late(sample, timeout_ns) else None
        for sample in sent
    ]
    each = [one for one in fates if one is not None]
    neighbours = [(a, b) for a, b in pairwise(fates) if a is not None and b is not None]
    round_trip, send, reflect, processing = zip(*each, strict=True) if each else ((),) * 4
    ipdv = [Distribution.of([b[kind] - a[kind] for a, b in neighbours]) for kind in range(3)]
    send_duplicates, reflect_duplicates = _duplicates(measurement, answered)
    origin = sent[0].t1 if sent else 0
    after_origin = [signed(sample.t1 - origin) for sample in sent]
    return Columns(
        sent=len(sent),
        first=(origin + min(after_origin)) % (1 << 64) if sent else None,
        last=(origin + max(after_origin)) % (1 << 64) if sent else None,
        delays=(
            *(Distribution.of(round_trip), Distribution.of(send)),
            *(Distribution.of(reflect), Distribution.of(processing)),
        ),
        ipdv=(ipdv[0], ipdv[1], ipdv[2]),
        jitter=_jitter(received, each),
        lateness=Distribution.of([sample.lateness_ns for sample in sent]),
        loss=_loss(measurement, sent, late=len(answered) - len(received)),
        send_duplicates=send_duplicates,
        reflect_duplicates=reflect_duplicates,
        reordering=_reordering(received),
        errors=errors_of(
            Counter((s.sender_error_estimate, s.reflector_error_estimate) for s in received)
        ),
        sender_ttls=Counter(sample.sender_ttl for sample in received),
        ttls=Counter(sample.ttl for sample in received),
        tos=Counter(sample.tos for sample in received),
        t1_sources=Counter(sample.t1_source for sample in sent),
        t4_sources=Counter(sample.t4_source for sample in received),
    )


def _loss(measurement: Measurement, sent: Sequence[Sample], *, late: int) -> Loss:
    answered = [sample for sample in sent if sample.rank]
    last_answered = max((sample.sequence_number for sample in answered), default=-1)
    silent = [sample.sequence_number for sample in sent if not sample.rank]
    begin, end = measurement.reflector_numbers
    unknown = sum(number > last_answered for number in silent) if end is None else 0
    numbers = {sample.reflector_sequence_number for sample in (*answered, *measurement.duplicates)}
    if end is None:
        end = max(numbers, default=begin - 1) + 1
    missing = end - begin - sum(begin <= number < end for number in numbers)
    reverse = min(missing, len(silent) - unknown)
    forward = len(silent) - unknown - reverse
    return Loss(late=late, forward=forward, reverse=reverse, unknown=unknown)


def _duplicates(measurement: Measurement, answered: Sequence[Sample]) -> tuple[int, int]:
    """Send and reflect duplicates."""
    copies = [
        (sample.sequence_number, sample.reflector_sequence_number)
        for sample in (*answered, *measurement.duplicates)
    ]
    arrivals = len(set(copies))
    packets = len({sequence_number for sequence_number, _ in copies})
    return arrivals - packets, len(copies) - arrivals


def _reordering(received: Sequence[Sample]) -> Reordering:
    by_rank = sorted(received, key=attrgetter("rank"))
    by_reflector = sorted(received, key=attrgetter("reflector_sequence_number"))
    return Reordering(
        round_trip=reordered(sample.sequence_number for sample in by_rank),
        forward=reordered(sample.sequence_number for sample in by_reflector),
        reverse=reordered(sample.reflector_sequence_number for sample in by_rank),
    )


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


def _jitter(
    received: Sequence[Sample], each: Sequence[Delays]
) -> tuple[int | None, int | None, int | None]:
    """Of packets in the order in which they came back, for the send time to the reflector."""
    places = range(len(received))
    back = sorted(places, key=lambda place: received[place].rank)
    there = sorted(places, key=lambda place: received[place].reflector_sequence_number)
    return (
        interarrival_jitter(each[place].round_trip for place in back),
        interarrival_jitter(each[place].send for place in there),
        interarrival_jitter(each[place].reflect for place in back),
    )


class Jitter:
    """RTP's jitter (RFC 3550 section 6.4.1, by its appendix A.8), transit time by transit time.

    Each difference between one and the next moves it by a sixteenth of what it differs, so it says
    how the last packets varied.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._scaled: int | None = None

    def add(self, transit: int) -> None:
        """The transit time in ns of the next packet to arrive."""
        if self._last is not None:
            scaled = self._scaled or 0
            self._scaled = scaled + abs(transit - self._last) - ((scaled + 8) >> 4)
        self._last = transit

    @property
    def value(self) -> int | None:
        """In ns; None without a difference."""
        return None if self._scaled is None else self._scaled >> 4


def interarrival_jitter(transits: Iterable[int]) -> int | None:
    """The jitter (:class:`Jitter`) of transit times in the order of arrival."""
    jitter = Jitter()
    for transit in transits:
        jitter.add(transit)
    return jitter.value


def errors_of(estimates: Iterable[tuple[int, int]]) -> Errors:
    """From the Error Estimates, both ends', that packets came with; once each is enough."""
    both = [tuple(map(ErrorEstimate.from_int, pair)) for pair in estimates]
    return Errors(
        sender_synchronized=bool(both) and all(here.synchronized for here, _ in both),
        reflector_synchronized=bool(both) and all(there.synchronized for _, there in both),
        sender_ns=max((here.error_ns for here, _ in both), default=None),
        reflector_ns=max((there.error_ns for _, there in both), default=None),
        one_way_ns=max((here.error_ns + there.error_ns for here, there in both), default=None),
    )
