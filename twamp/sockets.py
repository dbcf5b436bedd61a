"""Sockets: of an IP version, bound to a device, on a free port, marked with a DSCP; and names resolved."""

import asyncio
import contextlib
import errno
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any

from twamp.endpoint import Endpoint

IP_MTU, IPV6_MTU = 14, 24  # of Linux; the module socket lacks them
AddressInfo = tuple[Any, ...]  # as getaddrinfo gives it: family, type, protocol, name, sockaddr


async def resolve(
    host: str,
    port: int = 0,
    *,
    family: int = 0,
    kind: int = socket.SOCK_STREAM,
    interface: str | None = None,
) -> Sequence[AddressInfo]:
    """Resolves a name or an address; an IPv6 link-local one keeps its interface.

    uvloop's own ``getaddrinfo`` loses the interface.  Where ``host`` names none, it is ``interface``.  Raises
    :class:`socket.gaierror`, or :class:`OSError` for a link-local address without an interface.
    """
    found = await _look_up(host, port, family, kind)
    return [(*info[:4], _with_scope(host, info[4], interface)) for info in found]


async def _look_up(host: str, port: int, family: int, kind: int) -> Sequence[AddressInfo]:
    """``getaddrinfo`` in a thread that nobody waits for once this is cancelled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

    def tell(found: Sequence[AddressInfo], error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)

    def look_up() -> None:
        found: Sequence[AddressInfo] = []
        failure: Exception | None = None
        try:
            found = socket.getaddrinfo(host, port, family=family, type=kind)
        except UnicodeError:  # "a..b", or octets that are no text
            failure = socket.gaierror(socket.EAI_NONAME, "No name of a host is spelled like this")
        except OSError as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has gone
            loop.call_soon_threadsafe(tell, found, failure)

    threading.Thread(target=look_up, name="twamp-resolver", daemon=True).start()
    return await future


def _with_scope(host: str, sockaddr: AddressInfo, interface: str | None) -> AddressInfo:
    """The address with its interface; changes those alone that are link-local and have none."""
    address = ip_address(sockaddr[0].partition("%")[0])
    if not (isinstance(address, IPv6Address) and address.is_link_local) or sockaddr[3]:
        return sockaddr
    if interface is None:
        raise OSError(
            errno.EINVAL,
            f"{host}: a link-local address needs its interface; for example {address}%eth0",
        )
    return (*sockaddr[:3], socket.if_nametoindex(interface))


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


def path_mtu(local: Endpoint, remote: Endpoint, device: str | None = None) -> int:
    """The longest IP packet that the kernel knows to reach ``remote`` whole, in octets; 0 for unknown."""
    level, name = (socket.IPPROTO_IP, IP_MTU) if remote.ip_version == 4 else (41, IPV6_MTU)
    try:
        with udp_socket(remote.ip_version, device) as sock:
            sock.bind(local._replace(port=0).sockaddr)
            sock.connect(remote.sockaddr)
            return sock.getsockopt(level, name)
    except OSError:
        return 0


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
    refusals = set()
    sock = udp_socket(local.ip_version, interface)
    try:
        for port in ports:
            try:
                sock.bind(local._replace(port=port).sockaddr)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                refusals.add(error.errno)
            else:
                return sock
        low, high = port_range
        if refusals == {errno.EACCES}:
            raise OSError(
                errno.EACCES,
                f"UDP ports {low}-{high} need CAP_NET_BIND_SERVICE: run as root, or give ports from "
                "1024 on with --port-range",
            )
        raise OSError(
            errno.EADDRINUSE,
            f"no free UDP port in {low}-{high}; give more with --port-range, or 0 for any",
        )
    except BaseException:
        sock.close()
        raise
