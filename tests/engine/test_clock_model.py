"""The line between two clocks, with clocks whose truth is known: drift, noise, outliers, steps."""

import random
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twamp.engine.clock_model import ClockModel, CrossStamp, Line
from twamp.engine.native import ffi, lib
from twamp.engine.stamping import AHEAD_NS, EVERY, engine_model

NS = 1_000_000_000
START = 1_700_000_000 * NS
EVERY_NS = round(EVERY * NS)
Truth = Callable[[int], int]  # Unix ns -> ns of the device


def drifting(rate: Fraction, offset_ns: int = 37 * NS) -> Truth:
    """The device's clock runs slower by ``rate``."""
    return lambda unix_ns: unix_ns + offset_ns - int((unix_ns - START) * rate)


def burst(truth: Truth, unix_ns: int, chance: random.Random, window_ns: int) -> list[CrossStamp]:
    """Readings like a driver's: the device's clock was read anywhere in the window."""
    readings = []
    for _ in range(5):
        width = chance.randrange(window_ns // 2, window_ns + 1)
        read = unix_ns + chance.randrange(width + 1)
        readings.append(CrossStamp.between(unix_ns, truth(read), unix_ns + width))
        unix_ns += width + 1000
    return readings


def native_unix(line: Line, device_ns: int) -> int | None:
    model = ffi.new("struct tw_clock_model *", vars(engine_model(9, line, False)))
    result = ffi.new("uint64_t *")
    return result[0] if lib.tw_device_clock_convert(model, device_ns, result) else None


@settings(max_examples=60, deadline=None)
@given(
    ppb=st.integers(-100_000, 100_000),
    window_ns=st.sampled_from([2, 100, 2000, 20_000]),
    seed=st.integers(0, 1 << 30),
    count=st.integers(2, 40),
)
def test_the_stated_error_bounds_the_true_one(
    ppb: int, window_ns: int, seed: int, count: int
) -> None:
    """At every moment until the reading after the next, for every drift and every luck with readings."""
    chance = random.Random(seed)
    truth = drifting(Fraction(ppb, 10**9))
    model = ClockModel()
    for number in range(count):
        assert model.update(burst(truth, START + number * EVERY_NS, chance, window_ns))
        assert model.line is not None
        for later in (0, EVERY_NS // 3, EVERY_NS, AHEAD_NS - EVERY_NS):
            unix_ns = START + number * EVERY_NS + later
            device_ns = truth(unix_ns)
            stated = engine_model(9, model.line, False).error_ns
            converted = native_unix(model.line, device_ns)
            assert converted is not None
            # The engine's multiplier has steps of 0.23 ppb; true time is rounded to a nanosecond.
            assert abs(converted - unix_ns) <= stated + 3
    assert model.outliers == model.steps == 0


def test_the_line_is_as_good_as_its_best_readings() -> None:
    """100 ppm of drift and windows of 2 µs: known to a microsecond, and the drift to a millionth."""
    chance = random.Random(1)
    truth = drifting(Fraction(100, 10**6))
    model = ClockModel()
    for number in range(30):
        model.update(burst(truth, START + number * EVERY_NS, chance, 2000))
    assert model.line is not None
    assert abs(model.line.rate - 100e-6) < 1e-6
    assert model.line.error_ns < 3000
    assert engine_model(9, model.line, False).error_ns < 6000


def test_a_precise_clock_is_known_to_nanoseconds() -> None:
    model = ClockModel()
    truth = drifting(Fraction(7, 10**6))
    for number in range(10):
        unix_ns = START + number * EVERY_NS
        model.update([CrossStamp(truth(unix_ns), unix_ns, 0)])
    assert model.line is not None
    assert model.line.error_ns < 60
    assert engine_model(9, model.line, True).error_ns < 200


def test_one_wild_reading_changes_nothing() -> None:
    model = ClockModel()
    truth = drifting(Fraction(1, 10**6))
    for number in range(5):
        unix_ns = START + number * EVERY_NS
        assert model.update([CrossStamp(truth(unix_ns), unix_ns, 500)])
    before = model.line
    wild = START + 5 * EVERY_NS
    assert not model.update([CrossStamp(truth(wild) + 60_000, wild, 500)])
    assert model.line == before
    assert (model.outliers, model.steps) == (1, 0)
    after = START + 6 * EVERY_NS
    assert model.update([CrossStamp(truth(after), after, 500)])


@pytest.mark.parametrize("step_ns", [100_000, -100_000, 37 * NS, -3600 * NS])
def test_a_step_is_believed_when_readings_agree(step_ns: int) -> None:
    """Of the device's clock, either way; three readings in a row."""
    model = ClockModel()
    truth = drifting(Fraction(5, 10**6))
    for number in range(8):
        unix_ns = START + number * EVERY_NS
        model.update([CrossStamp(truth(unix_ns), unix_ns, 300)])
    accepted = []
    for number in range(8, 12):
        unix_ns = START + number * EVERY_NS
        accepted.append(model.update([CrossStamp(truth(unix_ns) + step_ns, unix_ns, 300)]))
    assert accepted == [False, False, True, True]
    assert (model.outliers, model.steps) == (3, 1)
    assert model.line is not None
    unix_ns = START + 13 * EVERY_NS
    assert abs(model.line.unix_at(truth(unix_ns) + step_ns) - unix_ns) < 1000


def test_readings_that_do_not_agree_are_never_believed() -> None:
    model = ClockModel()
    chance = random.Random(2)
    truth = drifting(Fraction(0))
    model.update([CrossStamp(truth(START), START, 300)])
    for number in range(1, 50):
        unix_ns = START + number * EVERY_NS
        wild = chance.choice([-1, 1]) * chance.randrange(NS, 1000 * NS)
        assert not model.update([CrossStamp(truth(unix_ns) + wild, unix_ns, 300)])
        assert (model.line is None) == (number >= 12)
    assert model.steps == 0


def test_a_clock_that_runs_absurdly_fast_is_not_believed_until_it_runs_right() -> None:
    """As one of an emulator does: two and a half seconds a second."""
    model = ClockModel()
    for number in range(100):
        unix_ns = START + number * EVERY_NS
        model.update([CrossStamp(START + number * EVERY_NS * 5 // 2, unix_ns, 300)])
    assert (model.line, model.outliers) == (None, 99)
    after = [START + number * EVERY_NS for number in range(100, 104)]
    accepted = [model.update([CrossStamp(4 * unix_ns, unix_ns, 300)]) for unix_ns in after[:1]]
    accepted += [model.update([CrossStamp(5 * START + unix_ns, unix_ns, 300)]) for unix_ns in after]
    assert accepted == [False, False, False, True, True]
    assert model.steps == 1


def test_a_reset_forgets() -> None:
    model = ClockModel()
    model.update([CrossStamp(START, START, 0)])
    model.reset()
    assert model.line is None
    assert model.timescale == ""
    assert model.update([CrossStamp(START - NS, START + NS, 0)])


@pytest.mark.parametrize(
    ("ahead_ns", "timescale"),
    [(0, "UTC"), (300, "UTC"), (37 * NS, "TAI"), (37 * NS - 5000, "TAI"), (-NS, "free"),
     (36 * NS + NS // 2, "free"), (90 * NS, "free"), (-START, "free")],
)  # fmt: skip
def test_the_timescale_is_recognised(ahead_ns: int, timescale: str) -> None:
    """TAI is ahead of UTC, by whole seconds; a PHC that nobody has set begins at 0."""
    model = ClockModel()
    model.update([CrossStamp(START + ahead_ns, START, 10)])
    assert model.timescale == timescale


# ---- the engine's arithmetic


@given(
    reach=st.integers(-11 * NS, 11 * NS),
    rate=st.floats(-5e-4, 5e-4),
    device_ns=st.integers(20 * NS, 1 << 62),
)
def test_the_engine_computes_the_same_line(reach: int, rate: float, device_ns: int) -> None:
    line = Line(device_ns, START, rate, 100, 0.0)
    converted = native_unix(line, device_ns + reach)
    if abs(reach) > 10 * NS:
        assert converted is None
    else:
        assert converted is not None
        exact = START + reach + Fraction(round(rate * (1 << 32)), 1 << 32) * reach
        assert 0 <= exact - converted < 1
        assert abs(converted - line.unix_at(device_ns + reach)) <= 4
