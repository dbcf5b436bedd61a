"""The acceptor: a few connections a turn, and nothing that happens ends it."""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.support.by_hand import ANSWER_WITHIN, run
from twamp.control.acceptor import Acceptor


@asynccontextmanager
async def accepting(
    admit: Callable[[socket.socket], float], events: Counter[str]
) -> AsyncIterator[Callable[[], socket.socket]]:
    """An acceptor, and a function that connects to it."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        listener.setblocking(False)
        acceptor = Acceptor(listener, admit, events)
        try:
            yield lambda: socket.create_connection(listener.getsockname())
        finally:
            acceptor.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(ANSWER_WITHIN):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(("share", "at_once"), [(1.0, 1), (0.25, 4), (0.4, 3)])
def test_a_crowd_is_accepted_in_more_turns_than_one(share: float, at_once: int) -> None:
    async def test() -> None:
        admitted: list[socket.socket] = []

        def admit(sock: socket.socket) -> float:
            admitted.append(sock)
            return share

        async with accepting(admit, Counter()) as connect:
            clients = [connect() for _ in range(5)]
            while not admitted:
                await asyncio.sleep(0)  # one turn
            assert len(admitted) == at_once
            await until(lambda: len(admitted) == len(clients))
            assert not any(sock.getblocking() for sock in admitted)
            for sock in (*clients, *admitted):
                sock.close()

    run(test)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ECONNABORTED, "Software caused connection abort"),
        MemoryError(),
        RuntimeError("surprise"),
    ],
    ids=str,
)
def test_it_goes_on_after_any_error_and_tells_it_once(
    error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twamp.control.acceptor.ACCEPT_PAUSE", 0.005)

    async def test() -> None:
        admitted: list[socket.socket] = []
        events: Counter[str] = Counter()

        def admit(sock: socket.socket) -> float:
            if events["accept_failed"] < 3:
                raise error
            admitted.append(sock)
            return 1.0

        async with accepting(admit, events) as connect:
            clients = [connect() for _ in range(4)]
            await until(lambda: bool(admitted))
            assert events["accept_failed"] == 3
            for sock in (*clients, *admitted):
                sock.close()

    run(test)
    assert caplog.text.count("cannot accept connections") == 1


def test_after_its_end_nothing_is_accepted() -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            Acceptor(listener, lambda _: pytest.fail("accepted"), Counter()).close()
            with socket.create_connection(listener.getsockname()):
                for _ in range(10):
                    await asyncio.sleep(0)

    run(test)
