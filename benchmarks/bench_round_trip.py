"""How long does a packet take there and back, at a steady rate (an open loop)?

At 1,000 packets a second, where the reflector sleeps in between, and at half of what it can do.  Beside
``twampd`` as it is, and with ``--spin-us``, by which it does not sleep, stand a bare loop in C and, at the
low rate, a reflector in plain Python.  Sender and reflector have a core each.
"""

import contextlib
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import Flow, bare, naive, ours
from benchmarks.programs import cores, pinned
from benchmarks.rounds import Side, interleave, publish

PERCENTILES = ("50", "75", "90", "99", "99.9")
HALF_LOAD = 100_000


@dataclass(frozen=True)
class RoundTrips:
    """``count`` packets of a single flow, ``rate`` a second."""

    program: Path  # native/rtt.c
    rate: int
    count: int
    length: int = 41

    def side(self, flows: Sequence[Flow], pid: int) -> Side:
        del pid
        [flow] = flows
        arguments = [str(self.program), *map(str, (self.length, self.rate, self.count))]

        def run() -> Mapping[str, float]:
            with pinned(cores()[1]):
                output = subprocess.run(
                    arguments,
                    input=f"{flow.fd} {flow.address} {flow.port}\n",
                    pass_fds=[flow.fd],
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                ).stdout
            answer = json.loads(output)
            times = {f"p{name}_us": answer["round_trip_ns"][name] / 1e3 for name in PERCENTILES}
            return times | {"lost": answer["lost"]}

        return run


@pytest.mark.parametrize("rate", [1_000, HALF_LOAD])
def bench_round_trip(benchmark: Any, compiled: Callable[..., Path], rate: int) -> None:
    seconds = 0.1 if benchmark.disabled else 1
    asking = RoundTrips(compiled("rtt"), rate, int(rate * seconds))
    with contextlib.ExitStack() as stack:
        sides = {
            "twampd": stack.enter_context(ours(asking)),
            "twampd, spin-us 1000": stack.enter_context(ours(asking, "--spin-us", "1000")),
            "bare": stack.enter_context(bare(compiled("echo"), asking, 64)),
        }
        if rate < HALF_LOAD:
            sides["naive"] = stack.enter_context(naive(asking))
        rounds = interleave(benchmark, sides)
    benchmark.extra_info["distributions"] = {
        "round trip": {"unit": "ns"}
        | {
            name: {
                percentile: rounds.figure(name, f"p{percentile}_us").median * 1e3
                for percentile in PERCENTILES
            }
            for name in sides
        }
    }
    beside = [("p50_us", "twampd", "naive")] if "naive" in sides else []
    publish(
        benchmark,
        f"round trip, {rate} packets/s:",
        rounds,
        ("p50_us", "twampd", "bare"),
        ("p99_us", "twampd", "bare"),
        ("p99.9_us", "twampd", "bare"),
        ("p50_us", "twampd, spin-us 1000", "twampd"),
        *beside,
    )
