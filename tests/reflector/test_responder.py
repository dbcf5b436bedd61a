"""The responder: a reload changes all or nothing, and is counted either way."""

import asyncio
import dataclasses
import errno
import logging
import os
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.support.by_hand import run
from tests.support.settings import responder_of, settings
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import rows
from twamp.config.users import Users
from twamp.errors import ConfigError
from twamp.reflector.responder import Responder
from twamp.reflector.settings import Settings, read_settings

ROOM = {
    "client_list": "127.0.0.0/8",
    "maximum_connections": 1,
    "maximum_sessions_per_connection": 1,
}
# At a reload: the options with a range that it changes, at each limit.
LIMITS = [
    (field, f"{limit}-{limit}" if field == "test_ports" else str(limit))
    for field, row in rows(ReflectorConfig)
    if row.bounds is not None and not row.restart
    for limit in row.bounds
]
PREFIXES = tuple(ip_network((number << 8, 24)) for number in range(1025))


def serve(responder: Responder, test: Callable[[], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with responder:
            await test()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def counted(responder: Responder) -> tuple[int, int]:
    """Reloads, and failed ones."""
    return responder.snapshot.reloads, responder.server.events["reload_failed"]


def refuses(first: Settings, wrong: Exception) -> None:
    """A reload that reads something wrong leaves everything as it was."""
    responder = responder_of(first, wrong)

    async def test() -> None:
        before = responder.snapshot.config()
        assert not responder.reload()
        assert counted(responder) == (0, 1)
        assert responder.snapshot.config() == before
        assert responder.server.config == first.config

    serve(responder, test)


@pytest.mark.parametrize(("field", "limit"), LIMITS)
def test_a_reload_takes_every_limit(field: str, limit: str) -> None:
    wanted = settings(**{**ROOM, field: limit})
    responder = responder_of(settings(), wanted)

    async def test() -> None:
        assert responder.reload()
        assert counted(responder) == (1, 0)
        assert responder.server.config == wanted.config

    serve(responder, test)


def test_a_reload_takes_the_longest_client_list() -> None:
    responder = responder_of(settings(workers=2), settings(workers=2, client_list=PREFIXES[:-1]))

    async def test() -> None:
        assert responder.reload()
        assert counted(responder) == (1, 0)
        assert len(responder.server.config.client_list) == 1024

    serve(responder, test)


def test_a_client_list_that_is_too_long_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "twampd.toml"
    listed = ", ".join(f'"{prefix}"' for prefix in PREFIXES)
    file.write_text(f"rate-limit = 5\nclient-list = [{listed}]\n")
    with pytest.raises(ConfigError) as caught:
        read_settings(str(file), {})
    assert str(caught.value) == (
        f"{file}, line 2: client-list: 1025 values are too many; give at most 1024"
    )
    refuses(settings(rate_limit=1), caught.value)
    assert f"reload refused, nothing has changed: {caught.value}" in caplog.text


HOSTILE = {
    "brackets": "port = " + 20_000 * "[",
    "a long integer": "port = " + 10_000 * "1",
    "a long integer in hexadecimal": "port = 0x" + 10_000 * "f",
    "dotted keys": "port" + 20_000 * ".a" + " = 1",
    "a million keys": "".join(f"a{number} = 1\n" for number in range(50_000)),
    "a long number of seconds": "drain-timeout = 0x" + 10_000 * "f",
    "a long list": f"mode = [{10_000 * '1,'}]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_without_a_traceback(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "twampd.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_settings(str(file), {})
    lines = str(caught.value).splitlines()
    assert len(lines) <= 52
    assert all(line.startswith(str(file)) and len(line) < 2000 for line in lines)
    refuses(settings(), caught.value)
    assert "Traceback" not in caplog.text


def test_a_fifo_in_place_of_the_file_does_not_stop_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "twampd.toml"
    os.mkfifo(file)
    first = settings()
    responder = Responder(first, lambda: read_settings(str(file), first.given))
    told: list[str] = []
    monkeypatch.setattr(responder._notifier, "_send", lambda *lines: told.append(lines[0]))

    async def test() -> None:
        assert not responder.reload()
        assert counted(responder) == (0, 1)
        assert told == ["RELOADING=1", "READY=1"]

    serve(responder, test)
    assert f"nothing has changed: {file}: not a regular file; copy the text into one" in caplog.text


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (ConfigError("port: 1\nmode: 2"), ["port: 1", "mode: 2"]),
        (PermissionError(errno.EACCES, "Permission denied", "keys"), ["keys: Permission denied"]),
        (RuntimeError("a bug"), ["RuntimeError: a bug"]),
    ],
)
def test_a_refused_reload_has_a_line_for_each_reason(
    error: Exception, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    refuses(settings(), error)
    begin = "reload refused, nothing has changed: "
    told = [message for message in caplog.messages if message.startswith(begin)]
    assert told == [begin + line for line in lines]


def test_an_engine_that_refuses_keeps_its_former_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory at the second step: the first is taken back."""
    before = settings(client_list="127.0.0.0/8", rate_limit=1)
    responder = responder_of(before, settings(client_list="192.0.2.0/24", rate_limit=2))
    engine: dict[str, Any] = {}

    async def test() -> None:
        def set_rate_limit(rate_limit: int) -> None:
            if rate_limit == 2:
                raise OSError(errno.ENOMEM, "Cannot allocate memory")
            engine["rate_limit"] = rate_limit

        monkeypatch.setattr(responder.reflector, "set_rate_limit", set_rate_limit)
        monkeypatch.setattr(
            responder.reflector,
            "set_light_clients",
            lambda prefixes: engine.update(client_list=prefixes),
        )
        assert not responder.reload()
        assert engine == {"rate_limit": 1, "client_list": before.config.client_list}
        assert counted(responder) == (0, 1)
        assert responder.server.config == before.config

    serve(responder, test)


def test_a_good_reload_follows_a_refused_one(caplog: pytest.LogCaptureFixture) -> None:
    responder = responder_of(settings(), ConfigError("no"), settings(rate_limit=7, workers=2))

    async def test() -> None:
        assert not responder.reload()
        assert responder.reload()
        assert counted(responder) == (1, 1)
        assert responder.snapshot.restart_needed == ("workers",)
        status = responder.snapshot.status()
        assert status["restart_needed"] == ["workers"]
        assert status["last_reload"] is not None

    with caplog.at_level(logging.INFO):
        serve(responder, test)
    assert "reloaded; changed: rate-limit" in caplog.text
    assert "a restart is needed for: workers" in caplog.text


def test_a_responder_that_never_serves_closes_its_sockets() -> None:
    responder = responder_of(settings())
    [listener] = responder._bound.listeners
    responder.close()
    assert listener.fileno() == -1


def test_an_error_that_nobody_awaits_is_a_line_and_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with responder_of(settings()) as responder:
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: 1 // 0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert responder.server.events["unhandled"] == 1

    run(test)
    assert "ZeroDivisionError" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_passphrase_that_can_be_guessed_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        weak = dataclasses.replace(settings(), users=Users({"alice": b"short"}))
        async with responder_of(weak) as responder:
            waiting = asyncio.create_task(responder.wait())
            await asyncio.sleep(0)
            responder.stop()
            await waiting

    run(test)
    assert "user 'alice': a passphrase of 5 octets can be guessed" in caplog.text
