"""The responder inside the program."""

import asyncio

import pytest

from twamp.config.ping import PingConfig
from twamp.control.client import ControlClient, Credentials
from twamp.errors import Refused
from twamp.ping.loopback import loopback_responder
from twamp.protocol.registries import Modes


@pytest.mark.parametrize(("ipv6", "address"), [(False, "127.0.0.1"), (True, "::1")])
def test_it_is_of_the_version_that_is_asked_for_and_ends(ipv6: bool, address: str) -> None:
    async def test() -> None:
        async with loopback_responder(PingConfig(ipv6=ipv6), None) as target:
            assert target.host == target.server == address
            async with await ControlClient.connect(target.server, target.port) as client:
                assert client.mode is Modes.UNAUTHENTICATED
        with pytest.raises(ConnectionRefusedError):
            await ControlClient.connect(target.server, target.port)

    asyncio.run(test())


def test_it_knows_the_user_and_no_other() -> None:
    async def test() -> None:
        alice = Credentials("alice", b"secret")
        async with loopback_responder(PingConfig(user="alice"), alice) as target:
            async with await ControlClient.connect(
                target.server, target.port, credentials=alice
            ) as client:
                assert client.mode is Modes.ENCRYPTED
            with pytest.raises(Refused):
                await ControlClient.connect(
                    target.server, target.port, credentials=Credentials("bob", b"secret")
                )

    asyncio.run(test())
