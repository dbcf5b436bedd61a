"""What does a Server spend on a thousand sessions that one connection asks for, and what memory on each?

Asked for by our own client: ahead of the answers, one by one, and ahead while the reflector of the same
``twampd`` has all it can do (its worker's time is not counted).  Memory is what the process has grown by
(resident), per session, with all there is of it in C and in Python; the kernel's own, of the sockets, is not
in it.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.load import Load, reflected
from benchmarks.programs import Responder, cores, pinned, responder
from benchmarks.rounds import Side, interleave, publish
from twamp.control.client import ControlClient, SessionRequest

SESSIONS = 1000
FOR_MEMORY = 4000
LOAD_SECONDS = 30  # more than a round takes
FIRST_SENDER_PORT = 1024
ROOM = (
    *("--maximum-connections", "8", "--maximum-sessions-per-connection", "1024"),
    *("--maximum-sessions", "8192"),
)


def cpu_of_event_loop_ns(pid: int) -> int:
    """CPU time of the main thread alone."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def resident(pid: int) -> int:
    """Memory of the process in octets."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def set_up(twampd: Responder, sessions: int, ahead: int) -> Mapping[str, float]:
    """All of them on one connection; what they cost until they are set up."""
    requests = [
        SessionRequest(sender_port=FIRST_SENDER_PORT + number, receiver_port=0, timeout_ns=0)
        for number in range(sessions)
    ]
    async with await ControlClient.connect(twampd.host, twampd.port) as client:
        before_ns, begin_ns = cpu_of_event_loop_ns(twampd.pid), time.perf_counter_ns()
        granted = [session async for session in client.request_sessions(requests, ahead)]
        took_ns, spent_ns = (
            time.perf_counter_ns() - begin_ns,
            cpu_of_event_loop_ns(twampd.pid) - before_ns,
        )
        assert len(granted) == sessions
    return {"server_cpu_ms": spent_ns / 1e6, "wall_ms": took_ns / 1e6}


def memory(sessions: int) -> Mapping[str, float]:
    with responder(cores()[0], *ROOM) as twampd:
        before = resident(twampd.pid)
        with reflected(twampd, 41, sessions):
            return {"kB_per_session": (resident(twampd.pid) - before) / sessions / 1000}


def side(twampd: Responder, loop: asyncio.Runner, sessions: int, ahead: int) -> Side:
    def run() -> Mapping[str, float]:
        with pinned(cores()[1]):
            return loop.run(set_up(twampd, sessions, ahead))

    return run


def bench_set_up(benchmark: Any, compiled: Callable[..., Path]) -> None:
    load = Load(compiled("load"), 41, 0, seconds=LOAD_SECONDS)
    sessions, for_memory = (20, 50) if benchmark.disabled else (SESSIONS, FOR_MEMORY)
    with (
        asyncio.Runner() as loop,
        responder(cores()[0], *ROOM) as idle,
        responder(cores()[0] | cores()[1], *ROOM) as busy,
        reflected(busy, load.length) as flows,
    ):

        def under_load() -> Mapping[str, float]:
            with load.lasting(flows, cores()[1]):
                return loop.run(set_up(busy, sessions, 32))

        rounds = interleave(
            benchmark,
            {
                "ahead": side(idle, loop, sessions, 32),
                "one by one": side(idle, loop, sessions, 1),
                "ahead, under load": under_load,
                "memory": lambda: memory(for_memory),
            },
        )
    publish(
        benchmark,
        f"{sessions} sessions on one connection; memory of {for_memory}:",
        rounds,
        ("server_cpu_ms", "ahead", "one by one"),
        ("wall_ms", "ahead", "one by one"),
        ("server_cpu_ms", "ahead, under load", "ahead"),
    )
