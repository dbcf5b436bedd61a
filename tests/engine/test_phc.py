"""A PTP hardware clock, read by each of the kernel's three ways, in simulated time."""

import errno
import os

import pytest

from tests.support.fake_device import NS, FakeClock
from twamp.engine.phc import SAMPLES, HardwareClock

METHODS = ("precise", "extended", "plain")


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("first", range(3))
def test_the_best_way_that_there_is_is_used(first: int) -> None:
    clock = FakeClock(methods=METHODS[first:]).clock()
    assert clock.method == METHODS[first]
    clock.close()


def test_each_reading_holds_the_truth_in_its_window(method: str) -> None:
    """Both clocks are read in turn; how long that takes varies, and nobody knows where the device's was."""
    looks = iter([100, 3000, 20, 900, 5, 5, 700, 1] * 100)
    fake = FakeClock(methods=(method,), look_ns=lambda: next(looks))
    clock = fake.clock()
    readings = clock.read()
    assert len(readings) == (1 if method == "precise" else SAMPLES)
    for reading in readings:
        truth = reading.device_ns - 37 * NS
        assert abs(reading.unix_ns - truth) <= (reading.window_ns + 1) // 2
        assert (reading.window_ns > 0) == (method != "precise")
    clock.close()


def test_a_clock_that_cannot_be_compared_is_refused_and_leaves_nothing_open() -> None:
    before = descriptors()
    with pytest.raises(OSError, match="cannot be compared with the system clock"):
        FakeClock(methods=()).clock()
    assert descriptors() == before


def test_one_that_is_gone_is_no_reason_to_try_another_way() -> None:
    before = descriptors()
    with pytest.raises(OSError, match=rf"Errno {errno.ENODEV}\]"):
        FakeClock(gone=True).clock()
    assert descriptors() == before


def test_a_file_that_is_no_clock_is_refused() -> None:
    """The true ioctl."""
    with pytest.raises(OSError, match="cannot be compared"):
        HardwareClock(os.devnull)
    with pytest.raises(FileNotFoundError):
        HardwareClock("/dev/ptp4711")


def test_it_is_closed_once() -> None:
    before = descriptors()
    clock = FakeClock().clock()
    assert descriptors() == before + 1
    clock.close()
    clock.close()
    assert descriptors() == before
