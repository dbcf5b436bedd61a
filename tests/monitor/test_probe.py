"""Probes on request: whom, by which module, how many at once, and what comes of one that fails."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.by_hand import Responder
from twamp.config.ping import PingConfig
from twamp.config.target import Target
from twamp.metrics.sample import Measurement
from twamp.monitor.probe import MOST_AT_ONCE, Prober, RequestError, probe_families, tally_of
from twamp.monitor.targets import Targets, read_targets
from twamp.ping.run import Run
from twamp.ping.sessions import TwampSessions

FILE = """
[module.m]
port-range = "0"
interval = "0.002f"
loss-timeout = 0.5

[target.named]
host = "192.0.2.1:8620"

[probe]
allow = ["127.0.0.0/8", "::1/128"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Targets:
    path = tmp_path / "t.toml"
    path.write_text(FILE)
    return read_targets(str(path), {})


class Recorded:
    """Measures nothing, and does not return before it may."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.may_return = asyncio.Event()

    async def run(self, host: str, config: PingConfig) -> Sequence[Measurement]:
        self.hosts.append(host)
        await self.may_return.wait()
        return []


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("named", "192.0.2.1:8620"),
        ("192.0.2.1:8620", "192.0.2.1:8620"),
        ("127.0.0.9", "127.0.0.9"),
        ("::1", "[::1]"),
    ],
)
def test_who_may_be_probed(file: Targets, target: str, host: str) -> None:
    async def test() -> None:
        recorded = Recorded()
        recorded.may_return.set()
        probed = await Prober(file, recorded.run).probe(target, "m")
        assert recorded.hosts == [host]
        assert not probed.success

    asyncio.run(test())


@pytest.mark.parametrize(
    ("target", "module", "status"),
    [
        ("192.0.2.1", "m", "403"),  # the file says by which port
        ("192.0.2.1:22", "m", "403"),
        ("127.0.0.1:22", "m", "403"),  # an address that is allowed, at a port that nobody chose
        ("198.51.100.1", "m", "403"),
        ("[::1]", "m", "403"),
        ("x" * 300, "m", "403"),
        ("\0", "m", "403"),
        ("named", "n", "400"),
        ("named", "", "400"),
    ],
)
def test_who_may_not(file: Targets, target: str, module: str, status: str) -> None:
    async def test() -> None:
        recorded = Recorded()
        recorded.may_return.set()
        with pytest.raises(RequestError) as caught:
            await Prober(file, recorded.run).probe(target, module)
        assert caught.value.status.startswith(status)
        assert recorded.hosts == []

    asyncio.run(test())


def test_few_run_at_once_and_of_one_target_one(file: Targets) -> None:
    async def test() -> None:
        recorded = Recorded()
        prober = Prober(file, recorded.run)
        targets = [f"127.0.0.{number}" for number in range(1, 1 + MOST_AT_ONCE)]
        first = asyncio.create_task(prober.probe(targets[0], "m"))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="that target is being probed"):
            await prober.probe(targets[0], "m")
        others = [asyncio.create_task(prober.probe(target, "m")) for target in targets[1:]]
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="4 probes are running"):
            await prober.probe("127.0.0.99", "m")
        recorded.may_return.set()
        await asyncio.gather(first, *others)
        assert not (await prober.probe("127.0.0.99", "m")).success

    asyncio.run(test())


def test_a_probe_that_takes_too_long_has_failed(
    file: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twamp.monitor.probe.MOST_SECONDS", 2.0)

    async def test() -> None:
        prober = Prober(file, Recorded().run)
        monkeypatch.setattr("twamp.monitor.probe.MOST_SECONDS", 0.01)
        probed = await prober.probe("named", "m")
        assert (probed.success, probed.tally) == (False, None)
        names = [family.name for family in probe_families(probed)]
        assert names == ["probe_success", "probe_duration_seconds"]

    asyncio.run(test())


def test_a_probe_measures() -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as responder:
            config = PingConfig(interval="0.001f", count=30, port_range=(0, 0))
            target = Target("127.0.0.1", "127.0.0.1", responder.port)
            tally = tally_of(await Run(config, TwampSessions(config, target)).run())
            assert (tally.sent, tally.received, tally.lost) == (30, 30, 0)
            assert tally.round_trip.delay.count == 30

    asyncio.run(test())
