"""Sessions made by hand, and by a network that does to each packet what it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st

from twamp.endpoint import Endpoint
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement, Sample
from twamp.metrics.values import Distribution, Values
from twamp.protocol.timestamps import ErrorEstimate, ntp_from_unix_ns

MS = 1_000_000
SECOND = 1_000 * MS
START = 1_800_000_000 * SECOND
# 2036-02-07 06:28:16 UTC, when NTP's seconds begin anew.
NEXT_ERA = 2_085_978_496 * SECOND
TIMEOUT = 2 * SECOND
SYNCHRONIZED = int(ErrorEstimate.covering(1000, synchronized=True))
FREE_RUNNING = int(ErrorEstimate.covering(1000, synchronized=False))


def a_sample(
    number: int,
    times_ns: tuple[int, int, int, int] | None = None,
    *,
    base_ns: int = START,
    rank: int | None = None,
    reflector_number: int | None = None,
    **changes: Any,
) -> Sample:
    """A packet with T1..T4 in ns after ``base_ns``; without times one that was lost."""
    if times_ns is None:
        t1, t2, t3, t4 = ntp_from_unix_ns(base_ns + number * MS), 0, 0, 0
    else:
        t1, t2, t3, t4 = (ntp_from_unix_ns(base_ns + time_ns) for time_ns in times_ns)
    answered = times_ns is not None
    sample = Sample(
        t1=t1,
        t2=t2,
        t3=t3,
        t4=t4,
        sequence_number=number,
        reflector_sequence_number=number if reflector_number is None else reflector_number,
        rank=(number + 1 if rank is None else rank) if answered else 0,
        lateness_ns=0,
        sender_error_estimate=SYNCHRONIZED,
        reflector_error_estimate=SYNCHRONIZED,
        sender_ttl=250 if answered else 0,
        ttl=251 if answered else 0,
        tos=0,
        t1_source=2,
        t4_source=2 if answered else 0,
    )
    return sample._replace(**changes)


def a_measurement(
    samples: Sequence[Sample], duplicates: Sequence[Sample] = (), **changes: Any
) -> Measurement:
    measurement = Measurement(
        sid=bytes(range(16)),
        source=Endpoint(ip_address("192.0.2.1"), 8760),
        destination=Endpoint(ip_address("192.0.2.2"), 18760),
        samples=samples,
        duplicates=duplicates,
        loss_timeout_ns=TIMEOUT,
    )
    return replace(measurement, **changes)


def metrics_of(*samples: Sample, duplicates: Sequence[Sample] = ()) -> Metrics:
    return measure(a_measurement(samples, duplicates))


@dataclass(frozen=True)
class Fate:
    """What the network does to a packet: one delay per copy on each way; no copy is a loss."""

    there: tuple[int, ...]
    back: tuple[int, ...]


GAP = 10 * MS
RESIDENCE = MS // 2


def carry(fates: Sequence[Fate]) -> tuple[list[Sample], list[Sample]]:
    """Samples and duplicates as the engine fills them, packet n leaving at n · GAP."""
    at_reflector = sorted(
        (number * GAP + delay, number, copy)
        for number, fate in enumerate(fates)
        for copy, delay in enumerate(fate.there)
    )
    returns = sorted(
        (t2 + RESIDENCE + delay, copy, t2, reflector_number, number)
        for reflector_number, (t2, number, _) in enumerate(at_reflector)
        for copy, delay in enumerate(fates[number].back)
    )
    samples = [a_sample(number)._replace(t1=_at(number * GAP)) for number in range(len(fates))]
    duplicates = []
    for rank, (t4, _, t2, reflector_number, number) in enumerate(returns, 1):
        reply = a_sample(
            number,
            (number * GAP, t2, t2 + RESIDENCE, t4),
            rank=rank,
            reflector_number=reflector_number,
        )
        if samples[number].rank:
            duplicates.append(reply)
        else:
            samples[number] = reply
    return samples, duplicates


def _at(time_ns: int) -> int:
    return ntp_from_unix_ns(START + time_ns)


delay = st.integers(0, 50 * MS)
any_fate = st.builds(
    Fate,
    there=st.lists(delay, max_size=3).map(tuple),
    back=st.lists(delay, max_size=3).map(tuple),
)
# In order and without copies: then loss by direction is exact.
orderly_fate = st.sampled_from(
    [Fate((MS,), (MS,)), Fate((MS,), (MS,)), Fate((), ()), Fate((MS,), ())]
)


def eventful() -> Measurement:
    """Ten packets: a loss each way, one late, one overtaken, one doubled each way, two routes."""

    def at(number: int, there: int, back: int, **changes: Any) -> Any:
        start = number * 100 * MS
        t2 = start + there
        times = (start, t2, t2 + 50_000, t2 + 50_000 + back)
        return a_sample(number, times, **changes)

    samples = [
        at(0, 2 * MS, 3 * MS, rank=1, reflector_number=0),
        a_sample(1),  # lost on the way there
        at(2, 2_500_000, 3 * MS, rank=2, reflector_number=1),
        at(3, 120 * MS, 3 * MS, rank=6, reflector_number=4),  # overtaken by 4
        at(4, 2 * MS, 3_123_456, rank=3, reflector_number=2),
        a_sample(5),  # lost on the way back: number 5
        at(6, 2 * MS, 4 * MS, rank=7, reflector_number=6, sender_ttl=249),
        at(7, 2 * MS, 3 * MS, rank=9, reflector_number=7),
        at(8, 2 * MS, 3000 * MS, rank=11, reflector_number=8),  # later than the loss timeout
        a_sample(9),  # nothing came after it to tell
    ]
    duplicates = [
        samples[4]._replace(rank=4, reflector_sequence_number=3, t4=samples[4].t4 + 7),
        samples[6]._replace(rank=8, t4=samples[6].t4 + 9),
    ]
    samples = [
        sample._replace(t1=ntp_from_unix_ns(1_800_000_000_000_000_000 + number * 100 * MS))
        for number, sample in enumerate(samples)
    ]
    return a_measurement(samples, duplicates, drops={"foreign": 3, "short": 0}, send_errors=1)


def lost() -> Measurement:
    return a_measurement([a_sample(number) for number in range(3)])


def free_running() -> Measurement:
    measurement = eventful()
    return replace(
        measurement,
        samples=[
            sample._replace(reflector_error_estimate=FREE_RUNNING) for sample in measurement.samples
        ],
    )


def exact(values: Values) -> list[int]:
    """All values of a finite run, ascending."""
    plain = values.plain()
    assert isinstance(plain, Distribution)
    return list(plain.values)
