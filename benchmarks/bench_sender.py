"""How late does the Session-Sender send, and does it lose replies that came?

Lateness is T1 as read before the send, less the time the schedule says; beside it the barest sender in
C, which sleeps before each packet as perfSONAR's does.  Nothing is lost on loopback, so ``false_loss``
(the share of packets without a reply in 0.5 s) is the fault of sender or reflector.

At 100,000 packets a second there are 10 µs for each, and what else runs on the sender's core makes all of
them late that were due meanwhile: ``stolen`` is the share of the time that a loop on that core missed, in
gaps of more than 20 µs, just before.
"""

import asyncio
import socket
import subprocess
import time
from array import array
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.programs import bound, cores, pinned, responder
from benchmarks.rounds import interleave, percentile, publish
from twamp.control.client import ControlClient, SessionRequest
from twamp.endpoint import Endpoint
from twamp.engine.session_sender import SenderConfig, SessionSender

SECOND = 10**9
GAP_NS = 20_000
PADDING = 27
LEAD_NS = SECOND // 20
LOSS_TIMEOUT_NS = SECOND // 2


@asynccontextmanager
async def session(port: int, sock: socket.socket) -> AsyncIterator[Endpoint]:
    """A session that has begun, for packets from ``sock``: where they go."""
    async with await ControlClient.connect("127.0.0.1", port) as client:
        request = SessionRequest(
            sender_port=sock.getsockname()[1], receiver_port=0, padding_length=PADDING
        )
        accepted = await client.request_session(request)
        await client.start_sessions()
        yield accepted.reflector
        await client.stop_sessions()


def stolen(seconds: float = 0.2) -> float:
    """The share of the time in which this core does not run us, as far as a loop of Python sees."""
    before = begin = time.perf_counter_ns()
    missed = 0
    while before - begin < seconds * SECOND:
        now = time.perf_counter_ns()
        if now - before > GAP_NS:
            missed += now - before
        before = now
    return missed / (before - begin)


async def measure_once(port: int, count: int, interval_ns: int) -> Mapping[str, float]:
    share = stolen()
    with bound() as sock:
        async with session(port, sock) as peer:
            config = SenderConfig(
                peer=peer,
                schedule=array("Q", range(0, count * interval_ns, interval_ns)),
                start_ns=time.monotonic_ns() + LEAD_NS,
                loss_timeout_ns=LOSS_TIMEOUT_NS,
                padding_length=PADDING,
            )
            sender = SessionSender(sock, config)
            begin_ns = time.process_time_ns()
            await sender.run()
            took_ns = time.process_time_ns() - begin_ns
    lateness = [sample.lateness_ns for sample in sender.samples]
    unanswered = sum(not sample.rank for sample in sender.samples)
    return {
        "lateness_p50_us": percentile(lateness, 50) / 1e3,
        "lateness_p99_us": percentile(lateness, 99) / 1e3,
        "cpu_us_per_packet": took_ns / count / 1e3,
        "false_loss": unanswered / count,
        "stolen": share,
    }


async def pace_once(pace: Path, port: int, count: int, interval_ns: int) -> Mapping[str, float]:
    with bound() as sock:
        async with session(port, sock) as peer:
            numbers = (sock.fileno(), peer.port, count, interval_ns)
            arguments = [str(pace), *map(str, numbers)]
            output = subprocess.check_output(arguments, pass_fds=[sock.fileno()], text=True)
    median_ns, p99_ns, took_ns, replies = map(int, output.split())
    return {
        "lateness_p50_us": median_ns / 1e3,
        "lateness_p99_us": p99_ns / 1e3,
        "cpu_us_per_packet": took_ns / count / 1e3,
        "false_loss": 1 - replies / count,
    }


@pytest.mark.parametrize("rate", [1_000, 10_000, 100_000])
def bench_schedule(benchmark: Any, compiled: Callable[..., Path], rate: int) -> None:
    count = 100 if benchmark.disabled else min(2 * rate, 100_000)
    pace = compiled("pace")
    with asyncio.Runner() as loop, responder(cores()[0]) as twampd, pinned(cores()[1]):
        rounds = interleave(
            benchmark,
            {
                "sender": lambda: loop.run(measure_once(twampd.port, count, SECOND // rate)),
                "sleep and send": lambda: loop.run(
                    pace_once(pace, twampd.port, count, SECOND // rate)
                ),
            },
        )
    publish(
        benchmark,
        f"schedule, {rate} packets/s:",
        rounds,
        ("lateness_p99_us", "sender", "sleep and send"),
        ("lateness_p50_us", "sender", "sleep and send"),
        ("cpu_us_per_packet", "sender", "sleep and send"),
    )
