"""Programs that are measured from outside: where they run, what CPU time they took, how they end."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

BEGIN_WITHIN = 20  # seconds
CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED: the scheduler's sum over all threads, in ns


def cores() -> tuple[set[int], set[int]]:
    """Where the reflector runs and where its load does; the same where there is only one core."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[-1]}


def cpu_ns(pid: int) -> int:
    """The CPU time that a process has taken."""
    return time.clock_gettime_ns(~pid << 3 | CLOCK_OF_PROCESS)


@contextlib.contextmanager
def pinned(where: set[int]) -> Iterator[None]:
    """Programs that are started inside run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, where)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def program(
    arguments: Sequence[str], where: set[int], **options: Any
) -> Iterator["subprocess.Popen[str]"]:
    """A program while ``with`` lasts; ended by its pid, and waited for."""
    with pinned(where):
        process = subprocess.Popen(arguments, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True)
class Responder:
    """A running ``twampd``: its process, address and TCP port of its Server, and its control socket."""

    pid: int
    port: int
    host: str
    control_socket: str


@contextlib.contextmanager
def responder(where: set[int], *options: str, host: str = "127.0.0.1") -> Iterator[Responder]:
    """``python -m twamp.reflector`` in a process of its own; its log goes to a file, as in life."""
    arguments = [sys.executable, "-m", "twamp.reflector", "--listen-address", host, "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as directory,
        tempfile.NamedTemporaryFile("r") as log,
        open(log.name, "w") as stderr,
        contextlib.ExitStack() as stack,
    ):
        control_socket = f"{directory}/control.sock"
        arguments += ["--control-socket", control_socket, *options]
        process = stack.enter_context(program(arguments, where, stderr=stderr))
        yield Responder(process.pid, _announced_port(process, log), host, control_socket)


def _announced_port(process: "subprocess.Popen[str]", log: IO[str]) -> int:
    deadline = time.monotonic() + BEGIN_WITHIN
    text = ""
    while time.monotonic() < deadline and process.poll() is None:
        text += log.read()
        if found := re.search(r"listening on \[[\w.:]+\]:(\d+)", text):
            return int(found[1])
        time.sleep(0.01)
    raise RuntimeError(f"the responder did not begin: {text}{log.read()}")


def bound(host: str = "127.0.0.1") -> socket.socket:
    """A UDP socket of that address on a port of the kernel's choice."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    return sock
