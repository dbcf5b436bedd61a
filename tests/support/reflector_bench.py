"""A Session-Reflector on loopback without its thread: one turn of the loop at a time."""

import socket
from contextlib import ExitStack
from typing import Any

import pytest

from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.engine.statistics import ReflectorStats
from twamp.protocol.packets import SenderPacket

TIMEOUT_MS = 5000  # for what comes at once


def request(number: int = 0, padding: bytes = b"", error_estimate: int = 1) -> bytes:
    return bytes(SenderPacket(number, 0xEAEBFDCE40000000 + number, error_estimate, padding=padding))


def bound(host: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    sock.settimeout(TIMEOUT_MS / 1000)
    return sock


def endpoint(sock: socket.socket) -> Endpoint:
    return Endpoint.from_sockaddr(sock.getsockname())


def require_balance(stats: ReflectorStats) -> None:
    assert stats.received == stats.reflected + sum(stats.drops.values())
    assert stats.received == sum(stats.receive_sources.values())
    assert stats.counters["segmented"] <= stats.reflected


class Bench:
    """A reflector without a thread, a port of it, and clients; what is opened here is closed."""

    def __init__(self, host: str, **options: Any) -> None:
        self.host = host
        self.stack = ExitStack()
        self.reflector = SessionReflector(**options)
        self.stack.callback(self.reflector.close)
        self.port = self.stack.enter_context(bound(host))
        self.local = endpoint(self.port)

    def client(self, host: str | None = None) -> socket.socket:
        return self.stack.enter_context(bound(host or self.host))

    def add(self, client: socket.socket, *, started: bool = True, dscp: int = 0) -> int:
        config = SessionConfig(local=self.local, peer=endpoint(client), dscp=dscp)
        session = self.reflector.add(config, self.port)
        if started:
            self.reflector.start(session)
        return session

    def session(self, **options: Any) -> tuple[socket.socket, int]:
        client = self.client()
        return client, self.add(client, **options)

    def turn(self, packets: int) -> None:
        """Turns of the loop until so many packets were read."""
        while packets > 0:
            read = self.reflector.step(TIMEOUT_MS)
            assert read > 0, f"{packets} packets did not come"
            packets -= read
        assert packets == 0

    def send(self, client: socket.socket, *requests: bytes) -> None:
        for octets in requests:
            client.sendto(octets, self.local.sockaddr)
        self.turn(len(requests))

    def exchange(self, client: socket.socket, octets: bytes) -> bytes:
        self.send(client, octets)
        reply, source = client.recvfrom(1 << 16)
        assert endpoint(self.port) == Endpoint.from_sockaddr(source)
        return reply

    def drops(self) -> dict[str, int]:
        """Those that are not zero; and the sums are right."""
        stats = self.reflector.stats()
        require_balance(stats)
        return {name: count for name, count in stats.drops.items() if count}


def require_silence(client: socket.socket) -> None:
    """Loopback delivers before sendmmsg returns, so what is not here was not sent."""
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    client.settimeout(TIMEOUT_MS / 1000)


def await_kernel_stamps() -> None:
    """Until the kernel stamps what arrives: it begins a moment after the first socket asked."""
    with bound("127.0.0.1") as probe:
        for _ in range(100_000):
            probe.sendto(b"", probe.getsockname())
            probe.setsockopt(socket.SOL_SOCKET, 65, 1 << 3 | 1 << 4)
            _, messages, _, _ = probe.recvmsg(1, 256)
            probe.setsockopt(socket.SOL_SOCKET, 65, 0)
            if messages:
                return
    pytest.fail("the kernel gives no receive stamps")


def os_error(number: int) -> "pytest.RaisesExc[OSError]":
    """``with os_error(errno.ENOENT): …``"""
    return pytest.raises(OSError, match=rf"Errno {number}\]")
