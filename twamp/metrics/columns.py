"""The columns that a session's figures are made of: delays, their variation, counts by value.

:func:`columns_of` computes them in Python.  A sequence of samples can offer a faster way
(:class:`OffersColumns`); the engine's does so in C.  Both give the same, value for value.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice, pairwise
from operator import attrgetter, sub
from typing import NamedTuple, Protocol, runtime_checkable

from twamp.metrics.figures import Loss, Reordering
from twamp.metrics.sample import Measurement, Sample, is_clock_back, is_stamped, signed
from twamp.metrics.values import Distribution
from twamp.protocol.timestamps import NS, ErrorEstimate


class Errors(NamedTuple):
    """The Error Estimates of the packets received, summarised; in ns, None without a packet."""

    sender_synchronized: bool  # in every packet
    reflector_synchronized: bool
    sender_ns: int | None  # the greatest
    reflector_ns: int | None
    one_way_ns: int | None  # the greatest sum of both in one packet


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of one session.

    ``sent``, ``first``, ``last``, ``t1_sources`` and ``lateness`` are of the packets sent, the others of
    those received; ``delays``, ``ipdv``, ``jitter`` and ``errors`` of those with both of the reflector's
    timestamps.  ``unstamped`` packets lack one; of ``clock_back`` T4 is before T1.
    ``ipdv`` and ``jitter`` are those of the round trip, the send time and the reflect time; TTLs,
    TOS and sources are counts by value.
    """

    sent: int
    first: int | None  # T1 (NTP) of the ends
    last: int | None
    delays: tuple[Distribution, Distribution, Distribution, Distribution]  # as Delays has them
    ipdv: tuple[Distribution, Distribution, Distribution]
    jitter: tuple[int | None, int | None, int | None]
    unstamped: int
    clock_back: int
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
    """Samples that compute their columns faster than Python can, one sample after the other."""

    def columns(self, measurement: Measurement) -> Columns | None:
        """The columns of ``measurement``, whose samples these are; None where it cannot compute them."""
        ...


def columns_of(measurement: Measurement) -> Columns:
    """Computes the columns of any samples, in Python."""
    sent = [sample for sample in measurement.samples if sample.t1_source]
    answered = [sample for sample in sent if sample.rank]
    received, places = _in_time(sent, measurement.loss_timeout_ns)
    is_timed = [*map(is_stamped, received)]
    timed, places = [*compress(received, is_timed)], [*compress(places, is_timed)]
    delays = _delays(timed)
    neighbours = [later - earlier == 1 for earlier, later in pairwise(places)]
    ipdv = [
        Distribution.of(compress(map(sub, islice(values, 1, None), values), neighbours))
        for values in delays[:3]
    ]
    send_duplicates, reflect_duplicates = _duplicates(measurement, answered)
    first, last = _ends(sent)
    return Columns(
        sent=len(sent),
        first=first,
        last=last,
        delays=(
            *(Distribution.of(delays.round_trip), Distribution.of(delays.send)),
            *(Distribution.of(delays.reflect), Distribution.of(delays.processing)),
        ),
        ipdv=(ipdv[0], ipdv[1], ipdv[2]),
        jitter=_jitter(timed, delays),
        unstamped=len(received) - len(timed),
        clock_back=sum(map(is_clock_back, received)),
        lateness=Distribution.of(_column(sent, "lateness_ns")),
        loss=_loss(measurement, sent, answered, late=len(answered) - len(received)),
        send_duplicates=send_duplicates,
        reflect_duplicates=reflect_duplicates,
        reordering=_reordering(received),
        errors=_errors(timed),
        sender_ttls=Counter(_column(received, "sender_ttl")),
        ttls=Counter(_column(received, "ttl")),
        tos=Counter(_column(received, "tos")),
        t1_sources=Counter(_column(sent, "t1_source")),
        t4_sources=Counter(_column(received, "t4_source")),
    )


def _column(samples: Sequence[Sample], name: str) -> list[int]:
    return list(map(attrgetter(name), samples))


def _differences(later: Sequence[int], earlier: Sequence[int]) -> list[int]:
    """Of NTP timestamps, in units of 2^-32 s."""
    found = list(map(sub, later, earlier))
    if found and (min(found) < -(1 << 63) or max(found) >= 1 << 63):  # across an era
        return list(map(signed, found))
    return found


def _in_time(sent: Sequence[Sample], timeout_ns: int) -> tuple[list[Sample], list[int]]:
    """The samples received within the loss timeout, and their places in ``sent``."""
    places = [place for place, sample in enumerate(sent) if sample.rank]
    answered = [sent[place] for place in places]
    took = _differences(_column(answered, "t4"), _column(answered, "t1"))
    # The most units that are not over the timeout in ns, to the nearest: ns_of_units the other way.
    longest = (((timeout_ns + 1) << 32) - 1 - (1 << 31)) // NS
    if max(took, default=longest) <= longest:
        return answered, places
    in_time = [units <= longest for units in took]
    return list(compress(answered, in_time)), list(compress(places, in_time))


class _Delays(NamedTuple):
    """Those of each sample, in ns, as :func:`twamp.metrics.sample.delays` gives them."""

    round_trip: list[int]
    send: list[int]
    reflect: list[int]
    processing: list[int]


