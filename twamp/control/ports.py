"""The pool of test ports: which Receiver Port a session gets, and which sessions share one."""

import socket
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from twamp.endpoint import Endpoint
from twamp.sockets import udp_socket


class Ports:
    """The ports of an inclusive range, on any local address; sockets are bound to ``device``.

    A port may serve several sessions if their senders differ; an unused one is preferred.
    """

    def __init__(self, test_ports: tuple[int, int], device: str | None = None) -> None:
        self._device = device
        # The number of sessions on each port, by the address (with port 0).
        self._uses: dict[Endpoint, Counter[int]] = {}
        self.reconfigure(test_ports)

    def reconfigure(self, test_ports: tuple[int, int]) -> None:
        """Sets another range, for sessions that are accepted from now on."""
        self._range = range(test_ports[0], test_ports[1] + 1)
        self._next = 0  # a position in the range

    def __str__(self) -> str:
        return f"{self._range[0]}-{self._range[-1]}"

    def candidates(self, wanted: Endpoint) -> Iterator[Endpoint]:
        """The wanted port if it is in the range, then unused ports in turn, then ports to share."""
        uses = self._uses.get(wanted._replace(port=0), Counter())
        if wanted.port in self._range:
            yield wanted
        first = self._next
        for used in (False, True):
            for position in chain(range(first, len(self._range)), range(first)):
                port = self._range[position]
                if (port in uses) is used:
                    self._next = (position + 1) % len(self._range)
                    yield wanted._replace(port=port)

    def is_used(self, local: Endpoint) -> bool:
        """Whether a session has this port."""
        return local.port in self._uses.get(local._replace(port=0), ())

    def use(self, local: Endpoint) -> None:
        """Notes one more session on this port."""
        self._uses.setdefault(local._replace(port=0), Counter())[local.port] += 1

    def release(self, local: Endpoint) -> None:
        """Notes one session less on this port."""
        host = local._replace(port=0)
        uses = self._uses[host]
        uses[local.port] -= 1
        if not uses[local.port]:
            del uses[local.port]
        if not uses:
            del self._uses[host]

    def open(self, local: Endpoint) -> socket.socket:
        """A UDP socket on this port; raises :class:`OSError`: EADDRINUSE when another program has it."""
        sock = udp_socket(local.ip_version, self._device)
        try:
            sock.bind(local.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock
