"""UDP ports for twping's Session-Senders: the first that is free in the range that it may use."""

import errno
import secrets
import socket
from collections.abc import Iterator

from twamp.endpoint import Endpoint


def ports_to_try(port_range: tuple[int, int]) -> Iterator[int]:
    """The range once around from anywhere in it, so that runs seldom share one; (0, 0): any."""
    low, high = port_range
    if not low:
        while True:
            yield 0
    count = high - low + 1
    first = secrets.randbelow(count)
    yield from (low + (first + step) % count for step in range(count))


def bind(
    local: Endpoint, ports: Iterator[int], port_range: tuple[int, int], interface: str | None
) -> socket.socket:
    """A UDP socket on the first of ``ports`` that is free; OSError when none is."""
    family = socket.AF_INET if local.ip_version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        for port in ports:
            try:
                sock.bind(local._replace(port=port).sockaddr)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                return sock
        low, high = port_range
        raise OSError(
            errno.EADDRINUSE,
            f"no free UDP port in {low}-{high}; give more with --port-range, or 0 for any",
        )
    except BaseException:
        sock.close()
        raise
