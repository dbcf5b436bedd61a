"""Does a thousand sessions cost more while thousands before it linger?

Five connections in turn ask for a thousand each, one by one, start and stop them with a long Timeout, in a
range of 5,001 ports: the first thousand against the last.  The kernel's time for a socket is in it.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.bench_set_up import cpu_of_event_loop_ns
from benchmarks.programs import Responder, cores, responder
from benchmarks.rounds import interleave, publish
from twamp.control.client import ControlClient, SessionRequest

SESSIONS = 1000
THOUSANDS = 5
TIMEOUT_NS = 3600 * 10**9
FIRST_SENDER_PORT = 1024
ROOM = (
    *("--maximum-connections", "8", "--maximum-sessions-per-connection", "1024"),
    *("--maximum-sessions", "8192", "--maximum-timeout", "3600", "--test-ports", "20000-25000"),
)


async def one_by_one(twampd: Responder, sessions: int, first_port: int) -> Mapping[str, float]:
    """What so many sessions cost until they are set up; afterwards they are stopped, and linger."""
    async with await ControlClient.connect(twampd.host, twampd.port) as client:
        before_ns, begin_ns = cpu_of_event_loop_ns(twampd.pid), time.perf_counter_ns()
        for number in range(sessions):
            await client.request_session(
                SessionRequest(
                    sender_port=first_port + number, receiver_port=0, timeout_ns=TIMEOUT_NS
                )
            )
        took_ns = time.perf_counter_ns() - begin_ns
        spent_ns = cpu_of_event_loop_ns(twampd.pid) - before_ns
        await client.start_sessions()
        await client.stop_sessions()
    return {"server_cpu_ms": spent_ns / 1e6, "wall_ms": took_ns / 1e6}


async def thousands(twampd: Responder, sessions: int) -> list[Mapping[str, float]]:
    return [
        await one_by_one(twampd, sessions, FIRST_SENDER_PORT + number * sessions)
        for number in range(THOUSANDS)
    ]


def bench_lingering(benchmark: Any) -> None:
    sessions = 20 if benchmark.disabled else SESSIONS
    last: list[Mapping[str, float]] = []

    def first() -> Mapping[str, float]:
        with responder(cores()[0], *ROOM) as twampd:
            costs = asyncio.run(thousands(twampd, sessions))
        last.append(costs[-1])
        return costs[0]

    rounds = interleave(benchmark, {"first": first, "fifth": lambda: last[-1]})
    publish(
        benchmark,
        f"{sessions} sessions one by one, the first and the fifth time, the others lingering:",
        rounds,
        ("server_cpu_ms", "fifth", "first"),
        ("wall_ms", "fifth", "first"),
    )
