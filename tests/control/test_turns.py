"""Turns of the event loop: a client with much to do takes no more of them than one with little."""

import asyncio
import itertools

import pytest

from tests.support.by_hand import run
from twamp.control.turns import Turns


async def work(turns: Turns, client: str, done: list[str], times: int = 1) -> None:
    for _ in range(times):
        await turns.take(client)
        done.append(client)


def test_a_client_with_many_connections_has_every_other_turn() -> None:
    async def test() -> None:
        turns, done = Turns(), list[str]()
        flood = [asyncio.create_task(work(turns, "flood", done, 5)) for _ in range(20)]
        await asyncio.sleep(0)
        assert (turns.waiting("flood"), turns.waiting("calm")) == (20, 0)
        await work(turns, "calm", done, 5)
        assert done.count("flood") <= 7
        await asyncio.gather(*flood)
        assert done.count("flood") == 100

    run(test)


def test_two_clients_never_work_in_one_turn_of_the_loop() -> None:
    async def test() -> None:
        turns, done, loops = Turns(), list[str](), list[int]()

        async def count() -> None:
            while True:
                loops.append(len(done))
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await asyncio.gather(*(work(turns, str(client), done, 3) for client in range(10)))
        counting.cancel()
        assert len(done) == 30
        assert all(after - before <= 1 for before, after in itertools.pairwise(loops))

    run(test)


def test_a_cancelled_turn_is_nobodys() -> None:
    async def test() -> None:
        turns, done = Turns(), list[str]()
        cancelled, waiting = (
            asyncio.create_task(work(turns, client, done, 2)) for client in ("cancelled", "waiting")
        )
        await asyncio.sleep(0)  # the first has a turn, and both wait for their next one
        cancelled.cancel()
        await waiting
        assert done == ["cancelled", "waiting", "waiting"]
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await work(turns, "later", done)
        assert done[3:] == ["later"]

    run(test)
