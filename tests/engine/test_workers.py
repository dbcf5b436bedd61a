"""Several reflecting threads: who serves whom, what is counted, and where they run."""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOT_TESTED
from tests.support.by_hand import Probe, RawClient, free_port, run
from tests.support.reflector_bench import bound, endpoint, os_error
from tests.support.twampd import Twampd
from twamp.config.reflector import ReflectorConfig
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.engine.workers import Workers
from twamp.errors import ConfigError
from twamp.protocol.registries import Accept

LOOPBACK = ("--listen-address", "127.0.0.1")
TWAMPD = (
    *(sys.executable, "-m", "twamp.reflector", *LOOPBACK, "--port", "0"),
    *("--control-socket", "none"),
)
WORKERS = 3
PACKETS = 10


def threads_of(twampd: Twampd) -> list[int]:
    """Those that reflect."""
    tasks = Path(f"/proc/{twampd.process.pid}/task")
    return sorted(
        int(task.name)
        for task in tasks.iterdir()
        if (task / "comm").read_text() == "twamp-reflector\n"
    )


def switches(pid: int, thread: int) -> int:
    """How often a thread has slept: it does so whenever it has answered."""
    status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def with_twampd(
    directory: Path, *options: str, test: Callable[[Twampd], Coroutine[Any, Any, None]]
) -> None:
    with Twampd.running(directory, *LOOPBACK, *options) as twampd:
        run(lambda: test(twampd))


@contextlib.asynccontextmanager
async def probing(count: int) -> AsyncIterator[list[Probe]]:
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(Probe()) for _ in range(count)]


async def none_connected(twampd: Twampd) -> None:
    async with asyncio.timeout(10):
        while (await twampd.show())["status"]["connections"]["current"]:
            await asyncio.sleep(0.01)


# ---- over the wire


