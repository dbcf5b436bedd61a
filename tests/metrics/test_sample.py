"""The delays of one packet: their definitions, rounding, eras."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions import MS, NEXT_ERA, SECOND, START, a_sample
from twamp.metrics.sample import delays


def test_delays_follow_their_definitions() -> None:
    one = delays(a_sample(0, (0, 3 * MS, 4 * MS, 9 * MS)))
    assert one == (8 * MS, 3 * MS, 5 * MS, 1 * MS)
    assert one.round_trip == one.send + one.reflect


@given(st.integers(-3600 * SECOND, 3600 * SECOND))
def test_round_trip_knows_no_clock_offset(offset: int) -> None:
    fixed = delays(a_sample(0, (0, 3 * MS, 4 * MS, 9 * MS)))
    moved = delays(a_sample(0, (0, 3 * MS + offset, 4 * MS + offset, 9 * MS)))
    assert abs(moved.round_trip - fixed.round_trip) <= 1
    assert abs(moved.send - fixed.send - offset) <= 1
    assert abs(moved.reflect - fixed.reflect + offset) <= 1


times = st.tuples(*[st.integers(0, 10 * SECOND)] * 4)


@given(times, st.sampled_from([START, NEXT_ERA - 5 * SECOND, NEXT_ERA - 1]))
def test_delays_are_the_nearest_ns_also_across_an_era(
    times_ns: tuple[int, int, int, int], base_ns: int
) -> None:
    found = delays(a_sample(0, times_ns, base_ns=base_ns))
    t1, t2, t3, t4 = times_ns
    # A timestamp falls short of its time by less than 2^-32 s, 0.24 ns.
    assert abs(found.round_trip - ((t4 - t1) - (t3 - t2))) <= 1
    assert (found.send, found.reflect, found.processing) == (t2 - t1, t4 - t3, t3 - t2)


def test_round_trip_is_rounded_once() -> None:
    # Each difference is 0.4 ns of 2^-32 s units; rounded by itself each would vanish.
    units = round(0.4e-9 * 2**32)
    sample = a_sample(0)._replace(t1=0, t2=2 * units, t3=units, t4=units, rank=1)
    assert delays(sample).processing == 0
    assert delays(sample).round_trip == 1
