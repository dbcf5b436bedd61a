"""Fuzzes a real responder over TCP: ``python -m tests.fuzz.live [streams] [seed]``.

Each stream is a whole conversation of a client in one of the modes, mutated or not, cut off at some octet
by a reset or an end, among dozens of others that are open at the same time.  Afterwards the log must have
no traceback, no error that was not foreseen may be counted, and no descriptor, connection or session be
left; exit code 1 otherwise.
"""

import asyncio
import contextlib
import os
import socket
import struct
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random, SystemRandom

from tests.fuzz.mutate import mutate
from tests.support.twampd import Twampd
from twamp.protocol.control_messages import (
    RequestTWSession,
    ServerGreeting,
    SetUpResponse,
    StartSessions,
    StopSessions,
)
from twamp.protocol.crypto import SealingStream, SessionKeys, seal_token, token_key
from twamp.protocol.message import Message
from twamp.protocol.registries import Accept, Modes

USER, PASSPHRASE = "alice", b"open sesame"
KEYS = SessionKeys(bytes(range(16)), bytes(range(32)))
OPEN_AT_ONCE = 48
MUTATED = 0.6
SECURED = 0.3
RESET = 0.7
GONE_WITHIN = 20.0  # seconds
GREETING = ServerGreeting.LAYOUT.size
OPTIONS = (
    *("--listen-address", "127.0.0.1", "--pbkdf2-count", "1024", "--maximum-connections", "64"),
    *("--handshake-timeout", "3", "--server-inactivity-timeout", "3"),
    *("--test-ports", "20000-20999"),
)


def commands(random: Random) -> list[Message]:
    """What a client says once it is set up; not always what it may say."""
    requests = [
        RequestTWSession(ip_version=4, sender_port=random.randint(1, 65535), receiver_port=0)
        for _ in range(random.randint(0, 4))
    ]
    stop = StopSessions(Accept.OK, number_of_sessions=len(requests))
    return [*requests, StartSessions(), stop] * random.randint(1, 2)


class Client:
    """Makes the streams of clients; each has to see the greeting first in the secured modes."""

    def __init__(self, port: int, random: Random) -> None:
        self._port = port
        self._random = random
        self._token_keys: dict[bytes, bytes] = {}
        self._others = [bytes(message) for message in commands(Random(1))]

    def play(self) -> socket.socket:
        """Connects, sends one stream up to its last octet, and returns the connection."""
        source = f"127.1.{self._random.randint(0, 255)}.{self._random.randint(1, 254)}"
        sock = socket.create_connection(("127.0.0.1", self._port), 10, (source, 0))
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            octets = self._secured(sock) if self._random.random() < SECURED else self._open()
            if self._random.random() < MUTATED:
                octets = mutate(self._random, octets, self._others)
            sock.sendall(octets[: self._random.randint(0, len(octets))])
        return sock

    def _open(self) -> bytes:
        set_up = SetUpResponse(Modes.UNAUTHENTICATED)
        return b"".join(map(bytes, (set_up, *commands(self._random))))

    def _secured(self, sock: socket.socket) -> bytes:
        greeting = ServerGreeting.parse(sock.recv(GREETING, socket.MSG_WAITALL))
        key = self._token_keys.get(greeting.salt)
        if key is None:
            key = token_key(PASSPHRASE, greeting.salt, greeting.count)
            self._token_keys[greeting.salt] = key
        mode = self._random.choice((Modes.AUTHENTICATED, Modes.ENCRYPTED, Modes.MIXED))
        token = seal_token(key, greeting.challenge, KEYS)
        set_up = SetUpResponse(mode, USER.encode().ljust(80, b"\0"), token, client_iv=bytes(16))
        stream = SealingStream(KEYS, bytes(16))
        return bytes(set_up) + b"".join(stream.seal(bytes(m)) for m in commands(self._random))

    def leave(self, sock: socket.socket) -> None:
        """Resets the connection, or closes it in good order."""
        if self._random.random() < RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@contextlib.contextmanager
def victim(directory: Path) -> Iterator[Twampd]:
    """The responder, with one user."""
    keys = directory / "keys"
    keys.touch(0o600)
    keys.write_text(f"{USER} {PASSPHRASE.hex()}\n")
    with Twampd.running(directory, *OPTIONS, "--key-file", str(keys)) as twampd:
        yield twampd


def descriptors(twampd: Twampd) -> int:
    return len(os.listdir(f"/proc/{twampd.process.pid}/fd"))


def attack(twampd: Twampd, streams: int, random: Random) -> None:
    """Plays the streams, dozens at a time."""
    client = Client(twampd.port, random)
    waiting: deque[socket.socket] = deque()
    for _ in range(streams):
        waiting.append(client.play())
        while len(waiting) > random.randint(0, OPEN_AT_ONCE):
            client.leave(waiting.popleft())
    for sock in waiting:
        client.leave(sock)


def faults(twampd: Twampd, before: int) -> list[str]:
    """What is left or went wrong; ``before`` is the number of descriptors at the beginning."""
    until = time.monotonic() + GONE_WITHIN
    while True:
        state = asyncio.run(twampd.show("counters"))
        status = state["status"]
        left = {
            "connections": status["connections"]["current"],
            "handshakes": status["handshaking"],
            "sessions": status["sessions"]["current"],
            "descriptors": descriptors(twampd) - before,
        }
        if not any(left.values()) or time.monotonic() > until:
            break
        time.sleep(0.05)
    found = [f"{number} {name} are left" for name, number in left.items() if number]
    events = state["counters"]["events"]
    unforeseen = ("connection_failed", "unhandled", "accept_failed")
    found += [f"{events[name]} {name}" for name in unforeseen if events.get(name)]
    found += [line for line in twampd.lines if "Traceback" in line or "never retrieved" in line]
    return found


def main(streams: int, seed: int) -> int:
    print(f"seed {seed}, {streams} streams")
    with tempfile.TemporaryDirectory() as directory, victim(Path(directory)) as twampd:
        before = descriptors(twampd)
        began = time.monotonic()
        attack(twampd, streams, Random(seed))
        took = time.monotonic() - began
        found = faults(twampd, before)
        counters = asyncio.run(twampd.show("counters"))["counters"]
        print(f"{took:.0f} s, {streams / took:.0f} a second, {len(twampd.lines)} lines of log")
        print(f"sessions accepted: {counters['sessions']['accepted']}, {counters['events']}")
    for fault in found:
        print(f"finding: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    raise SystemExit(
        main(
            arguments[0] if arguments else 200_000,
            arguments[1] if len(arguments) > 1 else SystemRandom().getrandbits(32),
        )
    )
