"""What does a whole control handshake cost, and what a further session on the same connection?

Connect, request a session, start and stop it, close; beside a client and a server that exchange the
same numbers of octets by asyncio streams and understand none: the price of the network and of the
event loop.  Both servers are programs of their own, on uvloop, on the other core.
"""

import asyncio
import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bare_control as bare
from benchmarks.programs import cores, cpu_ns, pinned, program, responder
from benchmarks.rounds import Side, interleave, publish
from twamp.control.client import ControlClient, SessionRequest

SENDER_PORTS = itertools.cycle(range(1024, 65536))  # named in requests; nobody sends from them
ROOM = ("--maximum-connections", "4", "--maximum-sessions-per-connection", "1024")
Conversation = Callable[[int, int], Coroutine[Any, Any, int]]  # port, count -> ns that counted


async def twamp_handshakes(port: int, count: int) -> int:
    begin_ns = time.perf_counter_ns()
    for _ in range(count):
        async with await ControlClient.connect("127.0.0.1", port) as client:
            await client.request_session(_request())
            await client.start_sessions()
            await client.stop_sessions()
    return time.perf_counter_ns() - begin_ns


async def twamp_sessions(port: int, count: int) -> int:
    async with await ControlClient.connect("127.0.0.1", port) as client:
        await client.request_session(_request())
        begin_ns = time.perf_counter_ns()
        for _ in range(count):
            await client.request_session(_request())
        return time.perf_counter_ns() - begin_ns


def _request() -> SessionRequest:
    return SessionRequest(sender_port=next(SENDER_PORTS), receiver_port=0, timeout_ns=0)


@contextlib.asynccontextmanager
async def _bare_connection(port: int) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readexactly(bare.GREETING)
    writer.write(bytes(bare.SET_UP_RESPONSE))
    await reader.readexactly(bare.SERVER_START)
    yield reader, writer
    writer.close()
    await writer.wait_closed()


async def bare_handshakes(port: int, count: int) -> int:
    begin_ns = time.perf_counter_ns()
    for _ in range(count):
        async with _bare_connection(port) as (reader, writer):
            await _bare_request(reader, writer)
            writer.write(bytes([bare.START_AT]).ljust(bare.START_SESSIONS, b"\0"))
            await reader.readexactly(bare.START_ACK)
            writer.write(bytes(bare.STOP_SESSIONS))
            await writer.drain()
    return time.perf_counter_ns() - begin_ns


async def bare_sessions(port: int, count: int) -> int:
    async with _bare_connection(port) as (reader, writer):
        begin_ns = time.perf_counter_ns()
        for _ in range(count):
            await _bare_request(reader, writer)
        return time.perf_counter_ns() - begin_ns


async def _bare_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes([bare.REQUEST_AT]).ljust(bare.REQUEST, b"\0"))
    await reader.readexactly(bare.ACCEPT_SESSION)


@contextlib.contextmanager
def bare_server(where: set[int]) -> Iterator[tuple[int, int]]:
    arguments = [sys.executable, "-m", "benchmarks.bare_control"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        program(arguments, where, cwd=Path(__file__).parent.parent, **pipes) as process,
        contextlib.closing(process.stdin),  # type: ignore[type-var]
    ):
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())


def side(loop: asyncio.Runner, converse: Conversation, pid: int, port: int, count: int) -> Side:
    def run() -> Mapping[str, float]:
        before_ns = cpu_ns(pid)
        with pinned(cores()[1]):
            took_ns = loop.run(converse(port, count))
        return {
            "us": took_ns / count / 1e3,
            "server_cpu_us": (cpu_ns(pid) - before_ns) / count / 1e3,
        }

    return run


@pytest.mark.parametrize(
    ("what", "ours", "theirs"),
    [
        ("a whole handshake", twamp_handshakes, bare_handshakes),
        ("a further session", twamp_sessions, bare_sessions),
    ],
    ids=["handshake", "session"],
)
def bench_control(benchmark: Any, what: str, ours: Conversation, theirs: Conversation) -> None:
    count = 5 if benchmark.disabled else 400
    with (
        asyncio.Runner() as loop,
        responder(cores()[0], *ROOM) as twampd,
        bare_server(cores()[0]) as (bare_pid, bare_port),
    ):
        rounds = interleave(
            benchmark,
            {
                "twamp": side(loop, ours, twampd.pid, twampd.port, count),
                "bare": side(loop, theirs, bare_pid, bare_port, count),
            },
        )
    publish(
        benchmark,
        f"{what}, {count} in a row:",
        rounds,
        ("us", "twamp", "bare"),
        ("server_cpu_us", "twamp", "bare"),
    )
