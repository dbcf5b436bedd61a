"""How late does the Session-Sender send, and does it lose replies that came?

Lateness is T1 as read before the send, less the time the schedule says; beside it the barest loop in
C that sleeps until a packet is due and sends.  Nothing is lost on loopback, so ``false_loss`` (the
share of packets without a reply in 0.5 s) is the fault of sender or reflector.
"""

import asyncio
import subprocess
import time
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.programs import bound, cores, pinned, responder
from benchmarks.rounds import interleave, percentile, publish
from twamp.control_client import ControlClient, SessionRequest
from twamp.session_sender import SenderConfig, SessionSender

SECOND = 10**9
PADDING = 27
LEAD_NS = SECOND // 20
LOSS_TIMEOUT_NS = SECOND // 2


async def measure_once(port: int, count: int, interval_ns: int) -> Mapping[str, float]:
    with bound() as sock:
        async with await ControlClient.connect("127.0.0.1", port) as client:
            request = SessionRequest(
                sender_port=sock.getsockname()[1], receiver_port=0, padding_length=PADDING
            )
            session = await client.request_session(request)
            await client.start_sessions()
            config = SenderConfig(
                peer=session.reflector,
                schedule=array("Q", range(0, count * interval_ns, interval_ns)),
                start_ns=time.monotonic_ns() + LEAD_NS,
                loss_timeout_ns=LOSS_TIMEOUT_NS,
                padding_length=PADDING,
            )
            sender = SessionSender(sock, config)
            begin_ns = time.process_time_ns()
            await sender.run()
            took_ns = time.process_time_ns() - begin_ns
            await client.stop_sessions()
    lateness = [sample.lateness_ns for sample in sender.samples]
    unanswered = sum(not sample.rank for sample in sender.samples)
    return {
        "lateness_p50_us": percentile(lateness, 50) / 1e3,
        "lateness_p99_us": percentile(lateness, 99) / 1e3,
        "cpu_us_per_packet": took_ns / count / 1e3,
        "false_loss": unanswered / count,
    }


def pace_once(pace: Path, count: int, interval_ns: int) -> Mapping[str, float]:
    with bound() as sock, bound() as sink:
        numbers = (sock.fileno(), sink.getsockname()[1], count, interval_ns)
        arguments = [str(pace), *map(str, numbers)]
        output = subprocess.check_output(arguments, pass_fds=[sock.fileno()], text=True)
    median_ns, p99_ns, took_ns = map(int, output.split())
    return {
        "lateness_p50_us": median_ns / 1e3,
        "lateness_p99_us": p99_ns / 1e3,
        "cpu_us_per_packet": took_ns / count / 1e3,
    }


@pytest.mark.parametrize("rate", [1_000, 10_000])
def bench_schedule(benchmark: Any, compiled: Callable[..., Path], rate: int) -> None:
    count = 100 if benchmark.disabled else 2 * rate
    pace = compiled("pace")
    with asyncio.Runner() as loop, responder(cores()[0]) as twampd, pinned(cores()[1]):
        rounds = interleave(
            benchmark,
            {
                "sender": lambda: loop.run(measure_once(twampd.port, count, SECOND // rate)),
                "sleep and send": lambda: pace_once(pace, count, SECOND // rate),
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
