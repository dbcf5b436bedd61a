"""Turns the samples of sessions into figures: delay, variation, loss, reordering, duplication.

Only the first reply to a packet counts for delay.  One that took longer than the loss timeout from
T1 to T4 is lost, and also counted as late.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from operator import attrgetter

from twamp.metrics.figures import Delay, Hops, Loss, Metrics, Reordering
from twamp.metrics.sample import INITIAL_TTL, SOURCES, Measurement, Sample, delays, is_late, signed
from twamp.metrics.values import Distribution
from twamp.protocol.timestamps import ErrorEstimate

_MODULUS = 1 << 64  # of NTP timestamps


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
    return (origin + least_or_most(signed(sample.t1 - origin) for sample in sent)) % _MODULUS


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
