"""The relay by itself: it does what its schedule says, to the packet, and its record tells so."""

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.relay import DROP, Fate, Relay, Schedule
from tests.support.scripted_reflector import LOOPBACK

MILLISECOND = 10**6
PATIENCE_S = 10  # for what comes at once; nothing waits so long unless the test fails


class Ends:
    """A plain socket on either side of a relay."""

    def __init__(self, relay: Relay, ip_version: int) -> None:
        self.relay = relay
        family = socket.AF_INET if ip_version == 4 else socket.AF_INET6
        self.near, self.far = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.near, self.far):
            sock.bind((LOOPBACK[ip_version], 0))
            sock.settimeout(PATIENCE_S)

    def close(self) -> None:
        self.near.close()
        self.far.close()

    def push(self, count: int, end: bytes = b"") -> list[bytes]:
        """Sends ``count`` packets forward and returns what comes out, up to the last of them."""
        for number in range(count):
            self.near.sendto(b"packet %d" % number, self.relay.front.sockaddr)
        end = end or b"packet %d" % (count - 1)
        out: list[bytes] = []
        while not out or out[-1] != end:
            octets, source = self.far.recvfrom(100)
            assert source[1] == self.relay.back.port
            out.append(octets)
        return out


Make = Callable[..., Ends]


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def between(request: pytest.FixtureRequest) -> Iterator[Make]:
    opened: list[Ends] = []

    def make(forward: Schedule | None = None, reverse: Schedule | None = None) -> Ends:
        relay = Relay(request.param, forward, reverse)
        ends = Ends(relay, request.param)
        relay.destination = relay.back._replace(port=ends.far.getsockname()[1])
        opened.append(ends)
        relay.__enter__()
        return ends

    yield make
    for ends in opened:
        ends.relay.__exit__()
        ends.close()


def packets(*numbers: int) -> list[bytes]:
    return [b"packet %d" % number for number in numbers]


def test_without_a_schedule_everything_goes_through_in_order(between: Make) -> None:
    ends = between()
    assert ends.push(100) == packets(*range(100))
    assert ends.relay.forward.order == list(range(100))
    assert ends.relay.forward.dropped == ends.relay.forward.held == []


def test_replies_come_from_the_port_that_was_written_to(between: Make) -> None:
    ends = between()
    ends.push(1)
    ends.far.sendto(b"reply", ends.relay.back.sockaddr)
    octets, source = ends.near.recvfrom(100)
    assert (octets, source[1]) == (b"reply", ends.relay.front.port)
    assert ends.relay.reverse.came == [b"reply"]


def test_what_shall_be_lost_is_lost(between: Make) -> None:
    ends = between({0: DROP, 3: DROP})
    assert ends.push(6) == packets(1, 2, 4, 5)
    assert ends.relay.forward.dropped == [0, 3]
    assert ends.relay.forward.came == packets(*range(6))


def test_copies_follow_at_once_and_are_the_same_octets(between: Make) -> None:
    ends = between({1: Fate(copies=4)})
    assert ends.push(3) == packets(0, 1, 1, 1, 1, 2)
    assert ends.relay.forward.order == [0, 1, 1, 1, 1, 2]


def test_a_held_packet_goes_after_the_packet_that_lets_it_go(between: Make) -> None:
    ends = between({1: Fate(hold=1), 4: Fate(hold=3)})
    assert ends.push(9) == packets(0, 2, 1, 3, 5, 6, 7, 4, 8)
    assert ends.relay.forward.order == [0, 2, 1, 3, 5, 6, 7, 4, 8]


def test_a_held_packet_goes_even_if_the_other_is_lost_or_held(between: Make) -> None:
    ends = between({0: Fate(hold=2), 1: Fate(hold=1), 2: Fate(hold=1)})
    assert ends.push(4, end=b"packet 2") == packets(0, 1, 3, 2)
    dropping = between({0: Fate(hold=1), 1: DROP})
    assert dropping.push(3) == packets(0, 2)


def test_what_nothing_lets_go_is_on_the_record(between: Make) -> None:
    ends = between({2: Fate(hold=50)})
    assert ends.push(4) == packets(0, 1, 3)
    assert ends.relay.forward.held == [2]


def test_a_delayed_packet_is_late_by_as_much_and_keeps_nobody_waiting(between: Make) -> None:
    ends = between({0: Fate(delay_ns=50 * MILLISECOND), 1: Fate(copies=2, delay_ns=MILLISECOND)})
    out = ends.push(3, end=b"packet 0")
    assert sorted(out) == packets(0, 1, 1, 2)
    for number, came_ns, went_ns in ends.relay.forward.went:
        assert went_ns - came_ns >= {0: 50, 1: 1, 2: 0}[number] * MILLISECOND


def test_the_two_directions_have_their_own_schedules(between: Make) -> None:
    ends = between({1: DROP}, {0: Fate(copies=2)})
    assert ends.push(3) == packets(0, 2)
    for octets in (b"a", b"b"):
        ends.far.sendto(octets, ends.relay.back.sockaddr)
    assert [ends.near.recv(100) for _ in range(3)] == [b"a", b"a", b"b"]


def test_it_leaves_neither_thread_nor_descriptor() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with Relay(4, {0: Fate(hold=1)}):
        assert any(thread.name == "relay" for thread in threading.enumerate())
    assert not any(thread.name == "relay" for thread in threading.enumerate())
    assert sorted(os.listdir("/proc/self/fd")) == before
