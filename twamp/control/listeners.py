"""The sockets that a responder listens on, and the DSCP of the packets that TWAMP-Control sends."""

import contextlib
import errno
import socket
from collections.abc import Sequence

from twamp.config.reflector import ReflectorConfig
from twamp.errors import ConfigError, explain
from twamp.sockets import bind_to_device, set_dscp, udp_socket

# What a client sends and does not read waits in the kernel; a hundred commands fit in.
BUFFER = 16 * 1024  # octets, of which the kernel makes twice as many
# TCP notices in a minute and a half that a client has vanished, though it owes us nothing in TEST.
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)

BACKLOG = 1024  # the kernel may grant less (net.core.somaxconn)

UNPRIVILEGED_PORT = 8620  # a suggestion for users who may not bind to port 862

# linux/tcp.h: lets the listening side see the client's SYN, and so its DSCP.
TCP_SAVE_SYN = 27
TCP_SAVED_SYN = 28


def open_listeners(config: ReflectorConfig) -> list[socket.socket]:
    """Listens on every ``listen-address``; raises :class:`OSError`, with nothing left open, if it cannot."""
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
        listener.bind(_sockaddr(address or "::", config.port, family))
        prepare_listeners([listener], config.dscp_value)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def prepare_listeners(listeners: Sequence[socket.socket], dscp: int) -> None:
    """Sets the options of a listening socket, which accepted ones inherit; may be repeated."""
    for listener in listeners:
        listener.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            listener.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        for level, option, value in KEEPALIVE:
            listener.setsockopt(level, option, value)
        with contextlib.suppress(OSError):  # an old kernel: replies keep dscp-value
            listener.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, 1)
        set_dscp(listener, dscp)


def follow_syn_dscp(sock: socket.socket) -> None:
    """Marks replies with the DSCP of the client's SYN (RFC 5357 section 3.1), if the kernel reports it."""
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
    """Opens the UDP sockets of ``light``: one for each worker, on each address.

    Raises :class:`OSError`, with nothing left open, if it cannot.
    """
    with contextlib.ExitStack() as opened:
        sockets = [
            [opened.enter_context(_bind_light(config, address)) for _ in range(config.workers)]
            for address in config.listen_address or ("0.0.0.0", "::")
        ]
        opened.pop_all()
        return sockets


def _bind_light(config: ReflectorConfig, address: str) -> socket.socket:
    sock = udp_socket(6 if ":" in address else 4, config.device)
    try:
        if config.workers > 1:  # the kernel distributes peers among them
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(_sockaddr(address, config.light_port, sock.family))
    except BaseException:
        sock.close()
        raise
    return sock


def _sockaddr(address: str, port: int, family: int) -> tuple[str, int] | tuple[str, int, int, int]:
    found = socket.getaddrinfo(address, port, family, flags=socket.AI_NUMERICHOST)
    return found[0][4]  # type: ignore[return-value]


def listening_error(error: OSError, config: ReflectorConfig, option: str = "port") -> ConfigError:
    """Says which socket cannot be bound, and what to do about it; ``option`` is that of its port."""
    where = " or ".join(config.listen_address) or "any address"
    port = config.port if option == "port" else config.light_port
    remedies = {
        errno.EADDRINUSE: f"another program listens there: stop it, or give another --{option}",
        errno.EADDRNOTAVAIL: "`ip address` lists the addresses of this host",
        errno.EINVAL: "a link-local address needs its interface, such as fe80::1%eth0",
        errno.ENODEV: f"is {config.device!r} the name of an interface? `ip link` lists them",
    }
    if port < 1024:
        remedies[errno.EACCES] = remedies[errno.EPERM] = (
            "ports below 1024 need CAP_NET_BIND_SERVICE: "
            f"run as root or give --{option} {UNPRIVILEGED_PORT}"
        )
    reason = explain(error, remedies)
    culprits = {
        errno.EADDRNOTAVAIL: "listen-address",
        errno.ENODEV: "iface" if config.iface else "vrf",
    }
    option = culprits.get(error.errno or 0, option)
    return ConfigError(f"{option}: cannot listen on {where}, port {port}: {reason}")
