"""Our responder in a thread of its own, for programs that run in the test's thread or beside it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.by_hand import Responder


@contextmanager
def responder(**options: Any) -> Iterator[int]:
    """Our responder in a thread of its own; gives its TCP port."""
    ready = threading.Event()
    over: list[Callable[[], object]] = []
    ports: list[int] = []

    async def respond() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with Responder.listening(**options) as listening:
            ports.append(listening.port)
            over.append(lambda: loop.call_soon_threadsafe(stop.set))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(respond()))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        for stop in over:
            stop()
        thread.join(10)
    assert not thread.is_alive()
