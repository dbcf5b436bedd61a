"""``twampctl``: what an operator sees of a running responder.

It asks the responder's control socket (:mod:`twamp.reflector.status_socket`) for a
:class:`~twamp.reflector.state.ResponderState` and lays it out; ``--json`` gives the state itself, ``yang`` what
RFC 8913 makes of it.
"""

import argparse
import errno
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from twamp.config.readers import DSCP_NAMES
from twamp.config.reflector import ReflectorConfig
from twamp.ctl import hwtstamp
from twamp.errors import ConfigError
from twamp.reflector.state import ConnectionRow, Counters, ResponderState, SessionRow, Status
from twamp.reflector.yang import ietf_twamp

ANSWER_WITHIN = 10.0  # seconds
LONGEST_ANSWER = 256 << 20
CLEAR = "\033[H\033[2J"
UNITS_OF_TIME = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

# Each command, the parts of the state that it needs beside the status, and its help.
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "status": (("counters",), "the whole responder in one screen"),
    "connections": (("connections",), "TWAMP-Control connections"),
    "sessions": (("sessions",), "test sessions"),
    "counters": (("counters",), "all that is counted"),
    "drops": (("counters",), "packets that were not reflected, by reason"),
    "config": (("config",), "options in force, and where each value comes from"),
    "yang": (("connections", "sessions", "counters"), "the state as RFC 8913 models it, in JSON"),
}


HWTSTAMP = (
    "whether an interface's timestamps are hardware's, and how true; the exit code says so, too"
)


class NoAnswer(Exception):
    """The responder cannot be asked, or refuses; the text ends with the remedy."""


# ---- asking --------------------------------------------------------------------------------------


def ask(path: str, parts: Sequence[str], client: str | None = None) -> ResponderState:
    """The state of the responder behind ``path``; raises :class:`NoAnswer`."""
    request = {"show": list(parts)} | ({} if client is None else {"client": client})
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(ANSWER_WITHIN)
            sock.connect(path)
            sock.sendall(json.dumps(request).encode() + b"\n")
            answer = _read_answer(sock)
    except OSError as error:
        raise NoAnswer(f"{path}: {_explain(error)}") from None
    if not answer:
        raise NoAnswer(f"{path}: the responder closed without an answer; it may be stopping")
    try:
        state = json.loads(answer)
    except (ValueError, RecursionError):
        raise NoAnswer(f"{path}: this is no answer of a responder: {answer[:60]!r}") from None
    if not isinstance(state, dict) or not ("error" in state or "status" in state):
        raise NoAnswer(f"{path}: this is no answer of a responder: {answer[:60]!r}")
    if "error" in state:
        raise NoAnswer(f"{path}: {state['error']}")
    return cast("ResponderState", state)


def _read_answer(sock: socket.socket) -> bytes:
    answer = bytearray()
    until = time.monotonic() + ANSWER_WITHIN
    while octets := sock.recv(1 << 16):
        answer += octets
        if len(answer) > LONGEST_ANSWER:
            raise OSError(errno.EMSGSIZE, "the answer has no end")
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(answer)


def _explain(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "the responder does not answer in time"
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return f"{error.strerror}; is twampd running, with this --control-socket?"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{error.strerror}; join the socket's group, or ask as root"
    return error.strerror or str(error)


# ---- laying out ----------------------------------------------------------------------------------


def endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}"


