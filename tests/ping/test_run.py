"""A finite run that is interrupted, once and twice, before and after its first packet."""

import asyncio

from tests.support.by_hand import Responder
from tests.support.scripted_server import ScriptedServer
from twamp.metrics.measure import measure
from twamp.ping.command_line import read_command_line
from twamp.ping.run import Run
from twamp.ping.sessions import TwampSessions
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
