"""The TCP connection to a Server: which address it goes to, and from which."""

import errno
import socket
from typing import Any

import pytest

from tests.support.by_hand import Responder, run
from twamp.control.client import ControlClient
from twamp.control.dial import LONGEST_PATIENCE, VANISHED_AFTER


def test_nobody_listening_names_the_address() -> None:
    async def test() -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
            with pytest.raises(OSError, match=rf"\[127.0.0.1\]:{port}: ") as caught:
                await ControlClient.connect("127.0.0.1", port)
            assert caught.value.errno == errno.ECONNREFUSED

    run(test)


def test_the_second_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with Responder.listening(listen_address=("127.0.0.2",)) as responder:
            candidates = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, responder.port))
                for address in ("127.0.0.1", "127.0.0.2")
            ]

            async def resolve(*_: object, **__: object) -> list[Any]:
                return candidates

            monkeypatch.setattr("twamp.control.client.resolve", resolve)
            async with await ControlClient.connect("twamp.example", 862) as client:
                assert str(client.remote.address) == "127.0.0.2"

    run(test)


def test_the_source_address_is_used() -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            client = await ControlClient.connect(
                "127.0.0.1", responder.port, source_address="127.0.0.5"
            )
            async with client:
                assert str(client.local.address) == "127.0.0.5"

    run(test)


@pytest.mark.parametrize(
    ("vanished_after", "probes"), [(VANISHED_AFTER, 4), (LONGEST_PATIENCE, 127), (1.0, 1)]
)
def test_keepalive_is_as_patient_as_it_is_asked_to_be(vanished_after: float, probes: int) -> None:
    async def test() -> None:
        async with (
            Responder.listening() as responder,
            await ControlClient.connect(
                "127.0.0.1", responder.port, vanished_after=vanished_after
            ) as client,
        ):
            sock = client._writer.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == probes

    run(test)
