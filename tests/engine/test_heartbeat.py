"""Whether the loop of a Session-Reflector still turns, and how one hears that it ended."""

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.reflector_bench import Bench, bound, endpoint, os_error, request
from twamp.engine.session_reflector import SessionConfig, SessionReflector


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def descriptors(kind: str) -> set[int]:
    """The open ones of a kind, such as ``[eventpoll]``."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the one that listed the directory
            continue
        if target == f"anon_inode:{kind}":
            found.add(int(fd))
    return found


def broken_reflector() -> SessionReflector:
    """One whose epoll is none: its loop fails as soon as it turns."""
    before = descriptors("[eventpoll]")
    reflector = SessionReflector()
    [epoll] = descriptors("[eventpoll]") - before
    with bound("127.0.0.1") as sock:
        os.dup2(sock.fileno(), epoll, inheritable=False)
    return reflector


# ---- turns


def test_every_step_is_a_turn_whether_packets_come_or_not(bench: Bench) -> None:
    client, _ = bench.session()
    before = bench.reflector.stats().counters["turns"]
    for _ in range(3):
        bench.reflector.step(0)
    assert bench.reflector.stats().counters["turns"] == before + 3
    bench.exchange(client, request())
    assert bench.reflector.stats().counters["turns"] == before + 4


def test_a_nudge_ends_the_waiting_of_one_turn(bench: Bench) -> None:
    bench.reflector.nudge()
    assert bench.reflector.step(-1) == 0  # without the nudge this lasts for ever
    bench.reflector.nudge()
    bench.reflector.nudge()  # both are heard in one turn
    assert bench.reflector.step(-1) == 0
    assert bench.reflector.stats().counters["turns"] == 2


def test_a_thread_that_has_nothing_to_do_turns_when_nudged_and_then_sleeps() -> None:
    async def test() -> None:
        async with SessionReflector() as reflector:
            for turn in range(1, 5):
                reflector.nudge()
                await until(lambda: reflector.stats().counters["turns"] >= turn)  # noqa: B023
            assert reflector.stats().counters["turns"] == 4

    run(test)


def test_of_a_closed_reflector_nothing_turns() -> None:
    reflector = SessionReflector()
    reflector.close()
    with pytest.raises(RuntimeError, match="closed"):
        reflector.nudge()


# ---- the end


def test_who_waits_hears_of_the_end_and_so_does_who_asks_later() -> None:
    async def test() -> None:
        async with SessionReflector() as reflector:
            waiting = [asyncio.create_task(reflector.wait()) for _ in range(2)]
            reflector.nudge()
            await until(lambda: reflector.stats().counters["turns"] > 0)
            assert not any(task.done() for task in waiting)
        await asyncio.gather(*waiting)
        await reflector.wait()

    run(test)


def test_who_no_longer_waits_stops_nothing() -> None:
    async def test() -> None:
        async with SessionReflector() as reflector:
            waiting = asyncio.create_task(reflector.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with bound("127.0.0.1") as port, bound("127.0.0.1") as client:
                config = SessionConfig(local=endpoint(port), peer=endpoint(client))
                reflector.start(reflector.add(config, port))
                client.sendto(request(), config.local.sockaddr)
                assert await asyncio.to_thread(client.recv, 100)

    run(test)


def test_a_loop_that_fails_is_an_error_for_who_waits_and_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        reflector = broken_reflector()
        await reflector.__aenter__()
        for _ in range(2):
            with os_error(errno.EINVAL):
                await reflector.wait()
        with os_error(errno.EINVAL):
            await reflector.aclose()

    run(test)
    assert "the reflector stopped: Invalid argument" in caplog.text


def test_without_a_thread_there_is_nothing_to_wait_for(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="does not run"):
        asyncio.run(bench.reflector.wait())
