"""How many packets a second does the Session-Reflector answer, and for how much CPU time each?

One session, in IPv4 and IPv6, of short and of long packets.  Beside ``twampd`` as it is, and with
two and 64 replies per sendmmsg, stand a bare recvmmsg/sendmmsg loop in C with the same socket options and
as many packets per sendmmsg, which is what the kernel alone costs, and a reflector in plain Python.  The
load is a closed loop on the other core that never sleeps, so the reflector does not wait (``cores_busy``
is 1), and what it loses is shown.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import Load, bare, naive, ours
from benchmarks.rounds import interleave, publish

CHUNKS = (2, 64)  # what a T3 budget may come to, and TW_BATCH
Compile = Callable[..., Path]


@pytest.mark.parametrize(
    ("host", "length"),
    [("127.0.0.1", 41), ("127.0.0.1", 1472), ("::1", 41)],
    ids=["IPv4-41", "IPv4-1472", "IPv6-41"],
)
def bench_reflection_rate(benchmark: Any, compiled: Compile, host: str, length: int) -> None:
    load = Load(compiled("load"), length, 2_000 if benchmark.disabled else 150_000)
    echo = compiled("echo")
    with contextlib.ExitStack() as stack:
        sides = {"twampd": stack.enter_context(ours(load, host=host))}
        for chunk in CHUNKS:
            options = ("--tx-batch", str(chunk))
            sides[f"twampd {chunk}"] = stack.enter_context(ours(load, *options, host=host))
            sides[f"bare {chunk}"] = stack.enter_context(bare(echo, load, chunk, host))
        if host == "127.0.0.1" and length == 41:
            sides["naive"] = stack.enter_context(naive(load))
        rounds = interleave(benchmark, sides)
    family = "IPv6" if ":" in host else "IPv4"
    beside = [("packets_per_s", "twampd", "naive")] if "naive" in sides else []
    publish(
        benchmark,
        f"reflection, {family}, {length} octets, {load.in_flight} in flight:",
        rounds,
        *(
            (name, f"twampd {chunk}", f"bare {chunk}")
            for chunk in CHUNKS
            for name in ("packets_per_s", "cpu_ns_per_packet")
        ),
        *beside,
        ("packets_per_s", "twampd", "bare 64"),
        ("cpu_ns_per_packet", "twampd", "bare 64"),
        headlines=2 * len(CHUNKS) + len(beside),
    )
