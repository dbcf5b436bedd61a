"""All targets together: what they report, when they end, and what came of them."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.by_hand import Responder, free_port
from twamp.config.ping import PingConfig
from twamp.config.target import Target
from twamp.monitor.monitor import Monitor
from twamp.monitor.outcome import Outcome
from twamp.ping.sessions import TwampSessions

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = {"interval": "0.002f", "loss_timeout": "0.1", "report_interval": "0.2", "port_range": "0"}


class Lines:
    """An output; ``error`` is what writing raises, ``when`` is called with each text."""

    def __init__(self, error: OSError | None = None) -> None:
        self.texts: list[str] = []
        self.error = error
        self.when: Callable[[str], None] = lambda _: None

    def write(self, text: str) -> None:
        if self.error is not None:
            raise self.error
        self.texts.append(text)
        self.when(text)

    def close(self) -> None:
        """Nothing is open."""


class Monitored:
    """A monitor of ports of 127.0.0.1, by name, and what it said."""

    def __init__(self, ports: dict[str, int], output: Lines | None = None, **options: object):
        self.output = output or Lines()
        self.warnings: list[str] = []
        config = PingConfig(continuous=True, **(QUICK | options))  # type: ignore[arg-type]
        self.monitor = Monitor(config, self.output, self.warnings.append)
        for name, port in ports.items():
            target = Target("127.0.0.1", "127.0.0.1", port)
            self.monitor.watch(name, config, TwampSessions(config, target))

    def stop_after(self, count: int) -> None:
        """Stops it when it has written so many texts."""

        def count_down(_: str) -> None:
            if len(self.output.texts) == count:
                self.monitor.stop()

        self.output.when = count_down

    async def run(self) -> Outcome:
        return await asyncio.wait_for(self.monitor.run(), 30)


def test_intervals_then_totals() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            one = Monitored({"here": responder.port})
            one.stop_after(2)
            assert await one.run() is Outcome.MEASURED
        *intervals, total = one.output.texts
        assert len(intervals) >= 2
        assert all(" sent, 0 lost" in line for line in intervals)
        assert "--- twping totals of here ---" in total
        assert one.warnings == []

    asyncio.run(test())


def test_a_threshold_is_judged_in_each_interval_and_at_the_end() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            one = Monitored({"here": responder.port}, fail=("rtt.max>0ns", "loss>0"))
            one.stop_after(2)
            assert await one.run() is Outcome.NOTHING_BACK
        assert all(line.startswith("failed: rtt.max>0ns: it is ") for line in one.warnings)
        assert len(one.warnings) >= 3, "of two intervals, and of the totals"

    asyncio.run(test())


def test_one_target_that_fails_fails_them_all_and_is_named() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            one = Monitored({"here": responder.port, "nowhere": free_port()}, fail=("loss>0%",))
            one.stop_after(2)
            assert await one.run() is Outcome.NOTHING_BACK
        failed = {line for line in one.warnings if ": failed: " in line}
        assert "nowhere: failed: loss>0%: it cannot be known: no packet was sent" in failed
        assert [line for line in failed if line.startswith("here: ")] == []

    asyncio.run(test())


@pytest.mark.parametrize(
    ("interrupted", "outcome"), [(True, Outcome.INTERRUPTED), (False, Outcome.NO_SET_UP)]
)
def test_what_never_connected(interrupted: bool, outcome: Outcome) -> None:
    async def test() -> None:
        one = Monitored({"nowhere": free_port()})
        one.output.when = lambda _: one.monitor.stop(interrupted=interrupted)
        assert await one.run() is outcome

    asyncio.run(test())


def test_the_deadline_ends_it() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            one = Monitored({"here": responder.port}, deadline="0.7")
            assert await one.run() is Outcome.MEASURED
        assert "totals" in one.output.texts[-1]

    asyncio.run(test())


def test_a_reader_that_goes_ends_it_and_a_full_disk_does_not() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            gone = Monitored({"here": responder.port}, Lines(BrokenPipeError()))
            assert await gone.run() is Outcome.MEASURED
            full = Monitored({"here": responder.port}, Lines(OSError(28, "full")), deadline="0.7")
            assert await full.run() is Outcome.MEASURED
        assert gone.warnings == []
        assert full.warnings == ["the report cannot be written: full; measuring goes on"]

    asyncio.run(test())
