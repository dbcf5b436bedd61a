"""The sockets that a responder listens on, and the DSCP of what TWAMP-Control sends."""

import contextlib
import errno
import socket
from collections.abc import Sequence

from twamp.config.reflector import ReflectorConfig

BACKLOG = 1024  # the kernel may grant less (net.core.somaxconn)

# linux/tcp.h: lets the listening side see the client's SYN, and so its DSCP.
TCP_SAVE_SYN = 27
TCP_SAVED_SYN = 28


def open_listeners(config: ReflectorConfig) -> list[socket.socket]:
    """Listens where the config says; raises :class:`OSError` and leaves nothing open when it cannot."""
    with contextlib.ExitStack() as opened:
        listeners = [
            opened.enter_context(_listen(config, address))
            for address in config.listen_address or (None,)
        ]
        opened.pop_all()
        return listeners


def _listen(config: ReflectorConfig, address: str | None) -> socket.socket:
    family = socket.AF_INET if address and ":" not in address else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bind_to_device(listener, config.device)
        if family == socket.AF_INET6:
            listener.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address is None else 1
            )
        listener.bind(
            socket.getaddrinfo(address or "::", config.port, family, flags=socket.AI_NUMERICHOST)[
                0
            ][4]
        )
        prepare_listeners([listener], config.dscp_value)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def prepare_listeners(listeners: Sequence[socket.socket], dscp: int) -> None:
    """What a listening socket needs, whoever opened it; may be repeated with another DSCP."""
    for listener in listeners:
        listener.setblocking(False)
        with contextlib.suppress(OSError):  # an old kernel: replies keep dscp-value
            listener.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, 1)
        set_dscp(listener, dscp)


def set_dscp(sock: socket.socket, dscp: int) -> None:
    """Marks what a TCP socket sends; a dual-stack socket marks both families."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    with contextlib.suppress(OSError):  # IPv6 only
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def follow_syn_dscp(sock: socket.socket) -> None:
    """Answers with the DSCP of the client's SYN (RFC 5357 section 3.1), where the kernel tells it."""
    try:
        header = sock.getsockopt(socket.IPPROTO_TCP, TCP_SAVED_SYN, 128)
    except OSError:
        return
    if len(header) < 2:
        return
    if header[0] >> 4 == 4:
        set_dscp(sock, header[1] >> 2)
    else:
        set_dscp(sock, (header[0] & 0xF) << 2 | header[1] >> 6)


def open_light_sockets(config: ReflectorConfig) -> list[list[socket.socket]]:
    """The UDP sockets of ``light``: for each address one a worker.

    Raises :class:`OSError`, and leaves nothing open.
    """
    with contextlib.ExitStack() as opened:
        sockets = [
            [opened.enter_context(_bind_light(config, address)) for _ in range(config.workers)]
            for address in config.listen_address or ("0.0.0.0", "::")
        ]
        opened.pop_all()
        return sockets


def _bind_light(config: ReflectorConfig, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bind_to_device(sock, config.device)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if config.workers > 1:  # the kernel deals the peers to them
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(_sockaddr(address, config.light_port, family))
    except BaseException:
        sock.close()
        raise
    return sock


def bind_to_device(sock: socket.socket, device: str | None) -> None:
    """To an interface or a VRF; raises :class:`OSError` ENODEV when there is none of that name."""
    if device is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())


def _sockaddr(address: str, port: int, family: int) -> tuple[str, int] | tuple[str, int, int, int]:
    found = socket.getaddrinfo(address, port, family, flags=socket.AI_NUMERICHOST)
    return found[0][4]  # type: ignore[return-value]


def explain(error: OSError, config: ReflectorConfig, option: str = "port") -> str:
    """What an operator can do about a socket that cannot be bound; ``option`` is that of its port."""
    where = " or ".join(config.listen_address) or "any address"
    port = config.port if option == "port" else config.light_port
    what = f"{option}: cannot listen on {where}, port {port}: {error.strerror or error}"
    if error.errno in (errno.EACCES, errno.EPERM) and port < 1024:
        return (
            f"{what}; ports below 1024 need CAP_NET_BIND_SERVICE: "
            f"run as root or give --{option} 8620"
        )
    if error.errno == errno.EADDRINUSE:
        return f"{what}; another program listens there: stop it, or give another --{option}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{what}; `ip address` lists the addresses of this host"
    if error.errno == errno.ENODEV:
        return f"{what}; is {config.device!r} the name of an interface? `ip link` lists them"
    return what
