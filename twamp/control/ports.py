"""The pool of test ports: which Receiver Port a session gets, and which sessions share one.

A port is found in constant time, however many sessions there are: each local address has a queue of the
ports that no session uses, and once it is empty each sender has a queue of the ports that it may share.
"""

import errno
import itertools
import os
import resource
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from twamp.endpoint import Endpoint
from twamp.sockets import udp_socket

MOST_TRIES = 64  # unused ports that are tried before one is shared: other programs may have some


class _Queue:
    """The ports of a range, from a position on: first those that were never taken, then those given back."""

    def __init__(self, ports: range, first: int) -> None:
        self._ports = ports
        self._first = first
        self._passed = 0
        self._given_back: OrderedDict[int, None] = OrderedDict()

    def front(self, taken: Container[int] = ()) -> int | None:
        """The next port that is not taken; those that are leave the queue."""
        while (port := self._front()) is not None and port in taken:
            self.leave()
        return port

    def _front(self) -> int | None:
        if self._passed < len(self._ports):
            return self._ports[(self._first + self._passed) % len(self._ports)]
        return next(iter(self._given_back), None)

    def leave(self) -> None:
        """Takes the port at the front out of the queue."""
        if self._passed < len(self._ports):
            self._passed += 1
        elif self._given_back:
            self._given_back.popitem(last=False)

    def give_back(self, port: int) -> None:
        """Puts a port at the end of the queue, once."""
        if port in self._ports:
            self._given_back[port] = None


@dataclass
class _Host:
    """The ports of one local address."""

    unused: _Queue
    uses: Counter[int] = field(default_factory=Counter)  # sessions on each port
    held: Counter[Endpoint] = field(default_factory=Counter)  # sessions of each sender
    shareable: dict[Endpoint, _Queue] = field(default_factory=dict)  # by sender


def _all_descriptors() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit


class Ports:
    """The ports of an inclusive range, on any local address; ``device`` is what sockets are bound to.

    A port may serve several sessions if their senders differ; an unused one is preferred.  Descriptors from
    the number on that ``descriptors`` gives are not for test ports: control connections need some.
    """

    def __init__(
        self,
        test_ports: tuple[int, int],
        device: str | None = None,
        descriptors: Callable[[], int] | None = None,
    ) -> None:
        self._device = device
        self._descriptors = descriptors or _all_descriptors
        self._hosts: dict[Endpoint, _Host] = {}  # by the address, with port 0
        self.reconfigure(test_ports)

    def reconfigure(self, test_ports: tuple[int, int]) -> None:
        """Sets another range, for sessions that are accepted from now on."""
        self._range = range(test_ports[0], test_ports[1] + 1)
        self._next = 0  # a position in the range
        for host in self._hosts.values():
            host.unused = _Queue(self._range, 0)
            host.shareable.clear()

    def __str__(self) -> str:
        return f"{self._range[0]}-{self._range[-1]}"

    def candidates(self, wanted: Endpoint, sender: Endpoint) -> Iterator[Endpoint]:
        """The wanted port if it is in the range, then unused ports in turn, then ports to share.

        Call :meth:`use` for the one that works; asking for another means that the last one does not.
        """
        if wanted.port in self._range:
            yield wanted
        host = self._host(wanted)
        unused = self._unused(wanted, host)
        yield from itertools.islice(unused, MOST_TRIES)
        try:
            yield from self._to_share(wanted, sender, host)
        finally:
            if sender not in host.held:
                host.shareable.pop(sender, None)
        yield from unused

    def _unused(self, wanted: Endpoint, host: _Host) -> Iterator[Endpoint]:
        """Ports that no session has, each once."""
        first = None
        while (port := host.unused.front(taken=host.uses)) is not None and port != first:
            first = first or port
            yield wanted._replace(port=port)
            host.unused.leave()
            host.unused.give_back(port)  # another program has it, and may end

    def _to_share(self, wanted: Endpoint, sender: Endpoint, host: _Host) -> Iterator[Endpoint]:
        """Ports that other sessions have, each once until the sender releases one."""
        shareable = host.shareable.setdefault(sender, _Queue(self._range, self._next))
        while (port := shareable.front()) is not None:
            if port in host.uses:
                yield wanted._replace(port=port)
            shareable.leave()  # this sender has it, or another program

    def _host(self, local: Endpoint) -> _Host:
        key = local._replace(port=0)
        host = self._hosts.get(key)
        return _Host(_Queue(self._range, self._next)) if host is None else host

    def is_used(self, local: Endpoint) -> bool:
        """Whether a session has this port."""
        host = self._hosts.get(local._replace(port=0))
        return host is not None and local.port in host.uses

    def use(self, local: Endpoint, sender: Endpoint) -> None:
        """Notes one more session on this port."""
        host = self._hosts[local._replace(port=0)] = self._host(local)
        host.uses[local.port] += 1
        host.held[sender] += 1
        if local.port in self._range:
            self._next = (local.port - self._range[0] + 1) % len(self._range)

    def release(self, local: Endpoint, sender: Endpoint) -> None:
        """Notes one session less on this port."""
        host = self._hosts[local._replace(port=0)]
        host.uses[local.port] -= 1
        if not host.uses[local.port]:
            del host.uses[local.port]
            host.unused.give_back(local.port)
        if sender in host.shareable:
            host.shareable[sender].give_back(local.port)
        host.held[sender] -= 1
        if not host.held[sender]:
            del host.held[sender]
            host.shareable.pop(sender, None)
        if not host.uses:
            del self._hosts[local._replace(port=0)]

    def open(self, local: Endpoint) -> socket.socket:
        """A UDP socket on this port.

        Raises :class:`OSError`: EADDRINUSE when another program has the port, EMFILE when the descriptors
        that are left are not for test ports.
        """
        sock = udp_socket(local.ip_version, self._device)
        try:
            # The engine duplicates it: the number of the duplicate is the one that stays.
            duplicate = os.dup(sock.fileno())
            os.close(duplicate)
            if duplicate >= self._descriptors():
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            sock.bind(local.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock
