"""Every security mode over the wire between our own two ends, and attacks that must fail."""

import asyncio
import socket
import time
from array import array
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.support.by_hand import ANSWER_WITHIN, Probe, RawClient, Responder, dropped, run
from twamp.config.users import Users
from twamp.control.channel import READ_SIZE
from twamp.control.client import ControlClient, Credentials, SessionRequest
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.errors import Refused
from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
)
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.states import State

MS = 1_000_000
USERS = Users({"alice": b"pass phrase-42!", "bob": b"x"})
ALICE = Credentials("alice", b"pass phrase-42!")
SECURED = [Modes.AUTHENTICATED, Modes.ENCRYPTED, Modes.MIXED]


def listening(**options: Any) -> AbstractAsyncContextManager[Responder]:
    return Responder.listening(users=USERS, pbkdf2_count=1024, **options)


async def measured(client: ControlClient, host: str, padding_length: int) -> SessionSender:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        session = await client.request_session(
            SessionRequest(
                sender_port=sock.getsockname()[1], receiver_port=0, padding_length=padding_length
            )
        )
        sender = SessionSender(
            sock,
            SenderConfig(
                peer=session.reflector,
                schedule=array("Q", range(0, 50 * MS, MS)),
                start_ns=time.monotonic_ns() + 50 * MS,
                loss_timeout_ns=200 * MS,
                padding_length=padding_length,
                mode=session.mode,
                keys=session.keys,
            ),
        )
        await client.start_sessions()
        await sender.run()
        await client.stop_sessions()
    return sender


@pytest.mark.parametrize("mode", [Modes.UNAUTHENTICATED, *SECURED], ids=lambda m: m.name)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("padding_length", [0, 64, 1400])
def test_a_measurement_in_every_mode(mode: Modes, host: str, padding_length: int) -> None:
    async def test() -> None:
        async with listening() as responder:
            credentials = None if mode is Modes.UNAUTHENTICATED else ALICE
            client = await ControlClient.connect(
                host, responder.port, credentials=credentials, modes=mode
            )
            async with client:
                assert client.mode is mode
                for _ in range(2):  # the chain of the cipher runs on into the second round
                    sender = await measured(client, host, padding_length)
                    assert sum(1 for sample in sender.samples if sample.rank) == 50
                    assert sum(sender.stats().drops.values()) == 0
                    for sample in sender.samples:
                        assert sample.t1 <= sample.t2 <= sample.t3 <= sample.t4
            stats = responder.reflector.stats()
            assert stats.received == stats.reflected == stats.receive_sources["kernel"] == 100

    run(test)


@pytest.mark.parametrize(
    ("credentials", "count"),
    [
        (Credentials("alice", b"wrong"), 0),
        (Credentials("mallory", b"pass phrase-42!"), 0),
        (Credentials("bob", b"pass phrase-42!"), 0),
    ],
    ids=["wrong passphrase", "unknown user", "another's passphrase"],
)
def test_a_wrong_user_and_a_wrong_passphrase_look_the_same(
    credentials: Credentials, count: int
) -> None:
    async def test() -> None:
        async with listening() as responder:
            with pytest.raises(Refused, match="unknown user or wrong passphrase"):
                await ControlClient.connect("127.0.0.1", responder.port, credentials=credentials)
            assert responder.server.events["authentication_failed"] == 1

    run(test)


def test_the_strongest_mode_is_taken() -> None:
    async def test() -> None:
        async with listening() as responder:
            for modes, taken in (
                (None, Modes.ENCRYPTED),
                (Modes.AUTHENTICATED | Modes.MIXED, Modes.AUTHENTICATED),
            ):
                client = await ControlClient.connect(
                    "127.0.0.1", responder.port, credentials=ALICE, modes=modes
                )
                async with client:
                    assert client.mode is taken

    run(test)


def test_a_client_with_keys_does_not_fall_back_to_none() -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            with pytest.raises(Refused, match="offers unauthenticated, acceptable would be enc"):
                await ControlClient.connect("127.0.0.1", responder.port, credentials=ALICE)

    run(test)


def test_a_client_with_keys_takes_the_open_mode_if_it_was_told_it_may() -> None:
    async def test() -> None:
        async with Responder.listening() as responder:
            modes = Modes.UNAUTHENTICATED | Modes.ENCRYPTED
            client = await ControlClient.connect(
                "127.0.0.1", responder.port, credentials=ALICE, modes=modes
            )
            async with client:
                assert client.mode is Modes.UNAUTHENTICATED
        async with listening(mode=("encrypted",)) as responder:
            with pytest.raises(Refused, match="acceptable would be unauthenticated: --user"):
                await ControlClient.connect("127.0.0.1", responder.port, modes=modes)

    run(test)


