"""How many packets a second does the Session-Reflector answer, and for how much CPU time each?

Beside ``twampd`` in a process of its own, with its default ``tx-batch`` and with 64, stands a bare
recvmmsg/sendmmsg loop in C with the same socket options and the same packets per sendmmsg: what the
kernel alone costs.  The load is a closed loop on the other core that never sleeps, so the reflector does not
wait (``cores_busy`` is 1), and what it loses is shown.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.programs import bound, cores, cpu_ns, pinned, program, responder
from benchmarks.rounds import Side, interleave, publish
from twamp.config import ReflectorConfig
from twamp.control_client import ControlClient, SessionRequest

IN_FLIGHT = 256
BATCH = 64  # TW_BATCH
DEFAULT_CHUNK = ReflectorConfig().tx_batch
SECONDS = 5  # at most, each run
Compile = Callable[..., Path]


@dataclass(frozen=True)
class Load:
    """The load generator and how much of it."""

    program: Path
    length: int
    count: int
    sealed: bytes = b""  # sent as it stands, where there are keys

    def side(self, fd: int, port: int, pid: int) -> Side:
        """A side: drives the reflector with that pid, which answers ``fd`` from ``port``."""
        numbers = (fd, port, self.length, IN_FLIGHT, self.count, SECONDS)
        arguments = [str(self.program), *map(str, numbers)]
        if self.sealed:
            arguments.append(self.sealed.hex())

        def run() -> Mapping[str, float]:
            before_ns = cpu_ns(pid)
            with pinned(cores()[1]):
                output = subprocess.check_output(arguments, pass_fds=[fd], text=True)
            took_ns = cpu_ns(pid) - before_ns
            replies, elapsed_ns, lost = map(int, output.split())
            return {
                "packets_per_s": replies / elapsed_ns * 1e9,
                "cpu_ns_per_packet": took_ns / replies,
                "cores_busy": took_ns / elapsed_ns,
                "lost": lost,
            }

        return run


@contextlib.contextmanager
def bare(echo: Path, load: Load, chunk: int) -> Iterator[Side]:
    with bound() as port, bound() as client:
        arguments = [str(echo), str(port.fileno()), str(chunk)]
        with program(arguments, cores()[0], pass_fds=[port.fileno()]) as process:
            yield load.side(client.fileno(), port.getsockname()[1], process.pid)


@contextlib.contextmanager
def ours(load: Load, chunk: int) -> Iterator[Side]:
    with (
        responder(cores()[0], "--tx-batch", str(chunk)) as twampd,
        asyncio.Runner() as loop,
        bound() as sock,
    ):
        client = loop.run(ControlClient.connect("127.0.0.1", twampd.port))
        port = loop.run(_start(client, sock.getsockname()[1], load.length - 14))
        try:
            yield load.side(sock.fileno(), port, twampd.pid)
        finally:
            loop.run(client.aclose())


async def _start(client: ControlClient, sender_port: int, padding_length: int) -> int:
    request = SessionRequest(
        sender_port=sender_port, receiver_port=0, padding_length=padding_length
    )
    session = await client.request_session(request)
    await client.start_sessions()
    return session.reflector.port


@pytest.mark.parametrize("length", [41, 1400])
def bench_reflection_rate(benchmark: Any, compiled: Compile, length: int) -> None:
    load = Load(compiled("load"), length, 2_000 if benchmark.disabled else 150_000)
    echo = compiled("echo")
    with contextlib.ExitStack() as stack:
        sides = {}
        for chunk in (DEFAULT_CHUNK, BATCH):
            sides[f"twampd {chunk}"] = stack.enter_context(ours(load, chunk))
            sides[f"bare {chunk}"] = stack.enter_context(bare(echo, load, chunk))
        rounds = interleave(benchmark, sides)
    publish(
        benchmark,
        f"reflection, {length} octets, {IN_FLIGHT} in flight:",
        rounds,
        ("packets_per_s", f"twampd {DEFAULT_CHUNK}", f"bare {DEFAULT_CHUNK}"),
        ("cpu_ns_per_packet", f"twampd {DEFAULT_CHUNK}", f"bare {DEFAULT_CHUNK}"),
        ("packets_per_s", f"twampd {BATCH}", f"bare {BATCH}"),
        ("cpu_ns_per_packet", f"twampd {BATCH}", f"bare {BATCH}"),
        ("packets_per_s", f"twampd {DEFAULT_CHUNK}", f"bare {BATCH}"),
    )
