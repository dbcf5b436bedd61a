"""twping's timestamps are compared with a capture at both ends of the cable.

A received packet has one stamp of the kernel's, which the capture and the program both get: T2 and T4
must be the captures', to the nanosecond.  A sent packet passes the capture before the driver stamps it
(T1), and after the reflector reads its clock (T3): so ``out ≤ T1 ≤ in = T2 ≤ T3 ≤ out ≤ in = T4``,
whatever else the machine does.
"""

from typing import Any, NamedTuple

import pytest

from tests.netns.programs import SERVER, Pair, capture, captured, twampd

pytestmark = pytest.mark.root

COUNT = 200
SIZE = 41  # octets of a packet and of its reply, with twping's default padding
UNIX_EPOCH = 2_208_988_800  # in NTP seconds
BOTH = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


class Row(NamedTuple):
    """T1 to T4 of one row of ``-R``, Unix ns."""

    t1: int
    t2: int
    t3: int
    t4: int


def unix_ns(ntp: str) -> int:
    seconds, fraction = divmod(int(ntp), 1 << 32)
    return (seconds - UNIX_EPOCH) * 10**9 + (fraction * 10**9 + (1 << 31) >> 32)


def rows_of(text: str) -> dict[int, Row]:
    cells = [line.split() for line in text.splitlines()]
    return {int(row[0]): Row(*(unix_ns(row[place]) for place in (1, 4, 9, 12))) for row in cells}


def seen(packets: list[dict[str, Any]], *, reply: bool, outgoing: bool) -> dict[int, int]:
    """When each test packet, by the sender's number, passed an interface in one direction."""
    place = 24 if reply else 0  # RFC 5357 section 4.2.1, RFC 4656 section 4.1.2
    times = {}
    for packet in packets:
        if packet["outgoing"] is outgoing:
            payload = bytes.fromhex(packet["payload"])
            assert len(payload) % SIZE == 0
            for begin in range(place, len(payload), SIZE):  # replies may leave as segments of one
                times[int.from_bytes(payload[begin : begin + 4])] = packet["at_ns"]
    return times


@BOTH
def test_every_time_is_that_of_the_wire(pair: Pair, version: int) -> None:
    twampd(pair.server)
    here, there = capture(pair.client, "eth-c"), capture(pair.server, "eth-s")
    options = ["-R", "-c", str(COUNT), "-i", "0.002f", "-L", "0.5"]
    finished = pair.client.python("-m", "twamp.ping", *options, SERVER[version])
    assert finished.returncode == 0, finished.stderr
    rows = rows_of(finished.stdout)
    near, far = captured(here), captured(there)
    left, returned = seen(near, reply=False, outgoing=True), seen(near, reply=True, outgoing=False)
    arrived, reflected = (
        seen(far, reply=False, outgoing=False),
        seen(far, reply=True, outgoing=True),
    )
    assert [*rows] == [*left] == [*range(COUNT)]
    for number, row in rows.items():
        assert row.t2 == arrived[number]
        assert row.t4 == returned[number]
        assert left[number] <= row.t1 <= row.t2 <= row.t3 <= reflected[number] <= row.t4