@pytest.mark.parametrize(
    ("mode", "offered"),
    [
        (("encrypted",), 4),
        (("authenticated", "mixed"), 10),
        (("no-unauthenticated",), 14),
        (("no-unauthenticated", "no-mixed"), 6),
        ((), 15),
    ],
)
def test_the_mode_option_is_what_the_greeting_offers(mode: tuple[str, ...], offered: int) -> None:
    async def test() -> None:
        async with (
            listening(mode=mode) as responder,
            RawClient.connected(responder, set_up=False) as client,
        ):
            assert (await client.read(ServerGreeting)).modes == offered

    run(test)


@pytest.mark.parametrize("chosen", [1, 2, 8, 6])
def test_a_mode_that_was_not_offered_is_refused(chosen: int) -> None:
    """The bypass of the reference implementation: it takes any mode, whatever it offered."""

    async def test() -> None:
        async with (
            listening(mode=("encrypted",)) as responder,
            RawClient.connected(responder, set_up=False) as client,
        ):
            await client.read(ServerGreeting)
            client.send(SetUpResponse(Modes(chosen)))
            assert await client.read(ServerStart) == ServerStart(Accept.NOT_SUPPORTED)
            assert await client.read_eof() == b""
            assert responder.server.events["mode_refused"] == 1

    run(test)


@pytest.mark.parametrize(("count", "limit"), [(65536, 32768), (1024, 512)])
def test_a_count_beyond_our_limit_is_refused(count: int, limit: int) -> None:
    async def test() -> None:
        async with Responder.listening(users=USERS, pbkdf2_count=count) as responder:
            with pytest.raises(Refused, match=f"wants {count} iterations"):
                await ControlClient.connect(
                    "127.0.0.1", responder.port, credentials=ALICE, maximum_count=limit
                )

    run(test)


def test_a_flipped_bit_on_the_control_connection_ends_it() -> None:
    async def test() -> None:
        async with listening() as responder:
            client = await ControlClient.connect("127.0.0.1", responder.port, credentials=ALICE)
            async with client:
                octets = bytearray(client._conversation.send(SOME_REQUEST, 0))
                octets[20] ^= 1
                client._writer.write(octets)
                async with asyncio.timeout(ANSWER_WITHIN):
                    assert await client._reader.read() == b""
            assert responder.server.events["hmac_failed"] == 1

    run(test)


@pytest.mark.parametrize("mode", [Modes.AUTHENTICATED, Modes.ENCRYPTED, Modes.MIXED])
def test_an_unknown_command_is_answered_as_in_the_open_mode(mode: Modes) -> None:
    async def test() -> None:
        async with listening() as responder:
            client = await ControlClient.connect(
                "127.0.0.1", responder.port, credentials=ALICE, modes=mode
            )
            async with client:
                conversation = client._conversation
                client._writer.write(conversation._seal(SOME_REQUEST, b"\xc8" + bytes(31)))
                conversation.state = State.ACCEPT
                assert (await client._receive(AcceptSession)).accept is Accept.NOT_SUPPORTED
                assert await client._reader.read() == b""
            assert responder.server.events["unexpected_command"] == 1
            assert responder.server.events["hmac_failed"] == 0

    run(test)


def test_little_is_read_before_a_client_is_known() -> None:
    """What it sends while its Token is checked waits in the kernel, in a small buffer."""

    async def test() -> None:
        async with listening() as responder, RawClient.connected(responder, set_up=False) as client:
            await client.read(ServerGreeting)
            client.send(SetUpResponse(Modes.ENCRYPTED, key_id=b"nobody".ljust(80, b"\0")))
            client.writer.write(bytes(1 << 20))
            while responder.server.service.authenticator.tokens == 0:
                await asyncio.sleep(0.002)
            [connection] = responder.server.connections
            assert len(connection._conversation._incoming) <= READ_SIZE
            assert (await client.read(ServerStart)).accept is Accept.FAILURE

    run(test)


SOME_REQUEST = RequestTWSession(ip_version=4, sender_port=7000, receiver_port=0)


@pytest.mark.parametrize("mode", [Modes.AUTHENTICATED, Modes.ENCRYPTED], ids=lambda m: m.name)
def test_a_packet_that_is_not_sealed_with_the_session_s_keys_is_dropped(mode: Modes) -> None:
    async def test() -> None:
        async with listening() as responder:
            client = await ControlClient.connect(
                "127.0.0.1", responder.port, credentials=ALICE, modes=mode
            )
            async with client:
                with Probe() as probe:
                    session = await client.request_session(
                        SessionRequest(sender_port=probe.port, receiver_port=0)
                    )
                    await client.start_sessions()
                    where = ("127.0.0.1", session.reflector.port)
                    probe.sock.sendto(bytes(range(112)), where)
                    await dropped(responder, "hmac", 1)
                    probe.send(session.reflector.port)  # unauthenticated, and too short for this
                    await dropped(responder, "short", 1)
                    assert probe.nothing_came()
            stats = responder.reflector.stats()
            assert stats.received == sum(stats.drops.values()) == 2

    run(test)
