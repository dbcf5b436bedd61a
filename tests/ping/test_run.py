"""A finite run that ends early: interrupted, or ended by its far end."""

import asyncio
import errno
import json
from collections.abc import Sequence

import pytest

from tests.support.by_hand import Responder
from tests.support.scripted_server import ScriptedServer
from twamp.errors import RemoteProtocolError
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement
from twamp.monitor.outcome import Outcome
from twamp.ping.__main__ import main
from twamp.ping.command_line import read_command_line
from twamp.ping.run import Run
from twamp.ping.sessions import TwampOpenSessions, TwampSessions
from twamp.protocol.control_messages import StopSessions


async def first_packet(ping: Run) -> None:
    """Returns when a session has begun to send."""
    async with asyncio.timeout(10):
        while not any(sender.sent for sender in ping._senders):
            await asyncio.sleep(0.005)


def test_interrupted_run_reports_what_there_is() -> None:
    async def run() -> None:
        async with Responder.listening() as listening:
            config, target = read_command_line(
                [f"127.0.0.1:{listening.port}", "-c", "100000", "-i", "0.001f", "-L", "0.3"]
            )
            assert target is not None
            ping = Run(config, TwampSessions(config, target))
            task = asyncio.create_task(ping.run())
            await first_packet(ping)
            ping.interrupt()
            [measurement] = await asyncio.wait_for(task, 10)
            assert ping.interrupted
            metrics = measure(measurement)
            assert 0 < metrics.sent < 100000
            assert metrics.lost == 0
            await listening.sessions_left(0)

    asyncio.run(run())


def test_second_interrupt_does_not_wait_for_replies() -> None:
    async def run() -> None:
        with ScriptedServer() as server:
            config, target = read_command_line(
                [f"127.0.0.1:{server.port}", "-c", "1", "-i", "0f", "-L", "3600"]
            )
            assert target is not None
            ping = Run(config, TwampSessions(config, target))
            task = asyncio.create_task(ping.run())
            await first_packet(ping)
            ping.interrupt()
            ping.interrupt()
            [measurement] = await asyncio.wait_for(task, 10)
            assert len(measurement.samples) == 1
        assert server.the(StopSessions).number_of_sessions == 1

    asyncio.run(run())


def test_interrupted_set_up_has_nothing_to_report() -> None:
    async def run() -> None:
        with ScriptedServer(greets=False) as server:
            config, target = read_command_line([f"127.0.0.1:{server.port}"])
            assert target is not None
            ping = Run(config, TwampSessions(config, target))
            asyncio.get_running_loop().call_later(0.05, ping.interrupt)
            assert await asyncio.wait_for(ping.run(), 5) == []
            assert ping.interrupted

    asyncio.run(run())


def loopback_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception, arguments: Sequence[str]
) -> tuple[Run, list[Measurement]]:
    """A run whose connection fails with ``error`` when some packets have been answered."""

    async def run() -> tuple[Run, list[Measurement]]:
        async with Responder.listening() as listening:
            config, target = read_command_line([f"127.0.0.1:{listening.port}", *arguments])
            assert target is not None
            ping = Run(config, TwampSessions(config, target))

            async def fail(_: TwampOpenSessions) -> None:
                async with asyncio.timeout(10):
                    while not ping._senders or ping._senders[0].stats().replies < 3:
                        await asyncio.sleep(0.002)
                raise error

            monkeypatch.setattr(TwampOpenSessions, "wait_for_the_end", fail)
            return ping, await asyncio.wait_for(ping.run(), 20)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "error",
    [RemoteProtocolError("the Server has gone"), ConnectionResetError(errno.ECONNRESET, "gone")],
)
def test_the_end_of_the_connection_ends_the_run_and_is_told(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["-c", "100000", "-i", "0.001f", "-L", "0.2"]
    ping, [measurement] = loopback_run(monkeypatch, error, options)
    assert not ping.interrupted
    assert "gone" in measurement.incidents.ended
    metrics = measure(measurement)
    assert metrics.received >= 3
    assert metrics.lost == 0
    assert metrics.sent + metrics.not_measured == 100000
    assert list(ping.warnings) == []


def test_a_silent_network_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = OSError(errno.ETIMEDOUT, "timed out")
    options = ["-c", "50", "-i", "0.002f", "-L", "0.2"]
    _, [measurement] = loopback_run(monkeypatch, cut, options)
    assert measurement.incidents.ended == ""
    assert measure(measurement).received == 50


@pytest.mark.parametrize("form", [[], ["-R"], ["--csv"], ["--json"]])
def test_a_run_cut_short_has_an_exit_code_of_its_own(
    form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(leaves=True) as server:
        code = main([f"127.0.0.1:{server.port}", *form, "-c", "7", "-i", "0.2f", "-L", "0.2"])
    assert code == Outcome.CUT_SHORT
    output = capsys.readouterr()
    assert "closed the connection; 7 packets were not measured" in output.err
    if form == ["--json"]:
        tree = json.loads(output.out)
        assert "closed the connection" in tree["ended"]
        assert tree["total"]["packets"]["not-measured"] == 7
        assert tree["total"]["packets"]["num-pkts-lost"] == 0
