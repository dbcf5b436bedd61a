"""Sockets: their family, their device, their DSCP, and the first port that is free."""

import asyncio
import contextlib
import errno
import itertools
import socket
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
import uvloop

from twamp.endpoint import Endpoint
from twamp.sockets import (
    bind,
    bind_to_device,
    is_own_address,
    ports_to_try,
    resolve,
    set_dscp,
    udp_socket,
)

NO_DEVICE = "twamp-none"
LOOPBACK = Endpoint(ip_address("127.0.0.1"), 0)


@pytest.mark.parametrize(("version", "family"), [(4, socket.AF_INET), (6, socket.AF_INET6)])
def test_a_udp_socket_is_of_one_ip_version(version: int, family: int) -> None:
    with udp_socket(version) as sock:
        assert (sock.family, sock.type) == (family, socket.SOCK_DGRAM)
        if version == 6:
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_a_socket_is_bound_to_its_device() -> None:
    with udp_socket(4) as sock:
        bind_to_device(sock, None)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b""
        bind_to_device(sock, "lo")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b"lo\0"


def test_a_device_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(OSError, match=rf"Errno {errno.ENODEV}\]"):
        udp_socket(4, NO_DEVICE)


def test_dscp_marks_ipv4() -> None:
    with udp_socket(4) as sock:
        set_dscp(sock, 46)
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2


def test_dscp_marks_both_ip_versions_of_a_dual_stack_socket() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        set_dscp(sock, 10)
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 10 << 2
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 10 << 2


@pytest.mark.parametrize("host", ["a..b", 64 * "a" + ".example", "\udcff"])
def test_what_is_no_name_of_a_host_is_not_found(host: str) -> None:
    with pytest.raises(socket.gaierror, match=r"No name|not known|no address|No address"):
        asyncio.run(resolve(host))


def test_every_port_of_a_range_is_tried_once() -> None:
    ports = list(ports_to_try((8760, 8769)))
    assert sorted(ports) == list(range(8760, 8770))
    assert all((later - port) % 10 == 1 for port, later in itertools.pairwise(ports))


def test_range_0_is_any_port_without_an_end() -> None:
    assert list(itertools.islice(ports_to_try((0, 0)), 1000)) == [0] * 1000


@contextlib.contextmanager
def busy_ports(count: int) -> Iterator[list[int]]:
    with contextlib.ExitStack() as opened:
        socks = [
            opened.enter_context(bind(LOOPBACK, ports_to_try((0, 0)), (0, 0), None))
            for _ in range(count)
        ]
        yield [sock.getsockname()[1] for sock in socks]


def test_ports_in_use_are_passed_over() -> None:
    with busy_ports(2) as (one, other), bind(LOOPBACK, iter([one, other, 0]), (0, 0), None) as sock:
        host, port = sock.getsockname()
    assert host == "127.0.0.1"
    assert port not in (0, one, other)


def test_no_free_port_is_an_error_with_a_remedy() -> None:
    with busy_ports(1) as (busy,), pytest.raises(OSError, match="no free UDP port") as caught:
        bind(LOOPBACK, iter([busy]), (busy, busy), None)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == (
        f"no free UDP port in {busy}-{busy}; give more with --port-range, or 0 for any"
    )


def test_a_range_that_needs_a_privilege_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(OSError, match=r"UDP ports 100-200 need CAP_NET_BIND_SERVICE: run as root"):
        bind(LOOPBACK, ports_to_try((100, 200)), (100, 200), None)


def test_an_address_of_another_host_is_an_error_at_once() -> None:
    elsewhere = Endpoint(ip_address("192.0.2.1"), 0)
    with pytest.raises(OSError, match=rf"Errno {errno.EADDRNOTAVAIL}\]"):
        bind(elsewhere, ports_to_try((0, 0)), (0, 0), None)


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("127.255.255.255", False),
        ("255.255.255.255", False),
        ("192.0.2.77", False),
        ("::1", True),
        ("2001:db8::77", False),
    ],
)
def test_an_address_is_this_hosts_own_or_not(address: str, own: bool) -> None:
    assert is_own_address(Endpoint(ip_address(address), 0)) is own


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_link_local_address_keeps_its_interface(
    run: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    """In uvloop's loop, too, whose own getaddrinfo loses it."""
    loopback = socket.if_nametoindex("lo")
    [info] = run(resolve("fe80::1%lo", 862))
    assert info[4][1:] == (862, 0, loopback)
    [info] = run(resolve("fe80::1", 862, interface="lo"))
    assert info[4][3] == loopback
    with pytest.raises(OSError, match="fe80::1: a link-local address needs its interface"):
        run(resolve("fe80::1", 862))
    assert run(resolve("127.0.0.1", 862))[0][4] == ("127.0.0.1", 862)
    with pytest.raises(socket.gaierror):
        run(resolve("192.0.2.1", family=socket.AF_INET6))
