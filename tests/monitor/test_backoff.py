"""The waits before another attempt."""

from random import Random

from twamp.monitor.backoff import Backoff


def test_back_off_doubles_up_to_its_most_with_chance() -> None:
    backoff = Backoff(Random(3), first=1, most=60)
    seconds = [backoff.next() for _ in range(10)]
    for value, most in zip(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=True):
        assert most / 2 <= value <= most
    assert len({value / 60 for value in seconds[-4:]}) == 4
    backoff.reset()
    assert backoff.next() <= 1