def test_sessions_are_dealt_to_all_workers_and_counted_exactly(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        workers = threads_of(twampd)
        assert len(workers) == WORKERS
        async with RawClient.connected(twampd) as client, probing(2 * WORKERS) as probes:
            ports = [(await client.ask(probe.request())).port for probe in probes]
            await client.start()
            for probe, port in zip(probes, ports, strict=True):
                before = [switches(twampd.process.pid, worker) for worker in workers]
                for number in range(PACKETS):
                    assert (await probe.measure(port)).sequence_number == number
                after = [switches(twampd.process.pid, worker) for worker in workers]
                # The clock's and the watch's own wakes are few.
                busiest = max(range(WORKERS), key=lambda i: after[i] - before[i])
                assert after[busiest] - before[busiest] >= PACKETS // 2
                assert sum(after) - sum(before) < 2 * (after[busiest] - before[busiest])
            shown = await twampd.show("sessions", "counters")
            packets = shown["counters"]["packets"]
            assert packets["received"] == packets["reflected"] == len(ports) * PACKETS
            assert packets["sockets"] == len(set(ports)) == len(ports)
            assert {row["reflector_port"]: row["reflected"] for row in shown["sessions"]} == (
                dict.fromkeys(ports, PACKETS)
            )
            assert len({port % WORKERS for port in ports}) == WORKERS

    with_twampd(tmp_path, "--workers", str(WORKERS), test=test)


def test_the_maximum_of_sessions_is_that_of_all_workers(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        async with RawClient.connected(twampd) as client:
            answers = []
            for _ in range(5):
                with Probe() as probe:
                    answers.append((await client.ask(probe.request())).accept)
            full = Accept.TEMPORARY_RESOURCE_LIMITATION
            assert answers == [Accept.OK, Accept.OK, Accept.OK, full, full]
        await none_connected(twampd)  # the sessions of the first have gone with it
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                assert (await client.ask(probe.request())).accept is Accept.OK

    options = ("--maximum-sessions", "3", "--maximum-connections", "1")
    with_twampd(
        tmp_path,
        *("--workers", "2", *options, "--maximum-sessions-per-connection", "3"),
        test=test,
    )


def test_light_peers_are_dealt_to_all_workers(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        for _ in range(20):
            with Probe() as probe:
                await probe.measure(port)
        packets = (await twampd.show("counters"))["counters"]["packets"]
        assert packets["reflected"] == 20
        assert packets["sockets"] == 2  # one each, at one address

    port = free_port()
    with_twampd(tmp_path, "--workers", "2", "--light", "--light-port", str(port), test=test)


def test_a_reload_reaches_every_worker(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        async with RawClient.connected(twampd) as client, probing(32) as probes:
            ports: list[int] = []
            # A port says which worker has it, and another program may hold any one.
            while {port % 2 for port in ports} != {0, 1}:
                ports.append((await client.ask(probes[len(ports)].request())).port)
            await client.start()
            file.write_text("rate-limit = 1\nworkers = 2\n")
            twampd.signal(signal.SIGHUP)
            twampd.wait_for("reloaded;")
            for probe, port in zip(probes, ports, strict=False):
                for _ in range(100):
                    probe.send(port)
            async with asyncio.timeout(10):
                received = 100 * len(ports)
                while (await twampd.show("counters"))["counters"]["packets"]["received"] < received:
                    await asyncio.sleep(0.01)
            shown = await twampd.show("sessions")
            assert all(row["dropped"] > 50 for row in shown["sessions"])

    file = tmp_path / "twampd.toml"
    file.write_text("workers = 2\n")
    with_twampd(tmp_path, "--config", str(file), test=test)


# ---- where they run


def test_each_worker_has_its_processor(tmp_path: Path) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    chosen = [allowed[0], allowed[-1]]

    async def test(twampd: Twampd) -> None:
        places = [os.sched_getaffinity(thread) for thread in threads_of(twampd)]
        assert sorted(map(sorted, places)) == sorted([processor] for processor in chosen)
        assert os.sched_getaffinity(twampd.process.pid) == set(allowed)

    cpus = [argument for processor in chosen for argument in ("--cpu", str(processor))]
    with_twampd(tmp_path, "--workers", "2", *cpus, test=test)


def test_a_processor_that_is_not_there_is_named() -> None:
    ended = subprocess.run(
        [*TWAMPD, "--cpu", "4095"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 1
    usable = sorted(os.sched_getaffinity(0))
    assert f"cpu: 4095: Invalid argument; this process may use {usable}" in ended.stderr


@pytest.mark.root
def test_real_time_priority_outlives_privileges(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        assert Path(f"/proc/{twampd.process.pid}").stat().st_uid != 0
        for thread in threads_of(twampd):
            assert os.sched_getscheduler(thread) == os.SCHED_FIFO
            assert os.sched_getparam(thread).sched_priority == 7
        assert os.sched_getscheduler(twampd.process.pid) == os.SCHED_OTHER

    tmp_path.chmod(0o777)
    with_twampd(tmp_path, "--workers", "2", "--realtime", "7", "--user", "nobody", test=test)


@pytest.mark.root
def test_real_time_priority_that_may_not_be_is_refused_with_the_remedy() -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip(f"{NOT_TESTED}: setpriv (util-linux) is not on PATH")
    without = ("--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice")
    ended = subprocess.run(
        ["prlimit", "--rtprio=0:0", setpriv, *without, *TWAMPD, "--realtime", "7"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 1
    assert "realtime: 7: Operation not permitted" in ended.stderr
    assert "CAP_SYS_NICE" in ended.stderr
    assert "LimitRTPRIO=" in ended.stderr


def test_a_worker_that_spins_answers_and_sleeps_again(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        [worker] = threads_of(twampd)
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                port = (await client.ask(probe.request())).port
                await client.start()
                for _ in range(PACKETS):
                    await probe.measure(port)
                before = switches(twampd.process.pid, worker)
                for _ in range(PACKETS):
                    await probe.measure(port)
                # It looked for the next packet all the while (a nudge a second wakes, not sleeps).
                assert switches(twampd.process.pid, worker) - before <= PACKETS // 2
                async with asyncio.timeout(10):  # and sleeps when none comes
                    while "S (sleeping)" not in state(twampd.process.pid, worker):
                        await asyncio.sleep(0.05)

    def state(pid: int, thread: int) -> str:
        return Path(f"/proc/{pid}/task/{thread}/status").read_text()

    with_twampd(tmp_path, "--spin-us", "500000", test=test)


# ---- rules


def test_more_workers_than_test_ports_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"workers: 3 is more than the ports of test-ports 7000-7001"
    ):
        ReflectorConfig(workers=3, test_ports=(7000, 7001))
    assert ReflectorConfig(workers=2, test_ports=(7000, 7001)).workers == 2


def test_processors_are_one_for_all_or_one_each() -> None:
    with pytest.raises(ConfigError, match=r"cpu: 2 processors for 3 workers"):
        ReflectorConfig(workers=3, cpu=(0, 1))
    assert ReflectorConfig(workers=3, cpu=(0,)).cpu == (0,)


# ---- by itself


def test_one_that_cannot_begin_ends_the_others() -> None:
    async def test() -> None:
        reflectors = [SessionReflector(), SessionReflector(cpu=4095)]
        with os_error(errno.EINVAL):
            async with Workers(reflectors, maximum_sessions=1):
                pytest.fail("there is no such processor")
        for reflector in reflectors:
            with pytest.raises(RuntimeError, match="closed"):
                reflector.nudge()

    asyncio.run(test())


def test_an_id_says_whose_it_is() -> None:
    async def test() -> None:
        async with Workers([SessionReflector() for _ in range(WORKERS)], 100) as workers:
            ids = []
            for _ in range(4 * WORKERS):
                with bound("127.0.0.1") as port, bound("127.0.0.1") as peer:
                    ids.append(
                        workers.add(SessionConfig(local=endpoint(port), peer=endpoint(peer)), port)
                    )
            assert len(set(ids)) == len(ids)
            assert workers.stats().sessions == len(ids)
            stats = workers.stats_of([*ids, ids[-1] + 100 * WORKERS])
            assert [one is not None for one in stats] == [True] * len(ids) + [False]
            for session in ids:
                workers.remove(session)
                with os_error(errno.ENOENT):
                    workers.remove(session)
            assert workers.stats().sessions == 0

    asyncio.run(test())
