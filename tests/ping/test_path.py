"""measure_path: one call that measures, under asyncio and uvloop, alone and with others, and cancelled."""

import asyncio
import logging
import os
import threading
import typing
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

import twamp
from tests.support.by_hand import Responder, free_port
from tests.support.scripted_server import ScriptedServer
from tests.support.threaded_responder import responder
from twamp.config.ping import PingConfig
from twamp.config.row import rows
from twamp.config.users import Users
from twamp.ping.path import PathOptions

QUICK: PathOptions = {"interval": "0.002f", "loss_timeout": 0.5, "port_range": 0}
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, None]], None]
MEASURING = {"what to measure", "packets", "timing", "security"}  # groups of options


# ---- options -------------------------------------------------------------------------------------


def test_the_options_are_those_of_twping_that_say_how_to_measure() -> None:
    groups = {name: row.group for name, row in rows(PingConfig)}
    assert set(groups.values()) > MEASURING
    measuring = {name for name, group in groups.items() if group in MEASURING}
    assert set(PathOptions.__annotations__) == measuring - {"loopback"}


def test_the_type_of_each_option_has_that_of_the_row() -> None:
    wanted, given = typing.get_type_hints(PingConfig), typing.get_type_hints(PathOptions)
    for name, hint in given.items():
        parts = {hint, *typing.get_args(hint)}
        needed = wanted[name]
        assert needed in parts or set(typing.get_args(needed)) <= parts, name


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"intervall": 1}, TypeError, "no option 'intervall'; did you mean 'interval'?"),
        ({"xyz": 1}, TypeError, "no option 'xyz'; known are count, "),
        ({"json": True}, TypeError, "no option 'json'"),
        ({"count": 0}, twamp.ConfigError, "count: 0 is out of range"),
        ({"user": "alice"}, twamp.ConfigError, "user: the passphrase is missing"),
        ({"auth_mode": "E"}, twamp.ConfigError, "auth-mode: E needs a user"),
        (
            {"user": "a", "credentials": twamp.Credentials("a", b"x")},
            twamp.ConfigError,
            "credentials: they name the user",
        ),
    ],
)
def test_wrong_options_are_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        asyncio.run(twamp.measure_path("192.0.2.1", **options))


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(twamp.ConfigError, match="is no host"):
        asyncio.run(twamp.measure_path("a:b:c"))


# ---- measuring -----------------------------------------------------------------------------------


@LOOPS
def test_three_lines_measure(run: Run) -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as listening:
            host = f"127.0.0.1:{listening.port}"
            results = await twamp.measure_path(host, count=20, interval=0.002, loss_timeout=0.5)
            assert (results.total.sent, results.total.lost) == (20, 0)
            assert (results.total.round_trip.delay.median or 0) > 0
            assert len(results.measurements[0].samples) == 20
            await listening.sessions_left(0)

    run(test())


@LOOPS
def test_several_measure_at_once(run: Run) -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as listening:
            each: list[PathOptions] = [
                {"count": count, "session_count": sessions, "control_port": listening.port, **QUICK}
                for count, sessions in ((10, 1), (20, 2), (30, 1), (40, 3))
            ]
            every = await asyncio.gather(*(twamp.measure_path("127.0.0.1", **one) for one in each))
            assert [results.total.received for results in every] == [10, 40, 30, 120]
            assert [len(results.metrics) for results in every] == [1, 2, 1, 3]
            sids = [one.sid for results in every for one in results.measurements]
            assert len(set(sids)) == 7
            await listening.sessions_left(0)

    run(test())


def test_the_server_may_be_another_than_the_host() -> None:
    async def test() -> None:
        with ScriptedServer() as server:
            results = await twamp.measure_path(
                "127.0.0.2",
                server=f"127.0.0.1:{server.port}",
                count=2,
                interval="0f",
                loss_timeout=0.01,
            )
            assert (results.total.sent, results.total.received) == (2, 0)

    asyncio.run(test())


