"""The UNIX socket that ``twampctl`` asks: one line of JSON in, one line of JSON out.

A request is ``{"show": ["connections", ...], "client": "192.0.2.0/24"}``; ``client``, optional, leaves out
the connections and sessions of others.  The answer is a :class:`~twamp.reflector.state.ResponderState` with
``status`` and the parts asked for, or ``{"error": "..."}``.
"""

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from twamp.config.readers import prefix
from twamp.reflector.state_reader import StateReader

logger = logging.getLogger("twamp.control_socket")

MODE = 0o660
MOST_CLIENTS = 32
LONGEST_REQUEST = 4096
ANSWER_WITHIN = 10.0  # seconds for a client to ask and to take the answer
PARTS = ("connections", "sessions", "counters", "config")


def open_status_socket(path: str, owner: tuple[int, int] | None = None) -> socket.socket:
    """Listens on ``path``; replaces a stale socket, which nobody answers any more.

    Makes its directory if the one above is there; ``owner`` (user, group) gets both.  Raises
    :class:`OSError`: EADDRINUSE when another responder answers there.
    """
    directory = os.path.dirname(path) or "."
    try:
        os.mkdir(directory, 0o750)
    except FileExistsError:
        pass
    else:
        if owner is not None:
            os.chown(directory, *owner)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o777 & ~MODE)  # never open to more, not even for a moment
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        if owner is not None:
            os.chown(path, *owner)
        listener.listen(MOST_CLIENTS)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.EEXIST, "there is another file, which is no socket", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its backlog is full: the other responder is busy
            pass
        raise OSError(errno.EADDRINUSE, "another responder answers there", path)


class StatusSocket:
    """Answers requests for the state on a listening UNIX socket while ``async with`` lasts."""

    def __init__(self, listener: socket.socket, snapshot: StateReader) -> None:
        self._listener = listener
        self._path = Path(listener.getsockname())
        self._snapshot = snapshot
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "StatusSocket":
        self._server = await asyncio.start_unix_server(
            self._on_client, sock=self._listener, limit=LONGEST_REQUEST
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):  # not ours to remove once privileges are dropped
            self._path.unlink()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= MOST_CLIENTS:
            writer.close()
            return
        self._clients.add(task)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                request = await reader.readline()
                async for piece in self._answer(request):
                    writer.write(piece.encode())
                    await writer.drain()
        except (OSError, TimeoutError, ValueError) as error:
            logger.debug("control socket: %s", error)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _answer(self, request: bytes) -> AsyncIterator[str]:
        """The answer in pieces, so that the event loop can do other work in between."""
        try:
            parts, client = read_request(request)
        except ValueError as error:
            yield json.dumps({"error": str(error)}) + "\n"
            return
        yield f'{{"status": {json.dumps(self._snapshot.status())}'
        if "connections" in parts:
            yield f', "connections": {json.dumps(list(self._snapshot.connections(client)))}'
        if "counters" in parts:
            yield f', "counters": {json.dumps(self._snapshot.counters())}'
        if "config" in parts:
            yield f', "config": {json.dumps(self._snapshot.config())}'
        if "sessions" in parts:
            comma = ', "sessions": ['
            for some in self._snapshot.sessions(client):
                if some:
                    yield comma + ", ".join(json.dumps(row) for row in some)
                    comma = ", "
                await asyncio.sleep(0)
            yield "]" if comma == ", " else ', "sessions": []'
        yield "}\n"


def read_request(line: bytes) -> tuple[list[str], IPv4Network | IPv6Network | None]:
    """The parts and the client of a request; :class:`ValueError` explains what is wrong with it."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("a request is one line of JSON") from None
    if not isinstance(request, dict) or not isinstance(parts := request.get("show"), list):
        raise ValueError('a request is an object with a list "show"')
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"there is no {part!r} to show; there are {', '.join(PARTS)}")
    client = request.get("client")
    if client is None:
        return parts, None
    try:
        return parts, prefix(client)
    except ValueError as error:
        raise ValueError(f"client: {client!r} is not {error}") from None
