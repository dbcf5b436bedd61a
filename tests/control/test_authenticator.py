"""The authenticator: the right passphrase opens a Token, and nothing else does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.by_hand import run
from twamp.config.users import Users
from twamp.control.authenticator import Authenticator, KeyRing, user_of
from twamp.protocol.control_messages import ServerGreeting, SetUpResponse
from twamp.protocol.crypto import SessionKeys, seal_token, token_key
from twamp.protocol.registries import Modes

KEYS = SessionKeys(bytes(range(16)), bytes(range(32)))
COUNT = 1024


def greeting_of(ring: KeyRing) -> ServerGreeting:
    return ServerGreeting(Modes.ENCRYPTED, challenge=b"c" * 16, salt=ring.salt, count=ring.count)


def response(ring: KeyRing, user: bytes, passphrase: bytes) -> SetUpResponse:
    key = token_key(passphrase, ring.salt, ring.count)
    return SetUpResponse(
        Modes.ENCRYPTED,
        key_id=user.ljust(80, b"\0"),
        token=seal_token(key, greeting_of(ring).challenge, KEYS),
    )


async def opened(
    authenticator: Authenticator,
    ring: KeyRing,
    user: bytes,
    passphrase: bytes,
    client: str = "192.0.2.1",
) -> SessionKeys | None:
    message = response(ring, user, passphrase)
    return await authenticator.open_token(client, ring, greeting_of(ring), message)


@asynccontextmanager
async def authenticating(**users: bytes) -> AsyncIterator[Authenticator]:
    authenticator = Authenticator(Users(users))
    yield authenticator
    authenticator.close()


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passphrases that a key was derived of, in their order."""
    passphrases: list[bytes] = []

    def recording(passphrase: bytes, salt: bytes, count: int) -> bytes:
        passphrases.append(passphrase)
        return token_key(passphrase, salt, count)

    monkeypatch.setattr("twamp.control.authenticator.token_key", recording)
    return passphrases


@pytest.mark.parametrize(
    ("user", "passphrase", "keys"),
    [
        (b"alice", b"open sesame", KEYS),
        (b"alice", b"wrong", None),
        (b"bob", b"open sesame", None),
        (b"mallory", b"open sesame", None),
    ],
)
def test_a_token_opens_with_the_passphrase_of_its_user(
    user: bytes, passphrase: bytes, keys: SessionKeys | None
) -> None:
    async def test() -> None:
        async with authenticating(alice=b"open sesame", bob=b"other") as authenticator:
            ring = authenticator.ring(COUNT)
            assert await opened(authenticator, ring, user, passphrase) == keys
            assert authenticator.tokens == 1
            assert authenticator.wait_ns > 0

    run(test)


def test_other_users_are_in_force_at_once() -> None:
    async def test() -> None:
        async with authenticating() as authenticator:
            ring = authenticator.ring(COUNT)
            assert await opened(authenticator, ring, b"alice", b"open sesame") is None
            authenticator.replace_users(Users({"alice": b"open sesame"}))
            assert await opened(authenticator, ring, b"alice", b"open sesame") == KEYS

    run(test)


def test_a_flood_of_tokens_derives_no_keys(derived: list[bytes]) -> None:
    """There is one for each user and one for all that are unknown, whatever comes."""

    async def test() -> None:
        async with authenticating(alice=b"open sesame", bob=b"calm") as authenticator:
            ring = authenticator.ring(COUNT)
            found = await asyncio.gather(
                *(opened(authenticator, ring, b"alice", b"x", f"192.0.2.{n}") for n in range(50)),
                *(opened(authenticator, ring, b"%d" % n, b"x", f"192.0.2.{n}") for n in range(50)),
                opened(authenticator, ring, b"bob", b"calm", "198.51.100.1"),
            )
            assert found == [None] * 100 + [KEYS]

    run(test)
    assert len(derived) == 3


def test_a_client_that_guesses_waits_and_others_do_not() -> None:
    async def test() -> None:
        async with authenticating(alice=b"open sesame") as authenticator:
            ring = authenticator.ring(COUNT)
            guesses = [
                asyncio.create_task(opened(authenticator, ring, b"alice", b"x")) for _ in range(9)
            ]
            assert await opened(authenticator, ring, b"alice", b"open sesame", "192.0.2.2") == KEYS
            assert not any(guess.done() for guess in guesses)
            for guess in guesses:
                guess.cancel()

    run(test)


def test_the_tokens_of_clients_that_have_hung_up_take_nobodys_time() -> None:
    async def test() -> None:
        async with authenticating(alice=b"open sesame") as authenticator:
            ring = authenticator.ring(COUNT)
            message = response(ring, b"alice", b"wrong")
            gone = [
                asyncio.create_task(
                    authenticator.open_token("c", ring, greeting_of(ring), message, lambda: True)
                )
                for _ in range(500)  # a pause after each would be fifty seconds
            ]
            assert await opened(authenticator, ring, b"alice", b"open sesame", "c") == KEYS
            found = await asyncio.gather(*gone, return_exceptions=True)
            assert all(isinstance(error, ConnectionResetError) for error in found)
            assert authenticator.tokens == 1

    run(test)


def test_the_salt_is_kept_for_an_hour_and_the_next_one_waits_for_its_keys(
    monkeypatch: pytest.MonkeyPatch, derived: list[bytes]
) -> None:
    async def test() -> None:
        async with authenticating(alice=b"open sesame") as authenticator:
            first = authenticator.ring(COUNT)
            assert authenticator.ring(COUNT) is first
            await first.is_full.wait()
            monkeypatch.setattr("twamp.control.authenticator.SALT_LIFE", 0)
            assert authenticator.ring(COUNT) is first  # the keys of the next one are derived
            while (second := authenticator.ring(COUNT)) is first:
                await asyncio.sleep(0)
            assert second.salt != first.salt
            assert second.is_full.is_set()
            # A client that was greeted with the former Salt may still answer.
            assert await opened(authenticator, first, b"alice", b"open sesame") == KEYS
            assert await opened(authenticator, second, b"alice", b"open sesame") == KEYS

    run(test)
    assert derived.count(b"open sesame") == 2


def test_another_count_is_in_force_at_once() -> None:
    async def test() -> None:
        async with authenticating(alice=b"open sesame") as authenticator:
            assert authenticator.ring(COUNT).count == COUNT
            ring = authenticator.ring(2 * COUNT)
            assert ring.count == 2 * COUNT
            assert await opened(authenticator, ring, b"alice", b"open sesame") == KEYS

    run(test)


def test_a_derivation_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> bytes:
        raise MemoryError

    async def test() -> None:
        monkeypatch.setattr("twamp.control.authenticator.token_key", failing)
        async with authenticating(alice=b"open sesame") as authenticator:
            ring = authenticator.ring(COUNT)
            await ring.is_full.wait()
            await asyncio.sleep(0)
            assert "cannot derive keys" in caplog.text
            monkeypatch.setattr("twamp.control.authenticator.token_key", token_key)
            assert await opened(authenticator, ring, b"alice", b"open sesame") == KEYS

    run(test)


@pytest.mark.parametrize(
    ("key_id", "user"), [(b"alice", "alice"), ("zoë".encode(), "zoë"), (b"\xff!", "\\xff!")]
)
def test_a_key_id_is_text_whatever_octets_it_has(key_id: bytes, user: str) -> None:
    assert user_of(SetUpResponse(Modes.ENCRYPTED, key_id=key_id.ljust(80, b"\0"))) == user
