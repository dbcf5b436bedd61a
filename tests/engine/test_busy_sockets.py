"""Sockets that are never empty are asked without being waited for; none is forgotten by that."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from tests.support.reflector_bench import Bench, bound, endpoint, request, require_silence
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.protocol.packets import ReflectorPacket

BUSY = 64  # packets at once: more will come
MANY_SOCKETS = 100  # more than may be busy


@pytest.fixture
def bench() -> Iterator[Bench]:
    with (opened := Bench("127.0.0.1")).stack:
        yield opened


def numbers(count: int) -> list[bytes]:
    return [request(number) for number in range(count)]


def test_one_that_falls_silent_is_waited_for_again(bench: Bench) -> None:
    client, _ = bench.session()
    for _ in range(3):
        bench.send(client, *numbers(BUSY))
        assert bench.reflector.step(5000) == 0  # still busy: it is looked at, not waited for
        for _ in range(BUSY):
            client.recv(100)
        bench.exchange(client, request())  # the turn waits for this one
        require_silence(client)


def test_a_session_that_ends_while_its_socket_is_busy(bench: Bench) -> None:
    client, session = bench.session()
    bench.send(client, *numbers(BUSY))
    bench.reflector.remove(session)
    assert bench.reflector.step(0) == 0
    assert bench.reflector.stats().sockets == 0
    client = bench.client()
    bench.add(client)  # the same port, a new socket
    bench.exchange(client, request())


def test_a_busy_socket_with_other_sessions_goes_on(bench: Bench) -> None:
    (leaving, session), (staying, _) = bench.session(), bench.session()
    bench.send(leaving, *numbers(BUSY))
    bench.reflector.remove(session)
    bench.exchange(staying, request())
    bench.reflector.step(0)
    bench.exchange(staying, request())


def test_a_flood_at_one_socket_keeps_no_other_waiting() -> None:
    """However much waits at one, each has its turn."""
    with (
        contextlib.closing(SessionReflector()) as reflector,
        contextlib.ExitStack() as opened,
    ):
        pairs = []
        for _ in range(2):
            port, client = (opened.enter_context(bound("127.0.0.1")) for _ in range(2))
            config = SessionConfig(local=endpoint(port), peer=endpoint(client))
            reflector.start(reflector.add(config, port))
            pairs.append((port.getsockname(), client))
        (flooded, flooding), (quiet, asking) = pairs
        for _ in range(3):
            for packet in numbers(3 * BUSY):
                flooding.sendto(packet, flooded)
            asking.sendto(request(), quiet)
            assert reflector.step(5000) == BUSY + 1  # one batch there, and the one here
            assert asking.recv(100)
            while reflector.step(0):
                pass
            for _ in range(3 * BUSY):
                flooding.recv(100)


def test_more_busy_sockets_than_can_be_kept_are_all_served() -> None:
    with (
        contextlib.closing(SessionReflector()) as reflector,
        contextlib.ExitStack() as opened,
    ):
        pairs = []
        for _ in range(MANY_SOCKETS):
            port, client = (opened.enter_context(bound("127.0.0.1")) for _ in range(2))
            config = SessionConfig(local=endpoint(port), peer=endpoint(client))
            reflector.start(reflector.add(config, port))
            pairs.append((port.getsockname(), client))
        for rounds in range(1, 4):
            for address, client in pairs:
                for packet in numbers(BUSY):
                    client.sendto(packet, address)
            expected = rounds * MANY_SOCKETS * BUSY
            while reflector.stats().received < expected:
                assert reflector.step(5000) > 0
            for _, client in pairs:
                replies = [ReflectorPacket.parse(client.recv(100)) for _ in range(BUSY)]
                assert [reply.sender_sequence_number for reply in replies] == list(range(BUSY))
        assert not any(reflector.stats().drops.values())
        while reflector.step(0):
            pytest.fail("there is nothing left")
        for address, client in pairs:  # each is waited for again
            client.sendto(request(), address)
            while not reflector.step(5000):
                pass
            client.recv(100)


def test_the_loop_sleeps_once_the_flood_is_over() -> None:
    async def test() -> None:
        with bound("127.0.0.1") as port, bound("127.0.0.1") as client:
            async with SessionReflector() as reflector:
                config = SessionConfig(local=endpoint(port), peer=endpoint(client))
                reflector.start(reflector.add(config, port))
                for packet in numbers(2 * BUSY):
                    client.sendto(packet, port.getsockname())
                async with asyncio.timeout(10):
                    while reflector.stats().received < 2 * BUSY:
                        await asyncio.sleep(0.01)
                    turns = -1
                    while reflector.stats().counters["turns"] != turns:
                        turns = reflector.stats().counters["turns"]
                        await asyncio.sleep(0.1)
                for _ in range(2 * BUSY):
                    client.recv(100)
                client.sendto(request(), port.getsockname())
                assert client.recv(100)

    asyncio.run(test())
