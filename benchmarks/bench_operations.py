"""How long do clients and operators wait while test packets take all that a core has?

Three questions: a new client (connects, is greeted, is granted a session), ``twampctl sessions`` where there
are a hundred, and SIGHUP until the responder says that its file is in force.  They are put to a ``twampd`` that
has nothing else to do, and to one whose socket for test packets is never empty:

* ``apart``: the thread that reflects and its load have one core, the event loop and who asks the other;
* ``crowded``: they run wherever the scheduler puts them, and there are more of them than cores.
"""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.load import Flow, Load, reflected
from benchmarks.programs import Responder, cores, responder
from benchmarks.rounds import Side, interleave, percentile, publish
from twamp.control.client import ControlClient, SessionRequest

SESSIONS = 100
LENGTH = 41
LOAD_SECONDS = 20  # more than a round takes
Compile = Callable[..., Path]
Question = Callable[[], Awaitable[object]]
Around = Sequence[Callable[[], contextlib.AbstractContextManager[None]]]


@dataclass
class Operator:
    """Who asks a ``twampd`` things."""

    twampd: Responder
    control_socket: Path

    async def connect(self) -> None:
        async with await ControlClient.connect("127.0.0.1", self.twampd.port) as client:
            await client.request_session(_request(1024))

    async def sessions(self) -> None:
        assert len((await self._show("sessions"))["sessions"]) >= SESSIONS

    async def reload(self) -> None:
        before = await self._reloads()
        os.kill(self.twampd.pid, signal.SIGHUP)
        while await self._reloads() == before:
            pass

    async def _reloads(self) -> int:
        return int((await self._show())["status"]["reloads"])

    async def _show(self, *parts: str) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self.control_socket), limit=1 << 24)
        writer.write(json.dumps({"show": parts}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer


def _request(sender_port: int) -> SessionRequest:
    return SessionRequest(
        sender_port=sender_port, receiver_port=0, timeout_ns=0, padding_length=LENGTH - 14
    )


@contextlib.contextmanager
def operated() -> Iterator[tuple[Operator, list[Flow]]]:
    """Who asks a ``twampd`` with a hundred sessions that run, and the flows of those."""
    with tempfile.TemporaryDirectory() as directory:
        control_socket, file = Path(directory, "control.sock"), Path(directory, "twampd.toml")
        file.write_text(f"maximum-sessions-per-connection = {SESSIONS}\n")
        options = ("--config", str(file), "--control-socket", str(control_socket))
        with (
            responder(cores()[0] | cores()[1], *options) as twampd,
            reflected(twampd, LENGTH, SESSIONS) as flows,
        ):
            yield Operator(twampd, control_socket), flows


@contextlib.contextmanager
def pinned_apart(pid: int) -> Iterator[None]:
    """The event loop and who asks on one core, all other threads of ``twampd`` on the other."""
    threads = [int(task) for task in os.listdir(f"/proc/{pid}/task")]
    everywhere = cores()[0] | cores()[1]
    try:
        for thread in threads:
            os.sched_setaffinity(thread, cores()[1] if thread == pid else cores()[0])
        os.sched_setaffinity(0, cores()[1])
        yield
    finally:
        for thread in [*threads, 0]:
            os.sched_setaffinity(thread, everywhere)


async def ask(question: Question, times: int) -> Mapping[str, float]:
    took_ns = []
    for _ in range(times):
        begin_ns = time.perf_counter_ns()
        await question()
        took_ns.append(time.perf_counter_ns() - begin_ns)
    return {
        f"{question.__name__}_{name}_ms": percentile(took_ns, percent) / 1e6
        for name, percent in (("p50", 50), ("p99", 99), ("max", 100))
    }


def side(
    loop: asyncio.Runner,
    operator: Operator,
    times: int,
    around: Around,
) -> Side:
    """Asks the three questions, within what is ``around`` them."""

    def run() -> Mapping[str, float]:
        figures: dict[str, float] = {}
        with contextlib.ExitStack() as stack:
            for enter in around:
                stack.enter_context(enter())
            for question in (operator.connect, operator.sessions, operator.reload):
                figures |= loop.run(ask(question, times))
        return figures

    return run


def bench_operations(benchmark: Any, compiled: Compile) -> None:
    load = Load(compiled("load"), LENGTH, 0, seconds=LOAD_SECONDS)
    times = 2 if benchmark.disabled else 100
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
        operated() as (operator, flows),
    ):
        around: dict[str, Around] = {
            "idle": (),
            "apart": (
                lambda: pinned_apart(operator.twampd.pid),
                lambda: load.lasting(flows[:1], cores()[0]),
            ),
            "crowded": (lambda: load.lasting(flows[:1], cores()[0] | cores()[1]),),
        }
        rounds = interleave(
            benchmark,
            {name: side(loop, operator, times, enter) for name, enter in around.items()},
        )
    publish(
        benchmark,
        f"{times} new clients, shows of {SESSIONS} sessions, reloads:",
        rounds,
        *(
            (f"{what}_p99_ms", other, "idle")
            for other in ("apart", "crowded")
            for what in ("connect", "sessions", "reload")
        ),
    )
