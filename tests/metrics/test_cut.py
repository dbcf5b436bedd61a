"""A session in parts: what is added up is that of the whole, and losses keep their direction."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.sessions import (
    GAP,
    MS,
    START,
    Fate,
    a_measurement,
    a_sample,
    any_fate,
    carry,
    eventful,
    exact,
)
from twamp.metrics.cut import by_packets, by_time, packets_that_count
from twamp.metrics.figures import Loss
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement


def sums(measurements: list[Measurement]) -> tuple[int, ...]:
    each = [measure(measurement) for measurement in measurements]
    return (
        sum(one.sent for one in each),
        sum(one.received for one in each),
        sum(one.lost for one in each),
        sum(one.send_duplicates + one.reflect_duplicates for one in each),
        sum(one.send_errors for one in each),
        sum(sum(one.loss) for one in each),
    )


def test_no_size_is_the_session_as_it_is() -> None:
    session = eventful()
    assert list(by_packets(session, 0)) == [session] == list(by_packets(session, 10))


def test_parts_have_their_packets_and_say_how_many_the_session_has() -> None:
    cut = list(by_packets(eventful(), 4))
    assert [[s.sequence_number for s in part.samples] for part in cut] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert [part.packets_of_session for part in cut] == [10, 10, 10]
    assert [[s.sequence_number for s in part.duplicates] for part in cut] == [[], [4, 6], []]
    assert [dict(part.drops) for part in cut] == [{"foreign": 3, "short": 0}, {}, {}]


def an_even_way(lost_there: set[int], lost_back: set[int]) -> Measurement:
    samples, number = [], 0
    for sequence_number in range(12):
        at = sequence_number * MS
        if sequence_number in lost_there or sequence_number in lost_back:
            samples.append(a_sample(sequence_number))
        else:
            times = (at, at + 10, at + 20, at + 30)
            samples.append(a_sample(sequence_number, times, reflector_number=number))
        number += sequence_number not in lost_there
    return a_measurement(samples)


@pytest.mark.parametrize(
    ("lost_there", "lost_back", "expected"),
    [
        ({1}, {5}, [Loss(forward=1), Loss(reverse=1), Loss()]),
        ({3}, set(), [Loss(forward=1), Loss(), Loss()]),
        ({4}, set(), [Loss(), Loss(forward=1), Loss()]),
        (set(), {3}, [Loss(reverse=1), Loss(), Loss()]),
        (set(), {4}, [Loss(), Loss(reverse=1), Loss()]),
        (set(), {4, 5, 6, 7}, [Loss(), Loss(reverse=4), Loss()]),
        ({4, 5, 6, 7}, {9}, [Loss(), Loss(forward=4), Loss(reverse=1)]),
        ({2}, {11}, [Loss(forward=1), Loss(), Loss(unknown=1)]),
        (set(), {7, 8, 9, 10, 11}, [Loss(), Loss(unknown=1), Loss(unknown=4)]),
    ],
)
def test_losses_keep_their_direction(
    lost_there: set[int], lost_back: set[int], expected: list[Loss]
) -> None:
    cut = by_packets(an_even_way(lost_there, lost_back), 4)
    assert [measure(part).loss for part in cut] == expected


@given(st.lists(any_fate, min_size=1, max_size=40), st.integers(1, 12))
@example([Fate((GAP + 1,), (0,)), Fate((0,), (0,))], 1)  # overtaken by a packet of the next part
def test_parts_add_up_to_the_session(fates: list[Fate], size: int) -> None:
    session = a_measurement(*carry(fates))
    cut = list(by_packets(session, size))
    assert sums(cut) == sums([session])
    assert all(min(measure(part).loss) >= 0 for part in cut)
    delays = sorted(value for part in cut for value in exact(measure(part).round_trip.delay))
    assert delays == exact(measure(session).round_trip.delay)


@pytest.mark.parametrize("bin_ns", [GAP, 2 * GAP, 3 * GAP])
@given(st.lists(any_fate, min_size=1, max_size=20))
@example([Fate((GAP + 1,), (0,)), Fate((0,), (0,))])
def test_bins_add_up_to_the_session(bin_ns: int, fates: list[Fate]) -> None:
    session = a_measurement(*carry(fates))
    bins = [part for _, part in by_time(session, bin_ns)]
    assert sums(bins) == sums([session])
    assert all(min(measure(part).loss) >= 0 for part in bins)


@pytest.mark.parametrize(
    ("answered", "ended_ms", "counted"),
    [
        ({0, 1, 2}, 5, 3),  # 3 and 4 were answered no more
        ({0, 1, 3}, 5, 4),  # 2 was lost before
        (set(), 5, 0),
        (set(), 2002, 3),  # the loss timeout of three had passed
        ({0, 1, 2, 3, 4}, 5, 5),
    ],
)
def test_packets_count_whose_fate_was_known_at_the_end(
    answered: set[int], ended_ms: int, counted: int
) -> None:
    samples = [
        a_sample(number, (number * MS,) * 4 if number in answered else None) for number in range(5)
    ]
    assert packets_that_count(samples, START + ended_ms * MS, 2000 * MS) == counted
