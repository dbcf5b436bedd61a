"""How much later than its T3 does a reply leave, when the reflector has all it can do?

The error of T3 is what the kernel says of when a reply entered the receiver's network stack, which on
loopback is in the very call that sent it, less T3.  Every reply is looked at, and the order of its times:
T1 read before the request was sent, T2 and T3 of the reply, and when it came, T4.  ``corrected`` is ``twampd``
as it is, and the others are with ``--no-t3-correction``.  Of the corrected, a reply in a thousand may come
before its T3; ``early`` is their share.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.load import Flow, Load, reflected
from benchmarks.programs import cores, pinned, responder
from benchmarks.rounds import Side, interleave, publish

PERCENTILES = ("50", "90", "99", "99.9")
AS_READ = ("--no-t3-correction",)
SIDES = {
    "t3-budget 5, one session": (AS_READ, 1, 1_000_000),
    "t3-budget 5, 32 sessions": (AS_READ, 32, 200_000),
    "corrected": ((), 1, 200_000),
    "corrected, 32 sessions": ((), 32, 200_000),
    "tx-batch 2": ((*AS_READ, "--tx-batch", "2"), 1, 200_000),
    "tx-batch 64": ((*AS_READ, "--tx-batch", "64"), 1, 200_000),
}


def side(load: Load, flows: list[Flow]) -> Side:
    def run() -> Mapping[str, float]:
        with pinned(cores()[1]):
            answer = load.ask(flows)
        errors = answer["t3_error_ns"]
        return {f"t3_error_p{name}_us": errors[name] / 1e3 for name in PERCENTILES} | {
            "disordered": answer["disordered"] / answer["replies"],
            "early": answer["early"] / answer["replies"],
            "lost": answer["lost"],
            "packets": answer["replies"],
        }

    return run


def bench_t3_error(benchmark: Any, compiled: Callable[..., Path]) -> None:
    program = compiled("load")
    with contextlib.ExitStack() as stack:
        sides = {}
        for name, (options, sessions, packets) in SIDES.items():
            count = 2_000 if benchmark.disabled else packets
            load = Load(program, 41, count, seconds=20, options=("check",))
            room = ("--maximum-sessions-per-connection", "64")
            twampd = stack.enter_context(responder(cores()[0], *options, *room))
            flows = stack.enter_context(reflected(twampd, load.length, sessions))
            sides[name] = side(load, flows)
        rounds = interleave(benchmark, sides)
    for name in sides:
        most = 0.001 if "corrected" in name else 0  # of these a few may come before their T3
        assert rounds.figure(name, "disordered").median <= most, f"{name}: times out of order"
    benchmark.extra_info["distributions"] = {
        "t3 error": {"unit": "ns"}
        | {
            name: {
                percentile: rounds.figure(name, f"t3_error_p{percentile}_us").median * 1e3
                for percentile in PERCENTILES
            }
            for name in sides
        }
    }
    publish(
        benchmark,
        "error of T3 at saturation:",
        rounds,
        ("t3_error_p99_us", "t3-budget 5, one session", "tx-batch 64"),
        ("t3_error_p50_us", "t3-budget 5, one session", "tx-batch 64"),
        ("t3_error_p50_us", "corrected", "t3-budget 5, one session"),
        ("t3_error_p50_us", "corrected, 32 sessions", "t3-budget 5, 32 sessions"),
    )
