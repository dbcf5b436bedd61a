"""Sockets: of an IP version, bound to a network device, on a free port of a range, marked with a DSCP."""

import contextlib
import errno
import secrets
import socket
from collections.abc import Iterator

from twamp.endpoint import Endpoint


def udp_socket(ip_version: int, device: str | None = None) -> socket.socket:
    """An unbound UDP socket of one IP version, restricted to ``device`` if there is one.

    Raises :class:`OSError`: ENODEV when there is no device of that name.
    """
    sock = socket.socket(socket.AF_INET if ip_version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        if ip_version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bind_to_device(sock, device)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_to_device(sock: socket.socket, device: str | None) -> None:
    """Restricts a socket to a network interface or a VRF; does nothing for None.

    Raises :class:`OSError`: ENODEV when there is none of that name, EPERM where the kernel is older
    than 5.7 and the process has no CAP_NET_RAW.
    """
    if device is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())


def set_dscp(sock: socket.socket, dscp: int) -> None:
    """Marks every packet that the socket sends; a dual-stack socket marks those of both IP versions."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        with contextlib.suppress(OSError):  # the socket is for IPv6 only
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def is_own_address(local: Endpoint, device: str | None = None) -> bool:
    """Whether an address is one of this host's, and not that of many hosts (broadcast, multicast)."""
    with udp_socket(local.ip_version, device) as sock:
        try:
            sock.bind(local._replace(port=0).sockaddr)
            sock.connect(local._replace(port=1).sockaddr)  # not to a broadcast address
        except OSError:
            return False
    return not local.address.is_multicast


def ports_to_try(port_range: tuple[int, int]) -> Iterator[int]:
    """Every port of an inclusive range once, from a random one on, so that runs seldom share a port.

    For the range (0, 0) it yields 0, which is any port, without an end.
    """
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
    """A UDP socket on the first of ``ports`` that is free; raises :class:`OSError` when none is."""
    sock = udp_socket(local.ip_version, interface)
    try:
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
