"""twampd, twping and a packet capture in a namespace, and the cable that most tests want."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.netns.namespaces import Namespace, Program

if TYPE_CHECKING:
    from subprocess import CompletedProcess

COUNT = 20
REFUSED = 1  # twping's exit code when there was nothing to measure
CLIENT = {4: "192.0.2.1", 6: "2001:db8::1"}
SERVER = {4: "192.0.2.2", 6: "2001:db8::2"}


@dataclass
class Pair:
    """A client and a server with a cable between ``eth-c`` and ``eth-s``."""

    client: Namespace
    server: Namespace


def twampd(namespace: Namespace, *options: str) -> Program:
    """One a lab: its control socket is among the lab's logs."""
    socket = ("--control-socket", _control_socket(namespace))
    return namespace.start("-m", "twamp.reflector", *socket, *options, until="listening on")


def counters(namespace: Namespace) -> dict[str, Any]:
    """What twampctl says that the lab's twampd has counted."""
    socket = ("--socket", _control_socket(namespace))
    shown = namespace.python("-m", "twamp.ctl", *socket, "counters", "--json")
    assert shown.returncode == 0, shown.stderr
    counted: dict[str, Any] = json.loads(shown.stdout)["counters"]
    return counted


def _control_socket(namespace: Namespace) -> str:
    return str(namespace.lab.logs / "control.sock")


def twping(namespace: Namespace, *arguments: str) -> "CompletedProcess[str]":
    options = ["-c", str(COUNT), "-i", "0.005f", "-L", "0.5", "--json"]
    return namespace.python("-m", "twamp.ping", *options, *arguments)


def packets_of(finished: "CompletedProcess[str]") -> tuple[int, int]:
    """How many packets the one session of a twping has sent, and how many replies it got."""
    assert finished.returncode == 0, finished.stderr
    [session] = json.loads(finished.stdout)["results"]
    packets = session["packets"]
    return packets["num-pkts-sent"], packets["num-pkts-received"]


def measured(namespace: Namespace, *arguments: str) -> dict[str, Any]:
    """The one session of a run in which nothing was lost."""
    finished = twping(namespace, *arguments)
    assert packets_of(finished) == (COUNT, COUNT)
    [session] = json.loads(finished.stdout)["results"]
    assert isinstance(session, dict)
    return session


def captured(program: Program) -> list[dict[str, Any]]:
    """Every packet of its kind that the interface carried; requests and replies are both there."""
    lines = [line for line in program.end().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def capture(namespace: Namespace, device: str, kind: str = "udp") -> Program:
    return namespace.start("-m", "tests.netns.capture", device, kind, until="capturing")
