"""The listening sockets: where they listen, what they send with, and what to do when they cannot."""

import errno
import os
import socket

import pytest

from twamp.config.reflector import ReflectorConfig
from twamp.control.listeners import (
    listening_error,
    open_light_sockets,
    open_listeners,
    prepare_listeners,
)

V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_without_an_address_one_socket_serves_both_ip_versions() -> None:
    [listener] = open_listeners(ReflectorConfig(port=0))
    with listener:
        assert listener.family == socket.AF_INET6
        assert listener.getsockopt(*V6ONLY) == 0
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()


def test_each_address_has_its_socket() -> None:
    config = ReflectorConfig(port=0, listen_address=("127.0.0.1", "::1"), dscp_value=46)
    ipv4, ipv6 = open_listeners(config)
    with ipv4, ipv6:
        assert (ipv4.getsockname()[0], ipv6.getsockname()[0]) == ("127.0.0.1", "::1")
        assert ipv6.getsockopt(*V6ONLY) == 1
        assert not ipv4.getblocking()
        assert ipv4.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
        assert ipv6.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 46 << 2
        prepare_listeners([ipv4, ipv6], 10)
        assert ipv4.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 10 << 2


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_one_that_cannot_listen_leaves_none_open() -> None:
    with socket.create_server(("127.0.0.2", 0)) as busy:
        port = busy.getsockname()[1]
        config = ReflectorConfig(port=port, listen_address=("127.0.0.1", "127.0.0.2"))
        with pytest.raises(OSError, match="in use"):
            open_listeners(config)
        socket.create_server(("127.0.0.1", port)).close()


def test_light_has_one_socket_for_each_worker_on_each_address() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = ReflectorConfig(
        light=True, light_port=port, workers=3, listen_address=("127.0.0.1", "::1")
    )
    opened = open_light_sockets(config)
    names = [[sock.getsockname()[:2] for sock in of_address] for of_address in opened]
    for sock in (sock for of_address in opened for sock in of_address):
        sock.close()
    assert names == [[("127.0.0.1", port)] * 3, [("::1", port)] * 3]


LOW_PORT = "; ports below 1024 need CAP_NET_BIND_SERVICE: run as root or give --{} 8620"
REMEDIES = {
    (errno.EADDRINUSE, "port", 8620): (
        "; another program listens there: stop it, or give another --port"
    ),
    (errno.EACCES, "port", 862): LOW_PORT.format("port"),
    (errno.EACCES, "port", 8620): "",
    (errno.EACCES, "light-port", 863): LOW_PORT.format("light-port"),
    (errno.EADDRNOTAVAIL, "port", 862): "; `ip address` lists the addresses of this host",
    (errno.ENODEV, "port", 862): "; is 'eth9' the name of an interface? `ip link` lists them",
    (errno.EIO, "port", 862): "",
}


@pytest.mark.parametrize(("number", "option", "port"), REMEDIES)
def test_the_error_names_option_address_port_and_remedy(
    number: int, option: str, port: int
) -> None:
    config = ReflectorConfig(
        port=port, light_port=port, listen_address=("192.0.2.1", "::1"), iface="eth9"
    )
    error = listening_error(OSError(number, os.strerror(number)), config, option)
    culprits = {errno.EADDRNOTAVAIL: "listen-address", errno.ENODEV: "iface"}
    assert str(error) == (
        f"{culprits.get(number, option)}: cannot listen on 192.0.2.1 or ::1, port {port}: {os.strerror(number)}"
        + REMEDIES[number, option, port]
    )
