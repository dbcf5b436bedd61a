"""``twampctl``: shows the state of a running responder (twampd), and checks hardware timestamps.

It asks the responder's UNIX socket (:mod:`twamp.reflector.status_socket`) for a
:class:`~twamp.reflector.state.ResponderState`.
"""

import sys

from twamp.config import program

if __name__ == "__main__":  # before the imports that take time, during which Ctrl-C may come
    sys.exit(program.twampctl())

import argparse
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from twamp.config.arguments import FORMATTER, Parser
from twamp.config.reflector import ReflectorConfig
from twamp.ctl import hwtstamp
from twamp.ctl.ask import NoAnswer, ask
from twamp.ctl.layout import SCREENS, session_summary, show_sessions
from twamp.errors import ConfigError
from twamp.reflector.state import Counters, ResponderState
from twamp.reflector.yang import ietf_twamp
from twamp.version import version

CLEAR = "\033[H\033[2J"

# Each command, the parts of the state that it needs beside the status, and its help.
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "status": (("counters",), "the whole responder in one screen"),
    "connections": (("connections",), "TWAMP-Control connections"),
    "sessions": (("sessions",), "test sessions"),
    "counters": (("counters",), "all counters"),
    "drops": (("counters",), "packets that were not reflected, by reason"),
    "config": (("config",), "options in force, and the origin of each value"),
    "yang": (
        ("connections", "sessions", "counters"),
        "the state in the model of RFC 8913, as JSON",
    ),
}
HWTSTAMP = (
    "check whether the timestamps of an interface are its network card's, and how accurate they are; "
    "exit with 1 if they are not"
)
EXAMPLES = (
    ("twampctl", "the status of the responder on this host"),
    ("twampctl sessions --client 192.0.2.0/24 --watch", "the sessions of a network, every 2 s"),
    ("twampctl hwtstamp eth0", "check the timestamps of a network card"),
)


# ---- the command line ----------------------------------------------------------------------------


def parser() -> Parser:
    """The command line."""
    result = Parser(
        "twampctl",
        usage="[OPTION]... [COMMAND]",
        description="Show a running TWAMP responder (twampd).",
        version=version(),
        examples=EXAMPLES,
    )
    result.set_defaults(
        command="status", client=None, summary=False, socket=ReflectorConfig.control_socket
    )
    _add_socket(result)
    _add_output(result, suppress=False)
    commands = result.add_subparsers(
        metavar="COMMAND",
        title="commands (status is the default)",
        parser_class=argparse.ArgumentParser,
        prog="twampctl",
    )
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, formatter_class=FORMATTER)
        command.set_defaults(command=name)
        _add_socket(command)
        _add_output(command, suppress=True)
        if name in ("connections", "sessions"):
            command.add_argument("--client", metavar="PREFIX", help="only this address or prefix")
        if name == "sessions":
            command.add_argument("--summary", action="store_true", help="a line for each client")
    proof = commands.add_parser(
        "hwtstamp", help=HWTSTAMP, description=HWTSTAMP, formatter_class=FORMATTER
    )
    proof.set_defaults(command="hwtstamp")
    _add_socket(proof)
    _add_json(proof, suppress=True)
    _add_hwtstamp(proof)
    return result


def _add_hwtstamp(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "interface", metavar="IFACE", help="network interface, VLAN, bond or bridge"
    )
    command.add_argument(
        "--peer",
        metavar="HOST",
        help="also measure to this TWAMP Server (host, host:port) for some seconds",
    )
    command.add_argument(
        "--seconds",
        type=_seconds(1, 60),
        default=3.0,
        help="how long to compare the clocks (default 3; 1-60)",
    )


def _add_socket(command: argparse.ArgumentParser) -> None:
    """Adds --socket before or after the command's name."""
    command.add_argument(
        "--socket",
        "--control-socket",
        default=argparse.SUPPRESS,
        metavar="PATH",
        help=f"control socket of the responder (default {ReflectorConfig.control_socket})",
    )


def _add_json(command: argparse.ArgumentParser, *, suppress: bool) -> None:
    """Adds --json before or after the command's name; the latter must not undo the former."""
    command.add_argument(
        "--json",
        action="store_true",
        help="print JSON",
        **({"default": argparse.SUPPRESS} if suppress else {}),  # type: ignore[arg-type]
    )


def _add_output(command: argparse.ArgumentParser, *, suppress: bool) -> None:
    _add_json(command, suppress=suppress)
    command.add_argument(
        "--watch",
        nargs="?",
        type=_seconds(0.1, 86400),
        const=2.0,
        metavar="SECONDS",
        help="show it again every so many seconds (2) until Ctrl-C",
        **({"default": argparse.SUPPRESS} if suppress else {}),  # type: ignore[arg-type]
    )


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if least <= float(text) <= most:
                return float(text)
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from {least:g} to {most:g}"
        )

    return read


# ---- the program ---------------------------------------------------------------------------------


def screen(options: argparse.Namespace, state: ResponderState) -> str:
    """The text of a command."""
    parts = COMMANDS[options.command][0]
    if options.command == "yang":
        return json.dumps(ietf_twamp(state), indent=2)
    if options.json:
        tree = cast("dict[str, Any]", state)
        return json.dumps({name: tree[name] for name in ("status", *parts)}, indent=2)
    if options.command == "sessions" and options.summary:
        return "\n".join(session_summary(state))
    if options.command == "sessions" and sys.stdout.isatty():
        return "\n".join(show_sessions(state, shutil.get_terminal_size().columns))
    return "\n".join(SCREENS[options.command](state))


def watch(options: argparse.Namespace) -> None:
    """Shows once, or until Ctrl-C; raises :class:`NoAnswer`."""
    parts = COMMANDS[options.command][0]
    clear = CLEAR if sys.stdout.isatty() else ""
    while True:
        text = screen(options, ask(options.socket, parts, options.client))
        if options.watch is None:
            print(text)
            return
        print(f"{clear}{text}\n", flush=True)
        time.sleep(options.watch)


def prove(options: argparse.Namespace) -> int:
    """The command ``hwtstamp``, with the counters of a responder if one runs; raises :class:`NoAnswer`."""
    try:
        counters: Counters | None = ask(options.socket, ("counters",))["counters"]
    except NoAnswer:
        counters = None
    try:
        findings = hwtstamp.find(options.interface, options.seconds, counters, options.peer)
    except (OSError, ConfigError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise NoAnswer(str(reason)) from None
    print(json.dumps(findings, indent=2) if options.json else "\n".join(hwtstamp.text(findings)))
    return 0 if findings["verdict"] else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code.

    0; 1 when the responder cannot be asked, or ``hwtstamp`` finds no hardware timestamps.
    """
    options = parser().parse_args(arguments)
    try:
        if options.command == "hwtstamp":
            return prove(options)
        watch(options)
    except NoAnswer as error:
        print(f"twampctl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # head, less
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
