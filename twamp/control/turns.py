"""Turns of the event loop, dealt to clients one by one, so that no client keeps the others waiting."""

import asyncio
from collections import deque


class Turns:
    """Lets one client work in a turn of the event loop, each client after the other.

    A connection takes a turn before each piece of work that costs more than a moment: a greeting, a message.
    A client that has much to do, on however many connections, has one turn while each of the others has
    one; in between the loop sees to everything else.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the first client is the next
        self._is_free = True

    def waiting(self, client: str) -> int:
        """The number of the client's connections that wait for a turn."""
        return len(self._waiting.get(client, ()))

    async def take(self, client: str) -> None:
        """Returns when it is the client's turn."""
        loop = asyncio.get_running_loop()
        if self._is_free:
            self._is_free = False
            loop.call_soon(self._deal)
            return
        turn = loop.create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        await turn

    def _deal(self) -> None:
        """Gives this turn of the loop to the client that has waited longest."""
        while self._waiting:
            client = next(iter(self._waiting))
            turns = self._waiting.pop(client)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns  # behind the others
            if not turn.done():  # a cancelled one costs nobody a turn
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._deal)
                return
        self._is_free = True
