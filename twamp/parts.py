"""A session cut into parts of so many packets, each a measurement of its own (twping's ``-N``).

What needs no neighbour (delays, duplicates, hops) of all parts together is that of the session.
Order and variation are judged within a part, so what spans a cut is not seen.  The direction of a
loss is inferred from the reflector's numbers (:class:`~twamp.metrics.Loss`): each part is given
those that belong to it, and a reply lost at a cut is taken for one of the earlier part's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from twamp.metrics import Measurement, Sample


def parts(measurement: Measurement, size: int) -> Iterator[Measurement]:
    """The parts, ``size`` packets each, the last one what is left; 0: the session as it is."""
    samples = measurement.samples
    if not size or len(samples) <= size:
        yield measurement
        return
    last_answered = max((sample.sequence_number for sample in samples if sample.rank), default=-1)
    begin = 0
    for first in range(0, len(samples), size):
        of_part, later = samples[first : first + size], samples[first + size :]
        end = _end_of_numbers(begin, of_part, later)
        known = last_answered >= first + size
        yield replace(
            measurement,
            samples=of_part,
            duplicates=[
                copy
                for copy in measurement.duplicates
                if first <= copy.sequence_number < first + size
            ],
            packets_of_session=len(samples),
            reflector_numbers=(begin, end if known else None),
            # These are of the socket, so of the session: they count once.
            drops=measurement.drops if not first else {},
            send_errors=sum(not sample.t1_source for sample in of_part),
        )
        begin = end


def _end_of_numbers(begin: int, samples: Sequence[Sample], later: Sequence[Sample]) -> int:
    """The least of the reflector's numbers that no packet of this part can have got."""
    numbers = [sample.reflector_sequence_number for sample in samples if sample.rank]
    end = max((begin, *(number + 1 for number in numbers)))
    next_number = min(
        (sample.reflector_sequence_number for sample in later if sample.rank), default=end
    )
    silent = sum(1 for _ in takewhile(lambda sample: not sample.rank, reversed(samples)))
    return end + min(max(next_number - end, 0), silent)
