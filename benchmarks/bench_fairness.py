"""How long do others wait for their handshake, and what do sessions lose, while one client does its worst?

The worst is one of seven: the three that once kept everybody out for seconds, and four more.  Each comes
from one address, as fast as a program of its own can; others shake hands one by one from another address,
and a session that runs meanwhile counts its lost packets.  Beside the same without an attack.  ``busy``
is the CPU time that the responder took during a handshake: its share of the wait, also where other
programs disturb the clock's.
"""

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.attacks import ATTACKS
from benchmarks.programs import Responder, cores, cpu_ns, pinned, program, responder
from benchmarks.rounds import Side, interleave, publish
from twamp.control.client import ControlClient, SessionRequest
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.protocol.schedule import make_schedule, parse_intervals

CLIENT = "127.0.0.3"
ROUNDS = 3
SECONDS = 3.0  # of each side in a round
BETWEEN = 0.005  # seconds between two handshakes
LOSS_TIMEOUT_NS = 500_000_000
PADDING = 27


@contextlib.contextmanager
def attacking(name: str | None, port: int) -> Iterator[None]:
    """The attack, by a program of its own, while ``with`` lasts."""
    if name is None:
        yield
        return
    arguments = [sys.executable, "-m", "benchmarks.attacks", name, str(port)]
    with program(
        arguments, cores()[1], cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE
    ) as attacker:
        assert attacker.stdout is not None
        attacker.stdout.readline()  # it has begun
        yield
        assert attacker.poll() is None, "the attack has ended too early"


@contextlib.asynccontextmanager
async def session(port: int) -> AsyncIterator[SessionSender]:
    """A session that runs, a hundred packets a second, until ``with`` ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((CLIENT, 0))
        async with await ControlClient.connect("127.0.0.1", port, source_address=CLIENT) as client:
            accepted = await client.request_session(
                SessionRequest(
                    sender_port=sock.getsockname()[1], receiver_port=0, padding_length=PADDING
                )
            )
            slots = make_schedule(
                parse_intervals("0.01f"), int(SECONDS * 100), random.Random().random
            )
            sender = SessionSender(
                sock,
                SenderConfig(
                    peer=accepted.reflector,
                    schedule=slots,
                    start_ns=time.monotonic_ns(),
                    loss_timeout_ns=LOSS_TIMEOUT_NS,
                    padding_length=PADDING,
                ),
            )
            await client.start_sessions()
            yield sender


async def handshakes(port: int, pid: int) -> tuple[list[float], list[float]]:
    """How long each took, and the CPU time that the responder took meanwhile; both in ms, sorted."""
    took, busy = [], []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        began, cpu = time.perf_counter(), cpu_ns(pid)
        async with await ControlClient.connect("127.0.0.1", port, source_address=CLIENT):
            took.append((time.perf_counter() - began) * 1e3)
            busy.append((cpu_ns(pid) - cpu) / 1e6)
        await asyncio.sleep(BETWEEN)
    return sorted(took), sorted(busy)


async def measure(port: int, pid: int, attack: str | None) -> Mapping[str, float]:
    async with session(port) as sender:
        with attacking(attack, port):
            running = asyncio.create_task(sender.run())
            took, busy = await handshakes(port, pid)
            await running
        lost = sum(sample.rank == 0 for sample in sender.samples)
    return {
        "median_ms": took[len(took) // 2],
        "p99_ms": took[len(took) * 99 // 100],
        "busy_p99_ms": busy[len(busy) * 99 // 100],
        "lost": float(lost),
    }


def side(twampd: Responder, attack: str | None) -> Side:
    def run() -> Mapping[str, float]:
        with pinned(cores()[1]):
            return asyncio.run(measure(twampd.port, twampd.pid, attack))

    return run


@pytest.mark.parametrize("attack", ATTACKS)
def bench_fairness(benchmark: Any, attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if benchmark.disabled:
        monkeypatch.setattr(sys.modules[__name__], "SECONDS", 0.2)
    with tempfile.NamedTemporaryFile("w") as keys:
        keys.write(f"alice {b'open sesame'.hex()}\n")
        keys.flush()
        with responder(
            cores()[0], "--maximum-connections", "64", "--key-file", keys.name
        ) as twampd:
            sides = {"idle": side(twampd, None), "attacked": side(twampd, attack)}
            rounds = interleave(benchmark, sides, ROUNDS)
    publish(
        benchmark,
        f"others' handshakes while one client attacks, {attack}:",
        rounds,
        ("p99_ms", "attacked", "idle"),
        ("median_ms", "attacked", "idle"),
        ("busy_p99_ms", "attacked", "idle"),
        ("lost", "attacked", "idle"),
    )
