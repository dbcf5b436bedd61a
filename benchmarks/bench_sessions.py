"""What do many sessions cost the Session-Reflector, compared with one?

Packets go to all sessions in turn, so neighbours in a batch are of different ones.  There are 1,201 test ports,
each with a socket: of few sessions each has one to itself, of 10,000 every eight share one.  Replies to one
session leave as segments, which those to many cannot; so both are also measured with ``--tx-batch 64``, where
none do.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.load import Load, ours
from benchmarks.rounds import interleave, publish

SESSIONS = (1, 4, 32, 10_000)
MANY = 10_000
PORTS = 1201
FIRST_PORT = 20_000  # of the first side; each has ports of its own
IN_FLIGHT = 1024  # and one of each session at least
ROOM = (
    *("--maximum-connections", "16", "--maximum-sessions-per-connection", "1024"),
    *("--maximum-sessions", "16384"),
)
ALIKE = ("--tx-batch", "64")


def name_of(sessions: int, options: tuple[str, ...] = ()) -> str:
    name = "1 session" if sessions == 1 else f"{sessions} sessions"
    return f"{name}, tx-batch 64" if options else name


def bench_sessions(benchmark: Any, compiled: Callable[..., Path]) -> None:
    program = compiled("load")
    count = 2_000 if benchmark.disabled else 200_000
    most = 50 if benchmark.disabled else MANY
    kinds = [(sessions, ()) for sessions in SESSIONS] + [(1, ALIKE), (MANY, ALIKE)]
    with contextlib.ExitStack() as stack:
        sides = {}
        for number, (sessions, options) in enumerate(kinds):
            first = FIRST_PORT + number * PORTS
            ports = ("--test-ports", f"{first}-{first + PORTS - 1}")
            load = Load(program, 41, count, in_flight=max(IN_FLIGHT, sessions))
            reflecting = ours(load, *ROOM, *ports, *options, sessions=min(sessions, most))
            sides[name_of(sessions, options)] = stack.enter_context(reflecting)
        rounds = interleave(benchmark, sides)
    beside = [(name_of(MANY, ALIKE), name_of(1, ALIKE))]
    beside += [(name_of(sessions), name_of(1)) for sessions in reversed(SESSIONS[1:])]
    publish(
        benchmark,
        f"sessions in turn, 41 octets, {IN_FLIGHT} packets or one of each session in flight:",
        rounds,
        *(
            (figure, side, other)
            for side, other in beside
            for figure in ("packets_per_s", "cpu_ns_per_packet")
        ),
        headlines=2,
    )
