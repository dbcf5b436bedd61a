"""A relay for test packets that loses, copies, holds and delays exactly the packets of its schedule.

It stands on loopback between a Session-Sender, which takes ``front`` for the Session-Reflector, and
the Session-Reflector, which takes ``back`` for the Session-Sender::

    sender  ⇄  front | relay | back  ⇄  destination

Packets of a direction are numbered from 0 as they come to the relay; a schedule names the fate of
some numbers, and the others go straight through.  No chance, and no clock but for delays: the same
packets and the same schedule give the same result.
"""

import heapq
import os
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from tests.support.scripted_reflector import LOOPBACK, ScriptedReflector
from twamp.endpoint import Endpoint

MAXIMUM_TTL = 255  # a relay is no router: hops stay 0


class Fate(NamedTuple):
    """What becomes of one packet.

    It waits until the packet with the number ``hold`` higher has come and met its own fate, then
    ``delay_ns``; then ``copies`` of it go (0: it is lost).
    """

    copies: int = 1
    hold: int = 0
    delay_ns: int = 0


PASS = Fate()
DROP = Fate(copies=0)
Schedule = Mapping[int, Fate]


class Departure(NamedTuple):
    """One datagram that the relay sent on; times are of CLOCK_MONOTONIC."""

    number: int
    came_ns: int
    went_ns: int


@dataclass
class Direction:
    """One way through the relay: what shall happen, and what did.

    ``came`` holds the octets of each packet, by number; ``went`` what left, in that order, copies
    included; ``dropped`` the numbers that did not.
    """

    schedule: Schedule
    came: list[bytes] = field(default_factory=list)
    went: list[Departure] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    _held: dict[int, list[int]] = field(default_factory=dict)  # by the number that lets them go
    _came_ns: list[int] = field(default_factory=list)

    @property
    def order(self) -> list[int]:
        """The numbers of what left."""
        return [departure.number for departure in self.went]

    @property
    def held(self) -> list[int]:
        """Numbers whose time has not come; so when it is over, packets lost after all."""
        return sorted(number for numbers in self._held.values() for number in numbers)

    def meet(self, octets: bytes, now_ns: int) -> list[int]:
        """A packet comes; returns the numbers that go now, it or others, in that order."""
        number = len(self.came)
        self.came.append(octets)
        self._came_ns.append(now_ns)
        fate = self.schedule.get(number, PASS)
        going = []
        if fate.copies == 0:
            self.dropped.append(number)
        elif fate.hold:
            self._held.setdefault(number + fate.hold, []).append(number)
        else:
            going.append(number)
        return going + self._held.pop(number, [])

    def copies(self, number: int) -> int:
        return self.schedule.get(number, PASS).copies

    def delay_ns(self, number: int) -> int:
        return self.schedule.get(number, PASS).delay_ns

    def note(self, number: int, now_ns: int) -> None:
        self.went.append(Departure(number, self._came_ns[number], now_ns))


class Relay:
    """The relay, in a thread of its own while ``with`` lasts; look at the directions after that.

    ``destination`` is the Session-Reflector's; it may be set later, but before the first packet.
    Replies go to whoever sent the last packet to ``front``.
    """

    def __init__(
        self, ip_version: int, forward: Schedule | None = None, reverse: Schedule | None = None
    ) -> None:
        self.forward = Direction(forward or {})
        self.reverse = Direction(reverse or {})
        self.destination: Endpoint | None = None
        self._source: Any = None
        self._front = _bound(ip_version)
        self._back = _bound(ip_version)
        self.front = Endpoint.from_sockaddr(self._front.getsockname())
        self.back = Endpoint.from_sockaddr(self._back.getsockname())
        self._due: list[tuple[int, int, Direction, int]] = []  # heap: when, order, way, number
        self._delayed = 0
        self._end, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="relay")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._wake)
        self._thread.join()
        os.close(self._end)
        self._front.close()
        self._back.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock, direction in ((self._front, self.forward), (self._back, self.reverse)):
                selector.register(sock, selectors.EVENT_READ, (sock, direction))
            selector.register(self._end, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(self._patience()):
                    if key.data is None:
                        return
                    self._read(*key.data)
                self._send_due()

    def _patience(self) -> float | None:
        """Seconds until the next delayed packet is due."""
        if not self._due:
            return None
        return max(0, self._due[0][0] - time.monotonic_ns()) / 1e9

    def _read(self, sock: socket.socket, direction: Direction) -> None:
        octets, source = sock.recvfrom(65535)
        if direction is self.forward:
            self._source = source
        now_ns = time.monotonic_ns()
        for number in direction.meet(octets, now_ns):
            delay_ns = direction.delay_ns(number)
            if delay_ns:
                self._delayed += 1
                heapq.heappush(self._due, (now_ns + delay_ns, self._delayed, direction, number))
            else:
                self._send(direction, number)

    def _send_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic_ns():
            _, _, direction, number = heapq.heappop(self._due)
            self._send(direction, number)

    def _send(self, direction: Direction, number: int) -> None:
        for _ in range(direction.copies(number)):
            direction.note(number, time.monotonic_ns())
            if direction is self.reverse:
                self._front.sendto(direction.came[number], self._source)
            elif self.destination is not None:
                self._back.sendto(direction.came[number], self.destination.sockaddr)


def _bound(ip_version: int) -> socket.socket:
    sock = ScriptedReflector.bound(LOOPBACK[ip_version])
    sock.setblocking(True)
    if ip_version == 4:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, MAXIMUM_TTL)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, MAXIMUM_TTL)
    return sock
