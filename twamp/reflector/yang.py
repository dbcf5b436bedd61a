"""The state of a responder in the model of RFC 8913: ``ietf-twamp``, in JSON (RFC 7951).

Only the ``server`` and the ``session-reflector``; the other two roles live in other programs.  What the
model has and we do not tell: secrets and what is near them (keys, Salt, Server-IV, Challenge), the key
chain, the DSCP of a connection (it is the client's, the kernel follows it), and ``max-count-exponent``
(we have a count, and no second limit over it).

The model knows fewer UDP ports than RFC 5357: 49152 to 65535, and 862 on our side.  The ports are keys of a
test session, so a session on others cannot be told at all; ``test-ports`` within that range, and a
sender that does likewise, make it visible.
"""

from collections.abc import Iterable
from typing import Any

from twamp.reflector.state import ConnectionRow, ResponderState, SessionRow, Status

# The bits of TWAMP-Modes by position.  The registry has grown since: bits above are left out.
_MODE_BITS = (
    "unauthenticated",
    "authenticated",
    "encrypted",
    "unauth-test-encrypt-control",
    "individual-session-control",
    "reflect-octets",
    "symmetrical-size",
    "IKEv2Derived",
)
_COUNT_EXPONENTS = range(10, 32)
_TIMEOUTS = range(1, 604_801)  # seconds: a week
_DYNAMIC_PORTS = range(49152, 65536)
_WELL_KNOWN_PORT = 862
_LONGEST_KEY_ID = 80


def ietf_twamp(state: ResponderState) -> dict[str, Any]:
    """The tree ``ietf-twamp:twamp`` of ``state``, which must have ``connections`` and ``sessions``.

    Raises :class:`KeyError` when one of the two is missing.
    """
    status, sessions = state["status"], state["sessions"]
    running = {session["connection"] for session in sessions if session["state"] == "started"}
    server = _server(status)
    server["ctrl-connection"] = [
        _connection(row, running) for row in state["connections"] if row["state"] != "closed"
    ]
    reflector = {
        # A responder that drains still reflects for the sessions that it has.
        "admin-state": True,
        **_within("refwait", status["test_inactivity_timeout"], _TIMEOUTS),
        "test-session": _sessions(sessions),
    }
    return {"ietf-twamp:twamp": {"server": server, "session-reflector": reflector}}


def _server(status: Status) -> dict[str, Any]:
    return {
        "admin-state": status["state"] == "serving",
        "server-tcp-port": _control_port(status),
        **_within("servwait", status["server_inactivity_timeout"], _TIMEOUTS),
        # dscp-value 0 means the DSCP of the client's SYN; the model says so by silence.
        **_within("control-packet-dscp", status["dscp"], range(1, 64)),
        **_count(status["count"]),
        "modes": _modes(status["mode_bits"]),
    }


def _control_port(status: Status) -> int:
    """The port in use: the configured one may be 0, or may wait for a restart."""
    for address in status["listening"]:
        return int(address.rpartition(":")[2])
    return status["port"]


def _connection(row: ConnectionRow, running: set[int]) -> dict[str, Any]:
    # SERVWAIT counts while the client may command and no test session runs.  While a set-up or an answer
    # is due, other and shorter limits hold, so the connection is active.
    waits = row["state"] == "request" and row["id"] not in running
    result = {
        "client-ip": row["client"],
        "client-tcp-port": row["client_port"],
        "server-ip": row["server"],
        "server-tcp-port": row["server_port"],
        "state": "servwait" if waits else "active",
        **_count(row["count"]),
    }
    if row["mode"] is not None:
        result["selected-mode"] = _modes(row["mode_bits"])
    user = row["user"]
    # YANG's strings have no control characters: such a name stays out, since any other spelling would
    # name another user.
    if user and len(user) <= _LONGEST_KEY_ID and user.isprintable():
        result["key-id"] = user
    return result


def _sessions(rows: Iterable[SessionRow]) -> list[dict[str, Any]]:
    # The key has no interface: of two sessions of link-local addresses that differ only there, the
    # later one is told.  A list with one key twice would be invalid as a whole.
    told = {}
    for row in rows:
        sender_port, reflector_port = row["sender_port"], row["reflector_port"]
        if sender_port in _DYNAMIC_PORTS and (
            reflector_port in _DYNAMIC_PORTS or reflector_port == _WELL_KNOWN_PORT
        ):
            key = (row["sender"], sender_port, row["reflector"], reflector_port)
            told[key] = _session(row)
    return list(told.values())


def _session(row: SessionRow) -> dict[str, Any]:
    result = {
        "sid": row["sid"],
        "sender-ip": row["sender"],
        "sender-udp-port": row["sender_port"],
        "reflector-ip": row["reflector"],
        "reflector-udp-port": row["reflector_port"],
        "parent-connection-client-ip": row["client"],
        "parent-connection-client-tcp-port": row["client_port"],
        "parent-connection-server-ip": row["server"],
        "parent-connection-server-tcp-port": row["server_port"],
        "test-packet-dscp": row["dscp"],
        "sent-packets": _uint32(row["reflected"]),
        "rcv-packets": _uint32(row["received"]),
    }
    if (sent := row["last_sent_sequence"]) is not None:
        result["last-sent-seq"] = _uint32(sent)
    if (received := row["last_received_sequence"]) is not None:
        result["last-rcv-seq"] = _uint32(received)
    return result


def _uint32(counter: int) -> int:
    """A counter of 64 bits as one of the model, which has 32 bits and wraps."""
    return counter % (1 << 32)


def _within(name: str, value: int, allowed: range) -> dict[str, int]:
    """The leaf, or nothing for a value that the model cannot hold."""
    return {name: value} if value in allowed else {}


def _count(count: int) -> dict[str, int]:
    """The leaf ``count``, an exponent of two; nothing for a count that is no power of two."""
    if count.bit_count() != 1:
        return {}
    return _within("count", count.bit_length() - 1, _COUNT_EXPONENTS)


def _modes(bits: int) -> str:
    """A value of YANG's type bits: names in the order of their positions."""
    return " ".join(name for position, name in enumerate(_MODE_BITS) if bits >> position & 1)
