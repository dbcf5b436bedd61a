"""A reflector for tests of the Session-Sender: it answers each packet as a script says."""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from twamp.endpoint import Endpoint

# RFC 5357 section 4.2.1, unauthenticated, spelled anew: the test is a second witness.
REPLY = struct.Struct("!IQH2xQIQH2xB")
REQUEST = struct.Struct("!IQH")
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


@dataclass
class Request:
    """A packet as it came; ``receive_ns`` is the kernel's stamp, in Unix ns."""

    octets: bytes
    source: Any
    receive_ns: int
    ttl: int
    tos: int
    sequence_number: int = field(init=False)
    timestamp: int = field(init=False)
    error_estimate: int = field(init=False)

    def __post_init__(self) -> None:
        head = REQUEST.unpack_from(self.octets)
        self.sequence_number, self.timestamp, self.error_estimate = head

    def reply(self, **changes: int) -> bytes:
        """The 41 octets of an honest reply, with made-up times that tell of the sequence number."""
        number = self.sequence_number
        fields = {
            "sequence_number": number + 500,
            "timestamp": (3_900_000_000 << 32) + 2 * number + 1,
            "error_estimate": 0x8107,
            "receive_timestamp": (3_900_000_000 << 32) + 2 * number,
            "sender_sequence_number": number,
            "sender_timestamp": self.timestamp,
            "sender_error_estimate": self.error_estimate,
            "sender_ttl": 77,
        }
        assert changes.keys() <= fields.keys()
        return REPLY.pack(*(fields | changes).values())


Script = Callable[["ScriptedReflector", Request], None]


class ScriptedReflector:
    """Calls ``script(reflector, request)`` for each packet; a script answers with :meth:`send`."""

    def __init__(self, script: Script, ip_version: int = 4) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.replies = 0
        self.sock = self.bound(LOOPBACK[ip_version])
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if ip_version == 4:
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            self.sock.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
        else:
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        self.endpoint = Endpoint.from_sockaddr(self.sock.getsockname())

    @staticmethod
    def bound(address: str) -> socket.socket:
        """A UDP socket on a port of the kernel's choice, with as large a buffer as may be had."""
        family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((address, 0))
        return sock

    def __enter__(self) -> "ScriptedReflector":
        asyncio.get_running_loop().add_reader(self.sock, self._read)
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()

    def send(self, octets: bytes, request: Request) -> None:
        self.replies += 1
        self.sock.sendto(octets, request.source)

    def _read(self) -> None:
        for _ in range(64):
            try:
                octets, control, _flags, source = self.sock.recvmsg(65535, 256)
            except BlockingIOError:
                return
            ttl, tos, receive_ns = -1, -1, 0
            for level, kind, value in control:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanoseconds = struct.unpack("qq", value)
                    receive_ns = seconds * 10**9 + nanoseconds
                elif (level, kind) in ((0, 2), (41, socket.IPV6_HOPLIMIT)):
                    ttl = struct.unpack("i", value)[0]
                elif (level, kind) in ((0, 1), (41, socket.IPV6_TCLASS)):
                    tos = value[0]
            request = Request(octets, source, receive_ns, ttl, tos)
            self.requests.append(request)
            self.script(self, request)


def answer(reflector: ScriptedReflector, request: Request) -> None:
    """The script that answers everything."""
    reflector.send(request.reply(), request)
