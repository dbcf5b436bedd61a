"""The loss of an interface: everything is closed, and opened again when it is back."""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.by_hand import RawClient
from tests.support.settings import settings
from twamp.control.listeners import open_light_sockets, open_listeners
from twamp.control.server import Server
from twamp.reflector.build import make_workers
from twamp.reflector.interface_loss import InterfaceLoss
from twamp.reflector.light import LightSessions


class Machine:
    """A kernel whose interface comes and goes."""

    def __init__(self) -> None:
        self.index: int | None = 7

    def index_of(self, name: str) -> int:
        if self.index is None:
            raise OSError(errno.ENODEV, "No such device")
        return self.index


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Server, LightSessions]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = settings(iface="lo", light=True, light_port=port, **options).config
    async with make_workers(config, None) as workers:
        light = LightSessions(workers)
        light.open(open_light_sockets(config))
        async with Server(config, workers, None, open_listeners(config)) as server:
            yield server, light


def test_a_lost_interface_ends_all_and_a_new_one_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        machine = Machine()
        async with serving() as (server, light):
            loss = InterfaceLoss(
                "lo", server, light, keeps_listeners=False, index_of=machine.index_of
            )
            served = list(light.addresses)

            class Here:
                port = server.addresses[0].port

            async with RawClient.connected(Here()) as client:
                loss.look()
                assert server.events["interface_lost"] == 0
                machine.index = None
                loss.look()
                assert await client.read_eof() == b""
            assert server.events["interface_lost"] == 1
            assert (list(server.addresses), light.addresses) == ([], [])
            machine.index = 8
            loss.look()
            assert list(server.addresses) == []  # not before the next look
            while not server.addresses:  # the engine closes its sockets in a thread of its own
                await asyncio.sleep(0.001)
                loss.look()
            assert light.addresses == served
            loss.look()
            assert server.events["interface_lost"] == 1

    with caplog.at_level(logging.WARNING):
        asyncio.run(asyncio.wait_for(scenario(), 60))
    assert "interface lo is gone; waiting for it to come back" in caplog.text
    assert "interface lo is back; listening there again" in caplog.text


def test_an_obstacle_is_told_once_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(config: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    async def scenario() -> None:
        machine = Machine()
        async with serving() as (server, light):
            loss = InterfaceLoss(
                "lo", server, light, keeps_listeners=False, index_of=machine.index_of
            )
            machine.index = 8
            loss.look()
            with monkeypatch.context() as patched:
                patched.setattr("twamp.reflector.interface_loss.open_light_sockets", refuse)
                loss.look()
                loss.look()
                assert list(server.addresses) == []
            while not server.addresses:
                await asyncio.sleep(0.001)
                loss.look()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert caplog.text.count("Cannot assign requested address") == 1


def test_sockets_of_systemd_stay() -> None:
    async def scenario() -> None:
        machine = Machine()
        async with serving() as (server, light):
            loss = InterfaceLoss(
                "lo", server, light, keeps_listeners=True, index_of=machine.index_of
            )
            before = list(server.addresses)
            machine.index = None
            loss.look()
            assert list(server.addresses) == before
            assert light.addresses == []

    asyncio.run(asyncio.wait_for(scenario(), 60))
