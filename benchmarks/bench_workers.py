"""Do two workers reflect two flows faster than one?

Load and workers would need three cores.  So the packets are there before the workers are: while ``twampd`` is
stopped (SIGSTOP) the sockets of two sessions are filled, and when it goes on nothing else runs.  The rate is
that of the replies' own T3, from the first of all to the last: the load cannot be its limit.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from benchmarks.load import Flow, reflected
from benchmarks.programs import cores, cpu_ns, responder
from benchmarks.rounds import Side, interleave, publish
from twamp.protocol.packets import ReflectorPacket, SenderPacket
from twamp.protocol.timestamps import unix_ns_from_ntp

LENGTH = 41
FLOWS = 2
MOST_PACKETS = 4000  # of each flow
PACKET_IN_BUFFER = 2 * 832  # octets of a receive buffer, and as many to spare
RECEIVE_BUFFER = 8 << 20
SO_RCVBUFFORCE = 33
PAUSE = 0.1  # seconds, in which all that is there is reflected


def enlarge(sock: socket.socket) -> int:
    """How many packets the socket can hold: root's more."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return min(MOST_PACKETS, granted // PACKET_IN_BUFFER)


def drain(pid: int, socks: Sequence[socket.socket], flows: Sequence[Flow], count: int) -> list[int]:
    """Fills the sockets of a stopped reflector, lets it go on, and returns T3 of each reply."""
    packet = bytes(SenderPacket(0, 0, 1, padding=bytes(LENGTH - 14)))
    os.kill(pid, signal.SIGSTOP)
    try:
        for sock, flow in zip(socks, flows, strict=True):
            for _ in range(count):
                sock.sendto(packet, (flow.address, flow.port))
    finally:
        os.kill(pid, signal.SIGCONT)
    time.sleep(PAUSE)
    stamps = []
    for sock in socks:
        with contextlib.suppress(BlockingIOError):
            while True:
                reply = ReflectorPacket.parse(sock.recv(LENGTH, socket.MSG_DONTWAIT))
                stamps.append(unix_ns_from_ntp(reply.timestamp))
    return stamps


@contextlib.contextmanager
def workers(number: int, times: int) -> Iterator[Side]:
    both = sorted(cores()[0] | cores()[1])
    options = [f"--cpu={processor}" for processor in both[:number]]
    with contextlib.ExitStack() as opened:
        twampd = opened.enter_context(
            responder(set(both), "--workers", str(number), "--tx-batch", "2", *options)
        )
        flows = [opened.enter_context(reflected(twampd, LENGTH))[0] for _ in range(FLOWS)]
        socks = [opened.enter_context(socket.socket(fileno=os.dup(flow.fd))) for flow in flows]
        count = min(map(enlarge, socks))

        def run() -> Mapping[str, float]:
            elapsed_ns = replies = 0
            before_ns = cpu_ns(twampd.pid)
            for _ in range(times):
                stamps = drain(twampd.pid, socks, flows, count)
                replies += len(stamps)
                elapsed_ns += max(stamps) - min(stamps)
            return {
                "packets_per_s": replies / elapsed_ns * 1e9,
                "cpu_ns_per_packet": (cpu_ns(twampd.pid) - before_ns) / replies,
                "lost": times * FLOWS * count - replies,
            }

        yield run


def bench_workers(benchmark: Any) -> None:
    if len(cores()[0] | cores()[1]) < FLOWS:
        pytest.skip("NOT MEASURED: two workers need two cores")
    times = 1 if benchmark.disabled else 5
    with workers(1, times) as one, workers(2, times) as two:
        rounds = interleave(benchmark, {"1 worker": one, "2 workers": two})
    publish(
        benchmark,
        "two flows of packets that wait, 41 octets:",
        rounds,
        ("packets_per_s", "2 workers", "1 worker"),
        ("cpu_ns_per_packet", "2 workers", "1 worker"),
        headlines=2,
    )
