"""What changes under a running responder is noticed once, and only when it is new."""

import errno

from twamp.reflector.watch import ClockWatch, Heartbeat, InterfaceWatch

S = 1_000_000_000


def test_a_step_of_the_clock_is_noticed_with_its_size() -> None:
    clock = ClockWatch()
    assert clock.look(1000 * S, 5 * S) is None
    assert clock.look(1001 * S, 6 * S) is None
    assert clock.look(1000 * S, 7 * S) == -2 * S
    assert clock.look(1001 * S, 8 * S) is None
    assert clock.look(4602 * S, 9 * S) == 3600 * S


def test_a_slewed_clock_does_not_step() -> None:
    clock = ClockWatch()
    for second in range(100):
        assert clock.look(second * S + second * 500_000, second * S) is None


class Interfaces:
    """The kernel's table of one interface."""

    def __init__(self, index: int | None) -> None:
        self.index = index

    def index_of(self, name: str) -> int:
        assert name == "eth0"
        if self.index is None:
            raise OSError(errno.ENODEV, "no such device")
        return self.index


def test_an_interface_that_goes_and_comes_back() -> None:
    kernel = Interfaces(7)
    watch = InterfaceWatch("eth0", kernel.index_of)
    assert watch.look() is None
    kernel.index = None
    assert watch.look() == "lost"
    assert watch.look() is None
    kernel.index = 9
    assert watch.look() == "back"
    assert watch.look() is None
    kernel.index = 10  # between two looks it went and came
    assert watch.look() == "back"


def test_a_loop_that_does_not_turn_is_told_from_one_that_does() -> None:
    heartbeat = Heartbeat()
    assert heartbeat.beats((0, 9))
    assert heartbeat.beats((1, 10))
    assert not heartbeat.beats((1, 10))
    assert not heartbeat.beats((2, 10))
    assert heartbeat.beats((5, 11))
