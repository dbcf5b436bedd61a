"""What do replies gain that leave as segments of one send, to a sender of many packets?

On a veth pair between two network namespaces: needs root.  The sender is a bulk one, that sends and
receives segments itself (UDP_SEGMENT, UDP_GRO), as on a device that cuts and joins them; ``twampd`` on the
other side as it is, with a larger T3 budget, and with ``--tx-batch 64``, which makes no segments.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.programs import cores, cpu_ns
from benchmarks.rounds import Side, interleave, publish
from tests.netns.namespaces import ROOT, Lab, Namespace

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
SIDES = {
    "segments": (),
    "segments, t3-budget 20": ("--t3-budget", "20"),
    "one by one": ("--tx-batch", "64"),
}
FIRST_PORT = 8620


@contextlib.contextmanager
def distant(client: Namespace, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "benchmarks.distant_load", *arguments]
    with subprocess.Popen(
        ["ip", "netns", "exec", client.name, *command],
        text=True,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the load did not get its session")
        yield process
        process.stdin.close()


def side(process: "subprocess.Popen[str]", pid: int) -> Side:
    def run() -> Mapping[str, float]:
        assert process.stdout is not None
        assert process.stdin is not None
        before_ns = cpu_ns(pid)
        process.stdin.write("go\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        took_ns = cpu_ns(pid) - before_ns
        return {
            "packets_per_s": answer["replies"] / answer["elapsed_ns"] * 1e9,
            "cpu_ns_per_packet": took_ns / answer["replies"],
            "cores_busy": took_ns / answer["elapsed_ns"],
            "lost": answer["lost"],
        }

    return run


def twampd(server: Namespace, number: int, *options: str) -> tuple[int, int]:
    """Its process and its port."""
    port, test_port = FIRST_PORT + number, 2 * FIRST_PORT + number
    program = server.start(
        *("-m", "twamp.reflector", "--port", str(port), "--control-socket", "none"),
        *("--test-ports", f"{test_port}-{test_port}", *options),
        until="listening on",
    )
    for thread in os.listdir(f"/proc/{program.process.pid}/task"):
        os.sched_setaffinity(int(thread), cores()[0])
    return program.process.pid, port


@pytest.mark.parametrize("length", [41, 1400])
def bench_segments(
    benchmark: Any, compiled: Callable[..., Path], tmp_path: Path, length: int
) -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("NOT MEASURED: network namespaces need root, and iproute2")
    load, count = str(compiled("load")), "2000" if benchmark.disabled else "300000"
    with Lab(tmp_path) as lab, contextlib.ExitStack() as opened:
        client, server = lab.namespace("client"), lab.namespace("server")
        lab.link((client, "eth-c", (f"{CLIENT}/24",)), (server, "eth-s", (f"{SERVER}/24",)))
        sides = {}
        for number, (name, options) in enumerate(SIDES.items()):
            pid, port = twampd(server, number, *options)
            arguments = (CLIENT, SERVER, str(port), load, str(length), count, "segment", "gro")
            sides[name] = side(opened.enter_context(distant(client, *arguments)), pid)
        rounds = interleave(benchmark, sides)
    publish(
        benchmark,
        f"replies to one bulk sender on veth, {length} octets:",
        rounds,
        *(
            (figure, name, "one by one")
            for name in ("segments", "segments, t3-budget 20")
            for figure in ("packets_per_s", "cpu_ns_per_packet")
        ),
        headlines=2,
    )
