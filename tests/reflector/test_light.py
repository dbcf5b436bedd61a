"""Light sessions: opened on every address for every worker, and closed."""

import asyncio
import errno
import socket

from tests.support.reflector_bench import bound, endpoint, os_error, request
from tests.support.settings import settings
from twamp.reflector.build import make_workers
from twamp.reflector.light import LightSessions


def test_they_answer_until_they_are_closed() -> None:
    async def scenario() -> None:
        async with make_workers(settings().config, None) as workers:
            light = LightSessions(workers)
            sock = bound("127.0.0.1")
            address = endpoint(sock)
            light.open([[sock]])
            assert sock.fileno() == -1
            assert light.addresses == [address]
            loop = asyncio.get_running_loop()
            with bound("127.0.0.1") as client:
                client.setblocking(False)
                client.sendto(request(padding=bytes(27)), address.sockaddr)
                reply = await asyncio.wait_for(loop.sock_recv(client, 100), 10)
            assert len(reply) == 41
            light.close()
            assert light.addresses == []
            assert workers.stats().sessions == 0

    asyncio.run(scenario())


def test_each_worker_has_a_socket_of_each_address() -> None:
    async def scenario() -> None:
        async with make_workers(settings(workers=2).config, None) as workers:
            light = LightSessions(workers)
            sockets: list[list[socket.socket]] = []
            for _ in range(3):
                first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                first.bind(("127.0.0.1", 0))
                second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                second.bind(first.getsockname())
                sockets.append([first, second])
            light.open(sockets)
            assert len(light.addresses) == 3
            assert workers.stats().sessions == 6

    asyncio.run(scenario())


def test_an_engine_that_is_full_is_an_error() -> None:
    async def scenario() -> None:
        async with make_workers(settings(maximum_sessions=1).config, None) as workers:
            light = LightSessions(workers)
            with bound("127.0.0.1") as first, bound("127.0.0.1") as second, os_error(errno.ENOSPC):
                light.open([[first], [second]])

    asyncio.run(scenario())