@pytest.mark.parametrize("how", ["credentials", "key file"])
def test_secured_modes(how: str, tmp_path: Path) -> None:
    key_file = tmp_path / "keys"
    key_file.write_text(f"alice {b'secret'.hex()}\n")
    key_file.chmod(0o600)
    given: dict[str, Any] = {"credentials": twamp.Credentials("alice", b"secret")}
    if how == "key file":
        given = {"user": "alice", "key_file": str(key_file)}

    async def test() -> None:
        users = Users({"alice": b"secret"})
        async with Responder.listening(
            users, listen_address=("127.0.0.1",), pbkdf2_count=1024
        ) as listening:
            host = f"127.0.0.1:{listening.port}"
            options: dict[str, Any] = {"count": 5, "auth_mode": "E", **QUICK, **given}
            results = await twamp.measure_path(host, **options)
            assert results.total.received == 5

    asyncio.run(test())


# ---- what goes wrong -----------------------------------------------------------------------------


@LOOPS
def test_a_refused_connection_is_an_os_error(run: Run) -> None:
    async def test() -> None:
        with pytest.raises(ConnectionRefusedError):
            await twamp.measure_path(f"127.0.0.1:{free_port()}", count=1)

    run(test())


def test_a_refused_session_is_refused() -> None:
    async def test() -> None:
        with (
            ScriptedServer(accept=twamp.Accept.NOT_SUPPORTED) as server,
            pytest.raises(twamp.Refused, match="Accept 3"),
        ):
            await twamp.measure_path(f"127.0.0.1:{server.port}", count=1)

    asyncio.run(test())


def test_warnings_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.1",)) as listening:
            host = f"127.0.0.1:{listening.port}"
            options: PathOptions = {"interface": "lo", "hwtstamp": "yes", "count": 2, **QUICK}
            results = await twamp.measure_path(host, **options)
            assert results.total.received == 2

    with caplog.at_level(logging.WARNING, "twamp.ping"):
        asyncio.run(test())
    assert "127.0.0.1" in caplog.text


# ---- cancelled -----------------------------------------------------------------------------------


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def sender_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "sender" in thread.name]


async def until_sending() -> None:
    async with asyncio.timeout(10):
        while not sender_threads():
            await asyncio.sleep(0.002)


async def cancel_a_call(port: int, ready: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Cancels a call when it is ``ready``; neither tasks nor threads are left of it."""
    tasks = asyncio.all_tasks()
    options: PathOptions = {"count": 100_000, "session_count": 2, **QUICK}
    call = asyncio.create_task(twamp.measure_path(f"127.0.0.1:{port}", **options))
    await ready()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sender_threads() == []
    assert asyncio.all_tasks() == tasks


@LOOPS
def test_a_call_that_is_cancelled_while_sending_leaves_nothing_behind(run: Run) -> None:
    async def cancel() -> int:
        with responder() as port:  # in a thread and a loop of its own
            await cancel_a_call(port, until_sending)
        await asyncio.sleep(0)  # closed transports let go of their sockets in the next round
        return open_descriptors()

    async def test() -> None:
        assert await cancel() == await cancel()

    run(test())


@LOOPS
def test_a_call_that_is_cancelled_while_connecting_leaves_nothing_behind(run: Run) -> None:
    async def cancel() -> int:
        with ScriptedServer(greets=False) as server:
            await cancel_a_call(server.port, server.until_connected)
        await asyncio.sleep(0)
        return open_descriptors()

    async def test() -> None:
        assert await cancel() == await cancel()

    run(test())


def test_a_timeout_around_the_call_is_a_timeout() -> None:
    async def test() -> None:
        with ScriptedServer(greets=False) as server, pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await twamp.measure_path(f"127.0.0.1:{server.port}")

    asyncio.run(test())


def test_the_deadline_is_an_os_error_and_no_cancellation() -> None:
    async def test() -> None:
        with ScriptedServer(greets=False) as server:
            with pytest.raises(OSError, match="deadline"):
                await twamp.measure_path(f"127.0.0.1:{server.port}", deadline=0.05)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    asyncio.run(test())
