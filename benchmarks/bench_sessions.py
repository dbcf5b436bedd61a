"""What do many sessions cost the Session-Reflector, compared with one?

Packets go to all sessions in turn, so neighbours in a batch are of different ones.  There are 1,201 test ports,
each with a socket: of few sessions each has one to itself, of 10,000 every eight share one.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.load import Load, ours
from benchmarks.rounds import interleave, publish

SESSIONS = (1, 4, 32, 10_000)
PORTS = 1201
FIRST_PORT = 20_000  # of the first side; each has ports of its own
IN_FLIGHT = 1024  # and one of each session at least
ROOM = (
    *("--maximum-connections", "16", "--maximum-sessions-per-connection", "1024"),
    *("--maximum-sessions", "16384"),
)


def _name(sessions: int) -> str:
    return "1 session" if sessions == 1 else f"{sessions} sessions"


def bench_sessions(benchmark: Any, compiled: Callable[..., Path]) -> None:
    count = 2_000 if benchmark.disabled else 200_000
    program = compiled("load")
    most = 50 if benchmark.disabled else max(SESSIONS)
    with contextlib.ExitStack() as stack:
        sides = {}
        for number, sessions in enumerate(SESSIONS):
            first = FIRST_PORT + number * PORTS
            ports = ("--test-ports", f"{first}-{first + PORTS - 1}")
            load = Load(program, 41, count, in_flight=max(IN_FLIGHT, sessions))
            sides[_name(sessions)] = stack.enter_context(
                ours(load, *ROOM, *ports, sessions=min(sessions, most))
            )
        rounds = interleave(benchmark, sides)
    publish(
        benchmark,
        f"sessions in turn, 41 octets, {IN_FLIGHT} packets or one of each session in flight:",
        rounds,
        *(
            (name, _name(sessions), "1 session")
            for sessions in (10_000, 32, 4)
            for name in ("packets_per_s", "cpu_ns_per_packet")
        ),
    )
