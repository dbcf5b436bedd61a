"""The options of twampd that change its replies, or the clients that get one, seen by a sender."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOT_TESTED
from tests.support.by_hand import Probe, RawClient, free_port
from tests.support.twampd import Twampd
from twamp.engine.session_reflector import RECEIVE_BUFFER
from twamp.engine.statistics import COUNTERS
from twamp.protocol.packets import ReflectorPacket
from twamp.protocol.timestamps import ErrorEstimate, unix_ns_from_ntp, unix_ns_from_ptp

LOOPBACK = ("--listen-address", "127.0.0.1")
SECOND = 1_000_000_000
RMEM_MAX = Path("/proc/sys/net/core/rmem_max")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def reply_of(twampd: Twampd) -> ReflectorPacket:
    """One packet there and back, in a session that is stopped by leaving."""
    async with RawClient.connected(twampd) as client:
        with Probe() as probe:
            session = await client.ask(probe.request())
            await client.start()
            return await probe.measure(session.port)


@pytest.mark.parametrize("format", ["ntp", "ptp"])
def test_timestamp_format_is_that_of_light_alone(tmp_path: Path, format: str) -> None:
    port = free_port()

    async def test(twampd: Twampd) -> None:
        before = time.time_ns()
        with Probe() as probe:
            replies = [await probe.measure(port), await reply_of(twampd)]
        after = time.time_ns()
        for reply, ptp in zip(replies, (format == "ptp", False), strict=True):
            assert ErrorEstimate.from_int(reply.error_estimate).ptp_format is ptp
            read = unix_ns_from_ptp if ptp else unix_ns_from_ntp
            times = read(reply.receive_timestamp, before), read(reply.timestamp, before)
            assert before <= times[0] <= times[1] <= after

    light = ("--light", "--light-port", str(port))
    with Twampd.running(tmp_path, *LOOPBACK, *light, "--timestamp-format", format) as twampd:
        run(lambda: test(twampd))


@pytest.mark.parametrize(
    ("timestamp", "source"), [("auto", "kernel"), ("kernel", "kernel"), ("user", "user")]
)
def test_timestamp_says_who_reads_the_clock(tmp_path: Path, timestamp: str, source: str) -> None:
    async def test(twampd: Twampd) -> None:
        await reply_of(twampd)
        sources = (await twampd.show("counters"))["counters"]["packets"]["timestamp_sources"]["T2"]
        assert {name for name, count in sources.items() if count} == {source}

    with Twampd.running(tmp_path, *LOOPBACK, "--timestamp", timestamp) as twampd:
        run(lambda: test(twampd))


def test_every_counter_of_the_engine_is_among_the_counters_shown(tmp_path: Path) -> None:
    with Twampd.running(tmp_path, *LOOPBACK) as twampd:
        command = ["-m", "twamp.ctl", "--socket", str(twampd.control_socket), "counters", "--json"]
        shown = subprocess.run([sys.executable, *command], capture_output=True, check=True)
    packets = json.loads(shown.stdout)["counters"]["packets"]
    assert set(COUNTERS) <= set(packets)
    assert packets["turns"] > 0


def test_light_reflects_without_twamp_control_for_the_client_list(tmp_path: Path) -> None:
    port = free_port()

    async def test(twampd: Twampd) -> None:
        with Probe("127.0.0.1") as listed, Probe("127.0.0.2") as other:
            other.send(port)
            for number in range(3):
                reply = await listed.measure(port)
                assert reply.sequence_number == number
            assert other.nothing_came()
        state = await twampd.show("counters")
        assert state["status"]["light"] == [f"[127.0.0.1]:{port}"]
        assert state["counters"]["packets"]["dropped"]["client_list"] == 1

    arguments = ["--light", "--light-port", str(port), "--client-list", "127.0.0.1/32"]
    with Twampd.running(tmp_path, *LOOPBACK, *arguments) as twampd:
        run(lambda: test(twampd))


def test_light_on_any_address_answers_from_the_one_that_was_asked(tmp_path: Path) -> None:
    port = free_port()

    async def test() -> None:
        for asked in ("127.0.0.1", "127.0.0.9", "::1"):
            with Probe("::1" if ":" in asked else "127.0.0.3") as probe:
                probe.sock.connect((asked, port))  # takes replies from there alone
                await probe.measure(port, asked)

    with Twampd.running(tmp_path, "--light", "--light-port", str(port)) as twampd:
        assert re.search(rf"without TWAMP-Control on \[0\.0\.0\.0\]:{port}", twampd.log)
        run(test)


def test_without_light_nobody_answers_there(tmp_path: Path) -> None:
    port = free_port()

    async def test() -> None:
        with Probe() as probe:
            probe.sock.connect(("127.0.0.1", port))
            probe.sock.send(bytes(41))
            with pytest.raises(ConnectionRefusedError):
                await asyncio.get_running_loop().sock_recv(probe.sock, 100)

    with Twampd.running(tmp_path, *LOOPBACK, "--light-port", str(port)):
        run(test)


@pytest.fixture
def small_buffers() -> Iterator[None]:
    """The kernel grants little to who has no privilege, while the test lasts."""
    before = RMEM_MAX.read_text()
    try:
        RMEM_MAX.write_text("212992")
    except OSError as error:
        pytest.skip(f"{NOT_TESTED}: net.core.rmem_max cannot be set here: {error}")
    yield
    RMEM_MAX.write_text(before)


@pytest.mark.root
@pytest.mark.usefixtures("small_buffers")
def test_a_receive_buffer_that_is_smaller_than_wished_is_told_once(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        for _ in range(2):
            await reply_of(twampd)
        twampd.wait_for("the kernel grants receive buffers of")
        granted = (await twampd.show("counters"))["counters"]["packets"]["receive_buffer"]
        assert f"receive buffers of {granted} octets, not {RECEIVE_BUFFER}" in twampd.log
        await asyncio.sleep(1.5)  # another look
        assert twampd.log.count("the kernel grants") == 1

    powerless = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
    with Twampd.running(tmp_path, *LOOPBACK, prefix=powerless) as twampd:
        run(lambda: test(twampd))
    with Twampd.running(tmp_path, *LOOPBACK) as twampd:

        async def untold() -> None:
            await reply_of(twampd)
            await asyncio.sleep(1.5)
            assert "the kernel grants" not in twampd.log

        run(untold)
