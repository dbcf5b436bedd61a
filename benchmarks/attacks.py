"""What one client can do to a Server: ``python -m benchmarks.attacks NAME PORT``, until it is ended.

A program of bench_fairness.py; it prints a line when it has begun.
"""

import contextlib
import itertools
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Sequence

from twamp.protocol.control_messages import (
    RequestTWSession,
    SetUpResponse,
    StartSessions,
    StopSessions,
)
from twamp.protocol.registries import Accept, Modes

ATTACKER = "127.0.0.2"
CONNECTIONS = 14
FOREVER = (1 << 64) - 1  # of Timeout
SET_UP = bytes(SetUpResponse(Modes.UNAUTHENTICATED))
GREETING, SERVER_START = 64, 48


def connect(port: int) -> socket.socket:
    """A connection that is reset at its end, so that the kernel keeps no state of it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.bind((ATTACKER, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def set_up(port: int) -> socket.socket:
    sock = connect(port)
    sock.recv(GREETING, socket.MSG_WAITALL)
    sock.sendall(SET_UP)
    sock.recv(SERVER_START, socket.MSG_WAITALL)
    return sock


def request(conf_sender: int = 0) -> bytes:
    return bytes(
        RequestTWSession(
            ip_version=4,
            sender_port=7000,
            receiver_port=0,
            timeout=FOREVER,
            conf_sender=conf_sender,
        )
    )


def pour(socks: Sequence[socket.socket], octets: bytes) -> None:
    """Sends the octets again and again on all connections, and reads what comes."""
    at = dict.fromkeys(socks, 0)
    for sock in socks:
        sock.setblocking(False)
    while True:
        readable, writable, _ = select.select(socks, socks, [])
        with contextlib.suppress(BlockingIOError):
            for sock in readable:
                sock.recv(1 << 16)
            for sock in writable:
                at[sock] = (at[sock] + sock.send(octets[at[sock] :])) % len(octets)


def sessions_of_one_port(port: int) -> None:
    """Requests, starts and stops sessions of one Sender Port, whose Timeout never ends."""
    stop = StopSessions(Accept.OK, number_of_sessions=8)
    pour([set_up(port)], b"".join((request() * 8, bytes(StartSessions()), bytes(stop))))


def refused_requests(port: int) -> None:
    """Pipelines requests that are refused."""
    pour([set_up(port) for _ in range(CONNECTIONS)], request(conf_sender=1) * 100)


def tokens(port: int) -> None:
    """Sends Tokens of unknown users, and resets at once."""
    token = bytes(SetUpResponse(Modes.ENCRYPTED, key_id=b"nobody".ljust(80, b"\0")))
    while True:
        with contextlib.suppress(OSError), connect(port) as sock:
            sock.sendall(token)


def connections(port: int) -> None:
    """Connects and resets at once."""
    while True:
        connect(port).close()


def silence(port: int) -> None:
    """Keeps hundreds of connections that say nothing, each replaced by a younger one."""
    held = [connect(port) for _ in range(500)]
    for place in itertools.cycle(range(len(held))):
        held[place].close()
        held[place] = connect(port)


def single_octets(port: int) -> None:
    """Sends requests in pieces of one octet."""
    socks = [set_up(port) for _ in range(CONNECTIONS)]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in itertools.cycle(request(conf_sender=1)):
        for sock in socks:
            sock.send(bytes([octet]))
            with contextlib.suppress(BlockingIOError):
                sock.recv(1 << 16, socket.MSG_DONTWAIT)


def handshakes(port: int) -> None:
    """Sets connections up, has a session on each, and resets."""
    while True:
        with contextlib.suppress(OSError), connect(port) as sock:
            sock.sendall(SET_UP + request() * 8 + bytes(StartSessions()))
            sock.recv(1)


ATTACKS: dict[str, Callable[[int], None]] = {
    attack.__name__: attack
    for attack in (
        *(sessions_of_one_port, refused_requests, tokens),
        *(connections, silence, single_octets, handshakes),
    )
}


if __name__ == "__main__":
    os.nice(19)  # the others' client, on the same core, waits for the Server and not for us
    print("begun", flush=True)
    ATTACKS[sys.argv[1]](int(sys.argv[2]))
