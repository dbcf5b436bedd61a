"""How true is T3 at every rate, from the first packet on?

On a veth pair between two network namespaces: needs root.  Each case has a ``twampd`` of its own, so that it
has learnt nothing yet.  A reply's departure lies between two times that others than ``twampd`` see: when a
capture at the reflector's interface sees it pass, on its way to the driver, and when the other end of the
cable receives it, in the same call.  ``captured`` is the first less T3, and the judge: a T3 behind it is
``early``, and none may be but one in a thousand.  A capture costs the reply microseconds, so ``received``, the
second less T3, is taken in a run without one.  ``plain`` is with ``--no-t3-correction``.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.bench_segments import CLIENT, SERVER, distant
from benchmarks.programs import cores, pinned
from benchmarks.rounds import interleave, publish
from tests.netns.namespaces import Lab, Namespace

PORT, TEST_PORT = 8630, 17260
LENGTH = 41
SATURATION = 0
EARLY_AT_MOST = 0.001


class Rate(NamedTuple):
    """Packets a second, and how many of them."""

    per_second: int
    packets: int

    def __str__(self) -> str:
        return f"{self.per_second:,} packets/s" if self.per_second else "saturation"

    @property
    def options(self) -> tuple[str, ...]:
        """Those of load.c."""
        return ("check", f"every={10**9 // self.per_second}") if self.per_second else ("check",)


RATES = (
    Rate(1, 30),
    Rate(25, 250),
    Rate(100, 800),
    Rate(1_000, 4_000),
    Rate(10_000, 40_000),
    Rate(SATURATION, 400_000),
)
FEW = 3  # packets of each rate that only show that the benchmark runs


@contextlib.contextmanager
def tapped(server: Namespace, program: Path) -> Iterator[Callable[[], Mapping[str, Any]]]:
    """A capture of the replies; called, it ends and says what it saw."""
    command = [
        "ip",
        "netns",
        "exec",
        server.name,
        str(program),
        "eth-s",
        str(TEST_PORT),
        str(LENGTH),
    ]
    with (
        pinned(cores()[1]),
        subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def end() -> Mapping[str, Any]:
            assert process.stdout is not None
            process.send_signal(signal.SIGTERM)
            answer: Mapping[str, Any] = json.loads(process.stdout.read())
            return answer

        yield end


@contextlib.contextmanager
def network(directory: Path) -> Iterator[tuple[Namespace, Namespace]]:
    with Lab(directory) as lab:
        client, server = lab.namespace("client"), lab.namespace("server")
        lab.link((client, "eth-c", (f"{CLIENT}/24",)), (server, "eth-s", (f"{SERVER}/24",)))
        yield client, server


@contextlib.contextmanager
def twampd(server: Namespace, *options: str) -> Iterator[None]:
    """It has learnt nothing yet."""
    with pinned(cores()[0]):
        program = server.start(
            *("-m", "twamp.reflector", "--port", str(PORT), "--control-socket", "none"),
            *("--test-ports", f"{TEST_PORT}-{TEST_PORT}", *options),
            until="listening on",
        )
    try:
        yield
    finally:
        program.end()


def exchange(client: Namespace, load: Path, rate: Rate) -> Mapping[str, Any]:
    """All packets of one run, and what load.c says of the replies."""
    arguments = (
        CLIENT,
        SERVER,
        str(PORT),
        str(load),
        str(LENGTH),
        str(rate.packets),
        *rate.options,
    )
    with distant(client, *arguments) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        answer: Mapping[str, Any] = json.loads(process.stdout.readline())
        return answer


def figures(seen: Mapping[str, Any], name: str) -> dict[str, float]:
    return {
        f"{name}_p50_us": seen["t3_error_ns"]["50"] / 1e3,
        f"{name}_p99_us": seen["t3_error_ns"]["99"] / 1e3,
        f"{name}_early": seen["early"] / seen["replies"],
    }


@pytest.mark.parametrize("rate", RATES, ids=str)
def bench_t3_truth(
    benchmark: Any, compiled: Callable[..., Path], tmp_path: Path, rate: Rate
) -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("NOT MEASURED: network namespaces need root, and iproute2")
    load, tap = compiled("load"), compiled("tap")
    if benchmark.disabled:
        rate = Rate(rate.per_second, FEW)
    less = Rate(rate.per_second, -(-rate.packets // 3))  # of what is not judged
    with network(tmp_path) as (client, server):

        def side(captured: Rate, *options: str) -> Callable[[], Mapping[str, float]]:
            def run() -> Mapping[str, float]:
                with twampd(server, *options), tapped(server, tap) as end:
                    exchange(client, load, captured)
                    seen = figures(end(), "captured")
                with twampd(server, *options):
                    return seen | figures(exchange(client, load, less), "received")

            return run

        sides = {"corrected": side(rate), "plain": side(less, "--no-t3-correction")}
        rounds = interleave(benchmark, sides, rounds=1, warm_up=False)
    if not benchmark.disabled:
        assert rounds.figure("corrected", "captured_early").median <= EARLY_AT_MOST
    publish(benchmark, f"error of T3, {rate}:", rounds, ("captured_p50_us", "corrected", "plain"))
