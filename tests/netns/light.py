"""A light responder at every address, and a client that asks each of some addresses.

Programs: ``python -m tests.netns.light serve`` until SIGTERM, then its drops as JSON; and
``python -m tests.netns.light ask ADDRESS…``, which prints the addresses that answered, each after the
question, as JSON; an address that is a broadcast or multicast one is asked, too.  An ADDRESS may be
``ADDRESS,SOURCE``: then it is asked from there.
"""

import asyncio
import json
import signal
import socket
import sys

from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionReflector
from twamp.protocol.packets import SenderPacket

PORT = 862
QUIET = 1.0  # seconds after which nothing will come


async def serve() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with SessionReflector() as reflector:
        for family, host in [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((host, PORT))
                reflector.add_light(Endpoint.from_sockaddr(sock.getsockname()), sock)
        print("listening", flush=True)
        await stop.wait()
        stats = reflector.stats()
    drops = {name: count for name, count in stats.drops.items() if count}
    print(json.dumps({"reflected": stats.reflected, "drops": drops}))


def answer_of(question: str) -> str | None:
    """Who answers a packet to that address; None when nobody does."""
    address, _, source_address = question.partition(",")
    [info] = socket.getaddrinfo(address, PORT, type=socket.SOCK_DGRAM)
    with socket.socket(info[0], socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.settimeout(QUIET)
        if source_address:
            sock.bind((source_address, 0))
        sock.sendto(bytes(SenderPacket(1, 0, 1, padding=bytes(27))), info[4])
        try:
            _, source = sock.recvfrom(2048)
        except TimeoutError:
            return None
        return socket.getnameinfo(source, socket.NI_NUMERICHOST)[0]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        print(json.dumps({address: answer_of(address) for address in sys.argv[2:]}))