def duration(seconds: float | None) -> str:
    """The two largest units that count: "3 d 4 h", "12 s", "0.3 s"."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    left = int(seconds)
    words: list[str] = []
    for size, unit in UNITS_OF_TIME:
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count} {unit}")
    return " ".join(words[:2])


def dscp(value: int) -> str:
    """Number and name."""
    names = [name for name, number in DSCP_NAMES.items() if number == value]
    return f"{value} {names[0]}" if names else str(value)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> Iterator[str]:
    """Aligned columns, numbers to the right; ``empty`` says so when there is no row."""
    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not texts:
        yield empty
        return
    columns = list(zip(heads, *texts, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell.isdecimal() for cell in column[1:]) for column in columns]
    for row in [list(heads), *texts]:
        cells = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        yield "  ".join(cells).rstrip()


def pairs(rows: Iterable[tuple[str, object]]) -> Iterator[str]:
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        yield f"{name + ':':<{width + 2}}{value}"


def show_status(state: ResponderState) -> Iterator[str]:
    status, counters = state["status"], state["counters"]
    connections, sessions = counters["connections"], counters["sessions"]
    packets = counters["packets"]
    rejected = sum(connections["rejected"].values())
    yield from pairs(
        [
            ("responder", f"twampd {status['version']}, process {status['pid']}"),
            ("state", _state_in_words(status)),
            ("up since", f"{status['started']} ({duration(status['uptime'])})"),
            ("TWAMP-Control", ", ".join(status["listening"]) or "not listening"),
            ("without control", ", ".join(status["light"]) or "off"),
            ("test ports", status["test_ports"]),
            ("modes", ", ".join(status["modes"])),
            ("clock", "synchronised" if status["clock_synchronized"] else "not synchronised"),
            ("connections", _gauge(status["connections"])),
            ("  handshaking", status["handshaking"]),
            ("  accepted", connections["accepted"]),
            ("  rejected", rejected),
            ("sessions", _gauge(status["sessions"])),
            ("  accepted", sessions["accepted"]),
            ("  completed", sessions["completed"]),
            ("  aborted", sessions["aborted"]),
            ("  rejected", sum(sessions["rejected"].values())),
            ("packets received", packets["received"]),
            ("  reflected", packets["reflected"]),
            ("  dropped", sum(packets["dropped"].values())),
            ("reloads", status["reloads"]),
            ("last reload", status["last_reload"] or "-"),
            ("needs a restart", ", ".join(status["restart_needed"]) or "-"),
        ]
    )


def _state_in_words(status: Status) -> str:
    return {"serving": "serving", "draining": "draining: no new connections"}.get(
        status["state"], status["state"]
    )


def _gauge(gauge: Any) -> str:
    return f"{gauge['current']} of {gauge['maximum']}"


def show_connections(state: ResponderState) -> Iterator[str]:
    return table(
        ("ID", "CLIENT", "SERVER", "STATE", "MODE", "USER", "SESSIONS", "AGE", "IDLE"),
        map(_connection_cells, state["connections"]),
        "no connections",
    )


def _connection_cells(row: ConnectionRow) -> Sequence[object]:
    return (
        row["id"],
        endpoint(row["client"], row["client_port"]),
        endpoint(row["server"], row["server_port"]),
        row["state"],
        row["mode"],
        row["user"],
        row["sessions"],
        duration(row["age"]),
        duration(row["idle"]),
    )


def show_sessions(state: ResponderState) -> Iterator[str]:
    return table(
        (
            *("SID", "CONNECTION", "CLIENT", "SENDER", "REFLECTOR", "MODE", "DSCP", "PADDING"),
            *("STATE", "RECEIVED", "REFLECTED", "DROPPED", "LAST PACKET", "T2 FROM", "OFFLOAD"),
        ),
        map(_session_cells, state["sessions"]),
        "no sessions",
    )


def _session_cells(row: SessionRow) -> Sequence[object]:
    return (
        row["sid"],
        row["connection"],
        row["client"],
        endpoint(row["sender"], row["sender_port"]),
        endpoint(row["reflector"], row["reflector_port"]),
        row["mode"],
        dscp(row["dscp"]),
        row["padding"],
        row["state"],
        row["received"],
        row["reflected"],
        row["dropped"],
        duration(row["last_packet"]) + (" ago" if row["last_packet"] is not None else ""),
        row["timestamp_source"],
        row["offload"],
    )


def show_session_summary(state: ResponderState) -> Iterator[str]:
    """A line per client."""
    clients: dict[str, Counter[str]] = {}
    for row in state["sessions"]:
        counts = clients.setdefault(row["client"], Counter())
        counts[row["state"]] += 1
        for name in ("received", "reflected", "dropped"):
            counts[name] += row[name]
    names = ("accepted", "started", "stopped", "received", "reflected", "dropped")
    return table(
        ("CLIENT", *(name.upper() for name in names)),
        [(client, *(counts[name] for name in names)) for client, counts in clients.items()],
        "no sessions",
    )


def show_counters(state: ResponderState) -> Iterator[str]:
    lines = list(_leaves(cast("dict[str, Any]", state["counters"])))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        yield f"{name:<{width}}  {value}"


def _leaves(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, int | float | str]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield above + name, "-" if value is None else value


def show_drops(state: ResponderState) -> Iterator[str]:
    packets = state["counters"]["packets"]
    received = packets["received"]
    rows: list[tuple[str, int, str]] = [
        (reason, count, f"{count / received:.3%}" if received else "-")
        for reason, count in packets["dropped"].items()
    ]
    # Those were never received, so they are no part of it.
    rows.append(("overflows (receive buffer)", packets["overflows"], "-"))
    return table(("REASON", "PACKETS", "OF RECEIVED"), rows, "")


def show_config(state: ResponderState) -> Iterator[str]:
    return table(
        ("OPTION", "VALUE", "ORIGIN"),
        [(row["option"], row["value"] or "-", row["origin"]) for row in state["config"]],
        "",
    )


SHOW = {
    "status": show_status,
    "connections": show_connections,
    "sessions": show_sessions,
    "counters": show_counters,
    "drops": show_drops,
    "config": show_config,
}


def screen(options: argparse.Namespace, state: ResponderState) -> str:
    """What a command prints of a state."""
    parts = COMMANDS[options.command][0]
    if options.command == "yang":
        return json.dumps(ietf_twamp(state), indent=2)
    if options.json:
        tree = cast("dict[str, Any]", state)
        return json.dumps({name: tree[name] for name in ("status", *parts)}, indent=2)
    if options.command == "sessions" and options.summary:
        return "\n".join(show_session_summary(state))
    return "\n".join(SHOW[options.command](state))


# ---- the program ---------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="twampctl", description="Shows a running TWAMP responder (twampd)."
    )
    result.add_argument(
        "--socket",
        "--control-socket",
        default=ReflectorConfig.control_socket,
        metavar="PATH",
        help="control socket of the responder (default %(default)s)",
    )
    result.set_defaults(command="status", client=None, summary=False)
    _add_output(result, suppress=False)
    commands = result.add_subparsers(metavar="COMMAND", title="commands (status is the default)")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=name)
        _add_output(command, suppress=True)
        if name in ("connections", "sessions"):
            command.add_argument("--client", metavar="PREFIX", help="only this address or prefix")
        if name == "sessions":
            command.add_argument("--summary", action="store_true", help="a line per client")
    proof = commands.add_parser("hwtstamp", help=HWTSTAMP, description=HWTSTAMP)
    proof.set_defaults(command="hwtstamp")
    _add_json(proof, suppress=True)
    hwtstamp.add_arguments(proof)
    return result


def _add_json(command: argparse.ArgumentParser, *, suppress: bool) -> None:
    """Before and after the command's name; the latter must not undo the former."""
    command.add_argument(
        "--json",
        action="store_true",
        help="as JSON",
        **({"default": argparse.SUPPRESS} if suppress else {}),  # type: ignore[arg-type]
    )


def _add_output(command: argparse.ArgumentParser, *, suppress: bool) -> None:
    _add_json(command, suppress=suppress)
    command.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=2.0,
        metavar="SECONDS",
        help="again and again, every so many seconds (2), until Ctrl-C",
        **({"default": argparse.SUPPRESS} if suppress else {}),  # type: ignore[arg-type]
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")
    return seconds


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
    """``hwtstamp``, with what a responder says if one runs; raises :class:`NoAnswer` if it cannot be."""
    try:
        counters: Counters | None = ask(options.socket, ("counters",))["counters"]
    except NoAnswer:
        counters = None
    try:
        return hwtstamp.run(options, counters)
    except (OSError, ConfigError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise NoAnswer(str(reason)) from None


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


if __name__ == "__main__":
    sys.exit(main())
