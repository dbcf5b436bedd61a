"""The channel: small pieces, an end that the other side sees, and no error but OSError."""

import asyncio
import socket
import struct

import pytest

from tests.support.by_hand import run
from twamp.control.channel import READ_SIZE, Channel


def pair() -> tuple[Channel, socket.socket]:
    """A channel, and the client's end of its TCP connection, both without blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    client.setblocking(False)
    return Channel(server), client


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_octets_come_in_small_pieces_and_the_end_is_empty() -> None:
    async def test() -> None:
        channel, client = pair()
        client.send(bytes(READ_SIZE + 1))
        client.close()
        assert [len(await channel.read()) for _ in range(3)] == [READ_SIZE, 1, 0]
        await channel.close()

    run(test)


def test_the_last_octets_arrive_though_the_client_still_sends() -> None:
    async def test() -> None:
        channel, client = pair()
        client.send(bytes(10 * READ_SIZE))  # never read
        await channel.close(b"the end")
        assert channel.sock.fileno() == -1
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(client, 100) == b"the end"
        client.close()

    run(test)


def test_a_client_that_takes_nothing_does_not_keep_the_channel_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("twamp.control.channel.CLOSE_WITHIN", 0.01)

    async def test() -> None:
        channel, client = pair()
        await channel.close(bytes(1 << 24))
        assert channel.sock.fileno() == -1
        client.close()

    run(test)


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_hang_up_shows_behind_octets_that_are_unread(is_reset: bool) -> None:
    async def test() -> None:
        channel, client = pair()
        client.send(b"unread")
        assert not channel.is_hung_up()
        reset(client) if is_reset else client.close()
        assert channel.is_hung_up()
        await channel.close(b"for nobody")

    run(test)


def test_whatever_goes_wrong_is_an_oserror() -> None:
    async def test() -> None:
        channel, client = pair()
        reset(client)
        with pytest.raises(OSError, match="reset"):
            await channel.read()
        with pytest.raises(OSError, match="pipe"):
            await channel.write(b"x")
        await channel.close(b"x")

    run(test)
