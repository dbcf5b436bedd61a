"""Opens the TCP connection of TWAMP-Control, to the first address of a name that answers."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twamp.endpoint import Endpoint
from twamp.sockets import bind_to_device, resolve, set_dscp

TIMEOUT_OF_MANY = 2.0  # to connect to an address that is not a name's last
# No message is due while sessions run, so TCP's keepalive alone notices that a Server has vanished.
NO_ANSWER = (
    "no answer in time; does a firewall stop TCP to that port? --control-port names another one"
)
KEEPALIVE_IDLE = 10  # seconds
KEEPALIVE_INTERVAL = 5
MOST_PROBES = 127  # of Linux
VANISHED_AFTER = 30.0
LONGEST_PATIENCE = float(KEEPALIVE_IDLE + MOST_PROBES * KEEPALIVE_INTERVAL)


async def open_connection(
    candidates: Sequence[tuple[Any, ...]],
    timeout: float,
    source_address: str | None,
    prepare: Callable[[socket.socket], Awaitable[None]],
) -> socket.socket:
    """A connected socket to the first candidate that answers.

    Candidates are tried in the resolver's order (RFC 6724); all but the last get less time.  Raises
    :class:`OSError`, with the error of each candidate, when none answers.
    """
    failures: list[str] = []
    number = errno.EHOSTUNREACH
    for place, (family, kind, protocol, _, sockaddr) in enumerate(candidates, 1):
        sock = socket.socket(family, kind, protocol)
        patience = timeout if place == len(candidates) else min(timeout, TIMEOUT_OF_MANY)
        try:
            sock.setblocking(False)
            await prepare(sock)
            async with asyncio.timeout(patience):
                await _connect(sock, sockaddr)
        except (OSError, TimeoutError) as error:
            sock.close()
            number = error.errno or errno.ETIMEDOUT
            reason = _reason(error, source_address)
            failures.append(f"{Endpoint.from_sockaddr(sockaddr)}: {reason}")
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise OSError(number, ", ".join(failures) or "the name has no address")


async def _connect(sock: socket.socket, sockaddr: tuple[Any, ...]) -> None:
    """Connects; uvloop's own ``sock_connect`` loses the interface of a link-local address."""
    number = sock.connect_ex(sockaddr)
    if number == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(sock, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(sock)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _reason(error: OSError, source_address: str | None) -> str:
    if isinstance(error, socket.gaierror):
        return f"source address {source_address}: {error.strerror}"
    if error.errno == errno.EINVAL:
        return error.strerror or ""
    return os.strerror(error.errno) if error.errno else NO_ANSWER


async def prepare_socket(
    sock: socket.socket,
    *,
    source_address: str | None,
    interface: str | None,
    dscp: int,
    vanished_after: float,
) -> None:
    """Makes a socket ready to connect, as :meth:`.ControlClient.connect` says of the arguments."""
    probes = int((vanished_after - KEEPALIVE_IDLE) / KEEPALIVE_INTERVAL)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, min(max(probes, 1), MOST_PROBES))
    bind_to_device(sock, interface)
    if dscp:
        set_dscp(sock, dscp)
    if source_address is not None:
        found = await resolve(source_address, family=sock.family, interface=interface)
        sock.bind(found[0][4])
