"""The screens of twampctl: each lays out a part of a responder's state as lines of text."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from twamp.config.readers import DSCP_NAMES
from twamp.reflector.state import ConnectionRow, ResponderState, SessionRow, Status, engine_counter

GAP = "  "  # between columns
# Columns of the sessions that a narrow terminal goes without, the first first.
SPARE = (
    *("OFFLOAD", "CONNECTION", "PADDING", "T2 FROM", "CLIENT", "DSCP", "MODE", "SID", "REFLECTED"),
    "LAST PACKET",
)
UNITS_OF_TIME = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


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


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    empty: str,
    *,
    width: int | None = None,
    spare: Sequence[str] = (),
) -> Iterator[str]:
    """Aligned columns, numbers to the right; the line ``empty`` when there is no row.

    Where that is wider than ``width``, columns are left out in the order of ``spare``, which a last line says.
    """
    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not texts:
        yield empty
        return
    columns = {column[0]: column for column in zip(heads, *texts, strict=True)}
    widths = {head: max(map(len, column)) for head, column in columns.items()}
    left_out = 0
    for head in spare:
        if width is None or sum(widths.values()) + len(GAP) * (len(widths) - 1) <= width:
            break
        del columns[head], widths[head]
        left_out += 1
    cells = [
        [cell.rjust(widths[head]) for cell in column]
        if all(cell.isdecimal() for cell in column[1:])
        else [cell.ljust(widths[head]) for cell in column]
        for head, column in columns.items()
    ]
    for row in zip(*cells, strict=True):
        yield GAP.join(row).rstrip()
    if left_out:
        yield f"({left_out} more columns do not fit; --json has all)"


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


def show_sessions(state: ResponderState, width: int | None = None) -> Iterator[str]:
    return table(
        (
            *("SID", "CONNECTION", "CLIENT", "SENDER", "REFLECTOR", "MODE", "DSCP", "PADDING"),
            *("STATE", "RECEIVED", "REFLECTED", "DROPPED", "LAST PACKET", "T2 FROM", "OFFLOAD"),
        ),
        map(_session_cells, state["sessions"]),
        "no sessions",
        width=width,
        spare=SPARE,
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


def session_summary(state: ResponderState) -> Iterator[str]:
    """A line for each client."""
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
    # These were never received, so they have no share.
    rows.append(("overflows (receive buffer)", engine_counter(packets, "overflows"), "-"))
    return table(("REASON", "PACKETS", "OF RECEIVED"), rows, "")


def show_config(state: ResponderState) -> Iterator[str]:
    return table(
        ("OPTION", "VALUE", "ORIGIN"),
        [(row["option"], row["value"] or "-", row["origin"]) for row in state["config"]],
        "",
    )


SCREENS: dict[str, Callable[[ResponderState], Iterator[str]]] = {
    "status": show_status,
    "connections": show_connections,
    "sessions": show_sessions,
    "counters": show_counters,
    "drops": show_drops,
    "config": show_config,
}