def _delays(received: Sequence[Sample]) -> _Delays:
    t1, t2, t3, t4 = (_column(received, name) for name in ("t1", "t2", "t3", "t4"))
    processing = _differences(t3, t2)
    both_ways = map(sub, _differences(t4, t1), processing)
    units = (both_ways, _differences(t2, t1), _differences(t4, t3), processing)
    # As ns_of_units, but without a call for each value.
    return _Delays(*([(each * NS + (1 << 31)) >> 32 for each in column] for column in units))


def _ends(sent: Sequence[Sample]) -> tuple[int | None, int | None]:
    """The first and the last T1."""
    if not sent:
        return None, None
    t1 = _column(sent, "t1")
    after = _differences(t1, [t1[0]] * len(t1))
    return (t1[0] + min(after)) % (1 << 64), (t1[0] + max(after)) % (1 << 64)


def _loss(
    measurement: Measurement, sent: Sequence[Sample], answered: Sequence[Sample], *, late: int
) -> Loss:
    last_answered = max(_column(answered, "sequence_number"), default=-1)
    silent = [sample.sequence_number for sample in sent if not sample.rank]
    begin, end = measurement.reflector_numbers
    unknown = sum(number > last_answered for number in silent) if end is None else 0
    numbers = set(_column(answered, "reflector_sequence_number"))
    numbers.update(_column(measurement.duplicates, "reflector_sequence_number"))
    if end is None:
        # Not before the beginning: reordering may have taken them all from another part.
        end = max(begin - 1, max(numbers, default=-1)) + 1
    missing = end - begin - sum(begin <= number < end for number in numbers)
    reverse = min(missing, len(silent) - unknown)
    forward = len(silent) - unknown - reverse
    return Loss(late=late, forward=forward, reverse=reverse, unknown=unknown)


def _duplicates(measurement: Measurement, answered: Sequence[Sample]) -> tuple[int, int]:
    """Send and reflect duplicates."""
    doubled = set(_column(measurement.duplicates, "sequence_number"))
    copies = [
        (sample.sequence_number, sample.reflector_sequence_number)
        for samples in (answered if doubled else (), measurement.duplicates)
        for sample in samples
        if sample.sequence_number in doubled
    ]
    arrivals = len(set(copies))
    return arrivals - len(doubled), len(copies) - arrivals


def _orders(received: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """The places of packets in the order in which they arrived at the reflector, and came back."""
    places = range(len(received))
    there = sorted(places, key=_column(received, "reflector_sequence_number").__getitem__)
    return there, sorted(places, key=_column(received, "rank").__getitem__)


def _reordering(received: Sequence[Sample]) -> Reordering:
    there, back = _orders(received)
    sequence = _column(received, "sequence_number")
    numbers = _column(received, "reflector_sequence_number")
    return Reordering(
        round_trip=reordered([sequence[place] for place in back]),
        forward=reordered([sequence[place] for place in there]),
        reverse=reordered([numbers[place] for place in back]),
    )


def _jitter(timed: Sequence[Sample], delays: _Delays) -> tuple[int | None, int | None, int | None]:
    there, back = _orders(timed)
    return (
        interarrival_jitter([delays.round_trip[place] for place in back]),
        interarrival_jitter([delays.send[place] for place in there]),
        interarrival_jitter([delays.reflect[place] for place in back]),
    )


def reordered(numbers: Iterable[int]) -> int:
    """Counts the ``numbers``, in the order of arrival, that are less than one before them."""
    count = 0
    expected = -1
    for number in numbers:
        if number < expected:
            count += 1
        else:
            expected = number + 1
    return count


class Jitter:
    """RTP's jitter (RFC 3550 section 6.4.1, by its appendix A.8), transit time by transit time.

    Each difference between one transit time and the next moves the jitter by a sixteenth of the way
    to it, so it describes the last packets.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._scaled: int | None = None

    def add(self, transits: Iterable[int]) -> None:
        """The transit times in ns of the next packets to arrive."""
        last, scaled = self._last, self._scaled
        for transit in transits:
            if last is not None:
                scaled = scaled or 0
                scaled += abs(transit - last) - ((scaled + 8) >> 4)
            last = transit
        self._last, self._scaled = last, scaled

    @property
    def value(self) -> int | None:
        """In ns; None without a difference."""
        return None if self._scaled is None else self._scaled >> 4


def interarrival_jitter(transits: Iterable[int]) -> int | None:
    """The jitter (:class:`Jitter`) of transit times in the order of arrival."""
    jitter = Jitter()
    jitter.add(transits)
    return jitter.value


def _errors(timed: Sequence[Sample]) -> Errors:
    estimates = set(map(attrgetter("sender_error_estimate", "reflector_error_estimate"), timed))
    both = [(ErrorEstimate.from_int(a), ErrorEstimate.from_int(b)) for a, b in estimates]
    return Errors(
        sender_synchronized=bool(both) and all(here.synchronized for here, _ in both),
        reflector_synchronized=bool(both) and all(there.synchronized for _, there in both),
        sender_ns=max((here.error_ns for here, _ in both), default=None),
        reflector_ns=max((there.error_ns for _, there in both), default=None),
        one_way_ns=max((here.error_ns + there.error_ns for here, there in both), default=None),
    )
