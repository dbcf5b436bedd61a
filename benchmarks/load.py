"""The load: ``native/load.c`` as a side of a benchmark, and the reflectors that it is put to."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from benchmarks.programs import Responder, bound, cores, cpu_ns, pinned, program, responder
from benchmarks.rounds import Side
from twamp.control.client import AcceptedSession, ControlClient, SessionRequest

LOOPBACK = "127.0.0.1"
SHORTEST = 14  # octets of a test packet without padding
SESSIONS_PER_CONNECTION = 1000
SETTLE = 0.2  # seconds for the load to fill a socket
LASTING = 100_000_000  # packets: more than are ever sent


class Flow(NamedTuple):
    """A bound socket and where its reflector is."""

    fd: int
    address: str
    port: int


class Asking(Protocol):
    """What asks a reflector for something, with packets of ``length`` octets."""

    @property
    def length(self) -> int: ...

    def side(self, flows: Sequence[Flow], pid: int) -> Side:
        """Asks the reflector with that pid, from the other core."""
        ...


@dataclass(frozen=True)
class Load:
    """How much of which packets; ``options`` are those of load.c."""

    program: Path
    length: int
    count: int
    in_flight: int = 256
    seconds: int = 5
    options: tuple[str, ...] = ()

    def ask(self, flows: Sequence[Flow]) -> Mapping[str, Any]:
        """All packets at once; what load.c prints."""
        output = subprocess.run(
            self._arguments(self.count),
            input=_text(flows),
            pass_fds=_descriptors(flows),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        answer: Mapping[str, Any] = json.loads(output)
        return answer

    def side(self, flows: Sequence[Flow], pid: int) -> Side:
        def run() -> Mapping[str, float]:
            before_ns = cpu_ns(pid)
            with pinned(cores()[1]):
                answer = self.ask(flows)
            took_ns = cpu_ns(pid) - before_ns
            return {
                "packets_per_s": answer["replies"] / answer["elapsed_ns"] * 1e9,
                "cpu_ns_per_packet": took_ns / answer["replies"],
                "cores_busy": took_ns / answer["elapsed_ns"],
                "lost": answer["lost"],
            }

        return run

    @contextlib.contextmanager
    def lasting(self, flows: Sequence[Flow], where: set[int]) -> Iterator[None]:
        """Without a pause while ``with`` lasts, or for ``seconds``, which is an error."""
        with program(
            self._arguments(LASTING),
            where,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=_descriptors(flows),
        ) as process:
            assert process.stdin is not None
            process.stdin.write(_text(flows))
            process.stdin.close()
            time.sleep(SETTLE)
            yield
            if process.poll() is not None:
                raise RuntimeError("the load ended before what it should last for")

    def _arguments(self, count: int) -> list[str]:
        numbers = (self.length, self.in_flight, count, self.seconds)
        return [str(self.program), *map(str, numbers), *self.options]


def _text(flows: Iterable[Flow]) -> str:
    return "".join(f"{flow.fd} {flow.address} {flow.port}\n" for flow in flows)


def _descriptors(flows: Iterable[Flow]) -> list[int]:
    return list(dict.fromkeys(flow.fd for flow in flows))


# ---- reflectors ----------------------------------------------------------------------------------


@contextlib.contextmanager
def bare(echo: Path, load: Asking, chunk: int, host: str = LOOPBACK) -> Iterator[Side]:
    """A recvmmsg/sendmmsg loop in C that understands nothing."""
    with bound(host) as port, bound(host) as client:
        arguments = [str(echo), str(port.fileno()), str(chunk)]
        with program(arguments, cores()[0], pass_fds=[port.fileno()]) as process:
            yield load.side([flow_to(client, port)], process.pid)


@contextlib.contextmanager
def naive(load: Asking) -> Iterator[Side]:
    """A reflector such as one writes in Python in an afternoon."""
    with bound() as port, bound() as client:
        arguments = [sys.executable, "-m", "benchmarks.naive", str(port.fileno())]
        root = Path(__file__).parent.parent
        with program(arguments, cores()[0], pass_fds=[port.fileno()], cwd=root) as process:
            yield load.side([flow_to(client, port)], process.pid)


@contextlib.contextmanager
def ours(load: Asking, *options: str, sessions: int = 1, host: str = LOOPBACK) -> Iterator[Side]:
    """``twampd`` with those options, and that many sessions."""
    with (
        responder(cores()[0], *options, host=host) as twampd,
        reflected(twampd, load.length, sessions) as flows,
    ):
        yield load.side(flows, twampd.pid)


@contextlib.contextmanager
def reflected(
    twampd: Responder, length: int, sessions: int = 1, source: str | None = None
) -> Iterator[list[Flow]]:
    """That many started sessions of packets of ``length`` octets, a thousand of each socket of ``source``."""
    with asyncio.Runner() as loop, contextlib.ExitStack() as opened:
        flows = []
        for first in range(0, sessions, SESSIONS_PER_CONNECTION):
            sock = opened.enter_context(bound(source or twampd.host))
            client = loop.run(ControlClient.connect(twampd.host, twampd.port))
            opened.callback(lambda client: loop.run(client.aclose()), client)
            count = min(SESSIONS_PER_CONNECTION, sessions - first)
            sessions_there = loop.run(_start(client, sock, length, count))
            flows += [
                Flow(sock.fileno(), twampd.host, one.reflector.port) for one in sessions_there
            ]
        yield flows


async def _start(
    client: ControlClient, sock: socket.socket, length: int, count: int
) -> list[AcceptedSession]:
    request = SessionRequest(
        sender_port=sock.getsockname()[1], receiver_port=0, padding_length=length - SHORTEST
    )
    sessions = [session async for session in client.request_sessions([request] * count)]
    await client.start_sessions()
    return sessions


def flow_to(client: socket.socket, reflector: socket.socket) -> Flow:
    address, port = reflector.getsockname()[:2]
    return Flow(client.fileno(), address, port)
