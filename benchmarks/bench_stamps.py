"""What do true timestamps cost, and is what twampd publishes of its T3 what it is?

``corrected`` is ``twampd`` as it is: the kernel's receive stamps, and transmit stamps of a thousand replies a
second; ``stamps`` is with ``--no-t3-correction``; ``off`` reads the clock for everything, as a naive reflector
does.  Beside the rate, of the same run: the error of T3 that twampd publishes, over that which the receiver
of every reply sees; and how much earlier the kernel's T2 is than one read by the program.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.load import Load, reflected
from benchmarks.programs import Responder, cores, responder
from benchmarks.rounds import Side, interleave, publish
from twamp.ctl.ask import ask

SIDES = {"stamps": ("--no-t3-correction",), "corrected": (), "off": ("--timestamp", "user")}
PUBLISHED = ("50", "99")


def published(twampd: Responder) -> Mapping[str, float]:
    """Since its start: the error of T3, and the share of packets whose T2 is the kernel's."""
    counters = ask(twampd.control_socket, ("counters",))["counters"]
    error, packets = counters["t3_error"], counters["packets"]
    kernel = packets["timestamp_sources"]["T2"]["kernel"]
    return {
        "published_t3_error_p50_us": error["p50_ns"] / 1e3,
        "published_t3_error_p99_us": error["p99_ns"] / 1e3,
        "kernel_t2": kernel / packets["received"],
    }


def side(rate: Side, check: Load, flows: Any, twampd: Responder) -> Side:
    """A rate, and then every reply looked at."""

    def run() -> Mapping[str, float]:
        figures = dict(rate())
        answer = check.ask(flows)
        errors = answer["t3_error_ns"]
        seen = {f"t3_error_p{name}_us": errors[name] / 1e3 for name in PUBLISHED}
        figures |= {**seen, **published(twampd)}
        figures |= {
            f"published_over_seen_p{name}": figures[f"published_t3_error_p{name}_us"]
            / seen[f"t3_error_p{name}_us"]
            for name in PUBLISHED
        }
        return figures | {"early": answer["early"] / answer["replies"]}

    return run


def bench_stamps(benchmark: Any, compiled: Callable[..., Path]) -> None:
    count = 2_000 if benchmark.disabled else 150_000
    program = compiled("load")
    load = Load(program, 41, count)
    check = Load(program, 41, count, options=("check",))
    with contextlib.ExitStack() as stack:
        sides = {}
        for name, options in SIDES.items():
            twampd = stack.enter_context(responder(cores()[0], *options))
            flows = stack.enter_context(reflected(twampd, load.length))
            sides[name] = side(load.side(flows, twampd.pid), check, flows, twampd)
        rounds = interleave(benchmark, sides)
    if not benchmark.disabled:
        assert min(rounds.figure("stamps", "kernel_t2").values) == 1.0
        assert max(rounds.figure("off", "kernel_t2").values) == 0.0
    publish(
        benchmark,
        "timestamps on and off, 41 octets:",
        rounds,
        ("packets_per_s", "stamps", "off"),
        ("cpu_ns_per_packet", "stamps", "off"),
        ("cpu_ns_per_packet", "corrected", "stamps"),
        headlines=2,
    )
