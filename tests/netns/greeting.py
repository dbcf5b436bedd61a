"""Connects as TWAMP-Control does and prints how many octets of the Server Greeting come: 64, or 0 when cut off.

A program: ``python -m tests.netns.greeting SOURCE SERVER``.  A Server that is not there is an error.
"""

import contextlib
import socket
import sys

PORT = 862
LENGTH = 64  # of a Server Greeting
WITHIN = 30  # seconds


def octets_of_greeting(source: str, server: str) -> int:
    greeting = b""
    # It may come even before connect() returns.
    with (
        contextlib.suppress(ConnectionResetError),
        socket.create_connection((server, PORT), WITHIN, (source, 0)) as sock,
    ):
        while len(greeting) < LENGTH and (octets := sock.recv(LENGTH - len(greeting))):
            greeting += octets
    return len(greeting)


if __name__ == "__main__":
    print(octets_of_greeting(*sys.argv[1:]))
