"""Networks of our own: namespaces, veth pairs between them, and programs inside.

Everything that a :class:`Lab` makes it also ends: programs by their pid, then the namespaces, with
which their links go.  Addresses are those for documentation, and stand inside only.
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent.parent
WITHIN = 30  # seconds, for whatever should come at once
END_WITHIN = 10


def ip(*arguments: str) -> str:
    """``ip …``; RuntimeError with what it had to say."""
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=WITHIN)
    if result.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


@dataclass
class Program:
    """A program that runs in a namespace; ``log`` holds what it wrote on both outputs."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def await_line(self, words: str) -> str:
        """The first line with these words; RuntimeError when the program ends without it."""
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            for line in self.log.read_text().splitlines():
                if words in line:
                    return line
            if ended:
                break
            time.sleep(0.01)
        raise RuntimeError(f"{self.process.args!r} never said {words!r}: {self.log.read_text()}")

    def end(self) -> str:
        """SIGTERM, and what it wrote."""
        self.process.terminate()
        try:
            self.process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.log.read_text()


@dataclass
class Namespace:
    """One network namespace: a host, or a router."""

    lab: "Lab"
    name: str

    def ip(self, *arguments: str) -> str:
        return ip("-n", self.name, *arguments)

    def add_address(self, device: str, *addresses: str) -> None:
        """Addresses with their prefix lengths, usable at once."""
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            self.ip("address", "add", address, "dev", device, *nodad)

    def add_route(self, destination: str, via: str) -> None:
        self.ip("route", "add", destination, "via", via)

    def forward(self) -> None:
        """Makes a router of it."""
        self.set("ipv4/ip_forward", 1)
        self.set("ipv6/conf/all/forwarding", 1)

    def set(self, knob: str, value: int) -> None:
        """One of the kernel's under /proc/sys/net."""
        command = ["sh", "-c", f"echo {value} > /proc/sys/net/{knob}"]
        subprocess.run(self._inside(command), check=True, timeout=WITHIN)

    def run(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """A program to its end."""
        return subprocess.run(
            self._inside(command), cwd=ROOT, capture_output=True, text=True, timeout=2 * WITHIN
        )

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """``python …`` to its end."""
        return self.run([sys.executable, *arguments])

    def start(self, *arguments: str, until: str) -> Program:
        """``python …`` until the lab ends, on its way when it has written a line with ``until``."""
        log = self.lab.logs / f"{next(self.lab.numbers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._inside([sys.executable, "-u", *arguments]),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        program = Program(process, log)
        self.lab.programs.append(program)
        program.await_line(until)
        return program

    def _inside(self, command: Sequence[str]) -> list[str]:
        # `ip netns exec` becomes the program: its pid is the program's.
        return ["ip", "netns", "exec", self.name, *command]


class Lab:
    """Namespaces, links and programs while ``with`` lasts; logs of programs stand in ``logs``."""

    _labs = itertools.count()

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.numbers = itertools.count()
        self.programs: list[Program] = []
        self._namespaces: list[Namespace] = []
        self._prefix = f"twamp-{os.getpid()}-{next(self._labs)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for program in self.programs:
            program.end()
        failures = []
        for namespace in self._namespaces:
            try:
                ip("netns", "delete", namespace.name)
            except RuntimeError as failure:
                failures.append(failure)
        if failures and error is None:
            raise failures[0]

    def namespace(self, role: str) -> Namespace:
        """A new one, its loopback interface up."""
        namespace = Namespace(self, f"{self._prefix}-{role}")
        ip("netns", "add", namespace.name)
        self._namespaces.append(namespace)
        namespace.ip("link", "set", "lo", "up")
        namespace.set("ipv6/conf/default/accept_dad", 0)  # link-local addresses, too, at once
        for scope in ("all", "default"):
            namespace.set(f"ipv4/conf/{scope}/rp_filter", 0)  # some systems set it for all
        return namespace

    def link(
        self,
        one: tuple[Namespace, str, Sequence[str]],
        other: tuple[Namespace, str, Sequence[str]],
    ) -> None:
        """A veth pair; each end is (namespace, name of the device, addresses)."""
        (near, near_device, _), (far, far_device, _) = one, other
        near.ip(
            *("link", "add", near_device, "type", "veth"),
            *("peer", "name", far_device, "netns", far.name),
        )
        for namespace, device, addresses in (one, other):
            namespace.ip("link", "set", "dev", device, "up")
            namespace.add_address(device, *addresses)
