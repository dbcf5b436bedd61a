"""Cuts a session into parts, each a measurement of its own: by packets (``-N``) or by time (``--bin``).

Cuts it off, too, where its far end ended it (:func:`packets_that_count`).

Delays, duplicates and hops of all parts add up to those of the session.  Order and variation are
judged within a part, so a packet that overtakes one of another part does not count as reordered.  The
direction of a loss is inferred from the reflector's numbers (:class:`~twamp.metrics.figures.Loss`): each
part gets the numbers that belong to it, and a reply lost at a cut counts in the earlier part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, takewhile
from typing import NamedTuple

from twamp.metrics.incidents import NO_INCIDENTS
from twamp.metrics.sample import Measurement, Sample
from twamp.protocol.timestamps import unix_ns_from_ntp


class Bin(NamedTuple):
    """The packets sent within one interval, which begins at ``unix_ns``."""

    unix_ns: int
    measurement: Measurement


def by_packets(measurement: Measurement, size: int) -> Iterator[Measurement]:
    """Cuts into parts of ``size`` packets; the last may be shorter; 0: the session as it is."""
    count = len(measurement.samples)
    return _cut(measurement, range(size, count, size) if size else ())


def by_time(measurement: Measurement, bin_ns: int) -> Iterator[Bin]:
    """Cuts by time of departure, into intervals that begin at multiples of ``bin_ns`` since 1970.

    Intervals in which nothing was sent are left out; 0: one interval for the whole session.
    """
    if not bin_ns:
        first = next((sample for sample in measurement.samples if sample.t1_source), None)
        return iter([] if first is None else [Bin(unix_ns_from_ntp(first.t1), measurement)])
    starts: list[int] = []
    cuts: list[int] = []
    for place, sample in enumerate(measurement.samples):
        if not sample.t1_source:
            continue  # it never left
        unix_ns = unix_ns_from_ntp(sample.t1)
        start = unix_ns // bin_ns * bin_ns
        if not starts or start > starts[-1]:
            starts.append(start)
            cuts.append(place)
    return map(Bin, starts, _cut(measurement, cuts[1:]))


def _cut(measurement: Measurement, cuts: Sequence[int]) -> Iterator[Measurement]:
    """Cuts before each of the packets whose places are ``cuts``."""
    samples = measurement.samples
    if not cuts:
        yield measurement
        return
    last_answered = max((sample.sequence_number for sample in samples if sample.rank), default=-1)
    begin = 0
    for first, end in pairwise([0, *cuts, len(samples)]):
        numbers_end = _end_of_numbers(begin, samples[first:end], samples[end:])
        yield replace(
            measurement,
            samples=samples[first:end],
            duplicates=[
                copy for copy in measurement.duplicates if first <= copy.sequence_number < end
            ],
            packets_of_session=len(samples),
            reflector_numbers=(begin, numbers_end if last_answered >= end else None),
            # These are of the socket, so of the session: they count once.
            drops=measurement.drops if not first else {},
            incidents=NO_INCIDENTS if end < len(samples) else measurement.incidents,
            send_errors=sum(not sample.t1_source for sample in samples[first:end]),
        )
        begin = numbers_end


def _end_of_numbers(begin: int, samples: Sequence[Sample], later: Sequence[Sample]) -> int:
    """The least of the reflector's numbers that no packet of this part can have got."""
    numbers = [sample.reflector_sequence_number for sample in samples if sample.rank]
    end = max((begin, *(number + 1 for number in numbers)))
    next_number = min(
        (sample.reflector_sequence_number for sample in later if sample.rank), default=end
    )
    silent = sum(1 for _ in takewhile(lambda sample: not sample.rank, reversed(samples)))
    return end + min(max(next_number - end, 0), silent)


def packets_that_count(samples: Sequence[Sample], ended_ns: int, loss_timeout_ns: int) -> int:
    """The number of packets, from the first on, whose fate was known when the session was ended (Unix ns).

    Those are the packets up to the last answered one, and all whose loss timeout had passed by then.
    Where no Stop-Sessions went, results may be held invalid (RFC 5357 section 3.8); a packet that nobody
    answered any more must at least not count as lost on the path.
    """
    for place in range(len(samples) - 1, -1, -1):
        sample = samples[place]
        if sample.rank or unix_ns_from_ntp(sample.t1) + loss_timeout_ns <= ended_ns:
            return place + 1
    return 0
