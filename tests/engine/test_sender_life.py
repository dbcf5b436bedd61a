"""How a Session-Sender is watched while it runs, stopped, and closed."""

import asyncio
import os
import threading
from array import array

import pytest

from tests.support.scripted_reflector import Request, ScriptedReflector, answer
from tests.support.scripted_sessions import (
    MILLISECOND,
    assert_books_balance,
    config_for,
    drops,
    fixed,
)
from twamp.endpoint import Endpoint
from twamp.engine.session_sender import SenderStats, SessionSender


def test_the_statistics_add_up_at_any_time() -> None:
    seen: list[SenderStats] = []

    async def session() -> None:
        def script(reflector: ScriptedReflector, request: Request) -> None:
            reflector.send(request.reply()[: 41 - request.sequence_number % 2], request)
            answer(reflector, request)
            if request.sequence_number == 499:
                sender.stop(drain=False)

        def watch() -> None:
            while not over.wait(0.0005):
                seen.append(sender.stats())

        with (
            ScriptedReflector(script) as reflector,
            ScriptedReflector.bound("127.0.0.1") as sock,
        ):
            sender = SessionSender(sock, config_for(reflector.endpoint, schedule=fixed(500)))
            over = threading.Event()
            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                await sender.run()
            finally:
                over.set()
                watcher.join()
            seen.append(sender.stats())

    asyncio.run(session())
    assert len({stats.received for stats in seen}) > 10
    assert all(0 <= stats.replies <= stats.sent for stats in seen)
    assert seen[-1].replies == 500
    assert drops(seen[-1]) == {"short": 250}
    assert seen[-1].duplicates == 250


def test_replies_are_read_until_the_end_even_when_none_is_owed() -> None:
    async def session() -> SessionSender:
        loop = asyncio.get_running_loop()

        def script(reflector: ScriptedReflector, request: Request) -> None:
            answer(reflector, request)
            if request.sequence_number == 9:
                loop.call_later(0.05, once_more, reflector, request)

        def once_more(reflector: ScriptedReflector, request: Request) -> None:
            answer(reflector, request)
            sender.stop(drain=False)

        with (
            ScriptedReflector(script) as reflector,
            ScriptedReflector.bound("127.0.0.1") as sock,
        ):
            config = config_for(reflector.endpoint, loss_timeout_ns=60 * 10**9)
            sender = SessionSender(sock, config)
            await sender.run()
            return sender

    sender = asyncio.run(session())
    assert_books_balance(sender)
    assert [sample.sequence_number for sample in sender.duplicates] == [9]


@pytest.mark.parametrize("drain", [False, True])
def test_stop_sends_no_more(drain: bool) -> None:
    held: list[Request] = []

    async def session() -> SessionSender:
        def script(reflector: ScriptedReflector, request: Request) -> None:
            held.append(request)
            if request.sequence_number == 4:
                sender.stop(drain=drain)
                if drain:
                    for late in held:
                        answer(reflector, late)

        with (
            ScriptedReflector(script) as reflector,
            ScriptedReflector.bound("127.0.0.1") as sock,
        ):
            # Without stop this would take an hour to send, and without drain another to wait.
            schedule = array("Q", [0, 1, 2, 3, 4, 3600 * 10**9])
            loss_timeout_ns = 500 * MILLISECOND if drain else 3600 * 10**9
            sender = SessionSender(
                sock,
                config_for(reflector.endpoint, schedule=schedule, loss_timeout_ns=loss_timeout_ns),
            )
            await sender.run()
            sender.stop()
            return sender

    sender = asyncio.run(session())
    assert_books_balance(sender)
    assert len(sender.samples) == sender.sent == 5
    assert sender.stats().replies == (5 if drain else 0)


def test_stop_without_drain_ends_a_drain() -> None:
    async def session() -> SessionSender:
        def script(reflector: ScriptedReflector, request: Request) -> None:
            sender.stop(drain=True)
            asyncio.get_running_loop().call_later(0.02, sender.stop, False)
            sender.stop(drain=True)

        with (
            ScriptedReflector(script) as reflector,
            ScriptedReflector.bound("127.0.0.1") as sock,
        ):
            config = config_for(
                reflector.endpoint,
                schedule=array("Q", [0, 3600 * 10**9]),
                loss_timeout_ns=3600 * 10**9,
            )
            sender = SessionSender(sock, config)
            await sender.run()
            return sender

    assert asyncio.run(session()).sent == 1


def test_stop_before_run_sends_nothing() -> None:
    async def session() -> None:
        with ScriptedReflector.bound("127.0.0.1") as sock:
            peer = Endpoint.from_sockaddr(sock.getsockname())
            sender = SessionSender(sock, config_for(peer, loss_timeout_ns=3600 * 10**9))
            sender.stop()
            await sender.run()
            assert sender.sent == 0
            assert sender.samples == []

    asyncio.run(session())


def test_an_empty_schedule_is_over_at_once() -> None:
    async def session() -> None:
        with ScriptedReflector.bound("127.0.0.1") as sock:
            peer = Endpoint.from_sockaddr(sock.getsockname())
            sender = SessionSender(sock, config_for(peer, schedule=[], loss_timeout_ns=10**12))
            await sender.run()
            assert sender.samples == sender.duplicates == []

    asyncio.run(session())


def test_a_cancelled_run_leaves_no_thread_and_no_descriptor() -> None:
    async def session() -> None:
        before = sorted(os.listdir("/proc/self/fd"))
        sent = asyncio.Event()

        def script(reflector: ScriptedReflector, request: Request) -> None:
            sent.set()

        with (
            ScriptedReflector(script) as reflector,
            ScriptedReflector.bound("127.0.0.1") as sock,
        ):
            config = config_for(reflector.endpoint, loss_timeout_ns=3600 * 10**9)
            sender = SessionSender(sock, config)
            running = asyncio.create_task(sender.run())
            await sent.wait()
            assert any(thread.name.startswith("twamp-sender") for thread in threading.enumerate())
            with pytest.raises(RuntimeError, match="still writes"):
                _ = sender.samples
            with pytest.raises(RuntimeError, match="still runs"):
                sender.close()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert sender.sent == len(sender.samples) > 0
        assert not any(thread.name.startswith("twamp-sender") for thread in threading.enumerate())
        assert sorted(os.listdir("/proc/self/fd")) == before

    asyncio.run(session())


def test_a_sender_runs_once() -> None:
    async def session() -> None:
        with ScriptedReflector.bound("127.0.0.1") as sock:
            peer = Endpoint.from_sockaddr(sock.getsockname())
            sender = SessionSender(sock, config_for(peer, schedule=[]))
            await sender.run()
            with pytest.raises(RuntimeError, match="runs once"):
                await sender.run()
            sender.close()

    asyncio.run(session())


def test_a_forgotten_sender_is_warned_about() -> None:
    with ScriptedReflector.bound("127.0.0.1") as sock:
        peer = Endpoint.from_sockaddr(sock.getsockname())
        sender = SessionSender(sock, config_for(peer))
        with pytest.warns(ResourceWarning, match="neither run nor closed"):
            del sender
