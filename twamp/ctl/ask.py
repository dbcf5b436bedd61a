"""Asks a running responder for its state, through its UNIX socket."""

import errno
import json
import socket
import time
from collections.abc import Sequence
from typing import cast

from twamp.reflector.state import ResponderState

ANSWER_WITHIN = 10.0  # seconds
LONGEST_ANSWER = 256 << 20


class NoAnswer(Exception):
    """The responder cannot be asked, or refuses; the text ends with the remedy if there is one."""


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
        raise NoAnswer(f"{path}: not the answer of a responder: {answer[:60]!r}") from None
    if not isinstance(state, dict) or not ("error" in state or "status" in state):
        raise NoAnswer(f"{path}: not the answer of a responder: {answer[:60]!r}")
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
