"""What does one reflection cost in C, without the kernel?

``tw_reflect`` and ``tw_reflect_stamp``, beside a bare memcpy of as many octets as the reply has:
what no reflector that builds its reply in another buffer can do without.
"""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rounds import Side, interleave, publish


@pytest.mark.parametrize("length", [14, 41, 1400])
def bench_reflect_in_c(benchmark: Any, compiled: Callable[..., Path], length: int) -> None:
    program = compiled("reflect_cost", "packet/reflect.c")
    count = 1_000 if benchmark.disabled else 5_000_000

    def side(what: str) -> Side:
        def run() -> Mapping[str, float]:
            arguments = [str(program), what, str(length), str(count)]
            output = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
            return {"ns_per_packet": float(output)}

        return run

    rounds = interleave(benchmark, {"reflect": side("reflect"), "memcpy": side("copy")})
    publish(
        benchmark,
        f"tw_reflect, {length} octets:",
        rounds,
        ("ns_per_packet", "reflect", "memcpy"),
        headlines=0,
    )
