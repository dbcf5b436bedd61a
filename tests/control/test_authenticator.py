"""The authenticator: the right passphrase opens a Token, and nothing else does."""

import asyncio

import pytest

from tests.support.by_hand import run
from twamp.config.users import Users
from twamp.control.authenticator import Authenticator, user_of
from twamp.protocol.control_messages import ServerGreeting, SetUpResponse
from twamp.protocol.crypto import SessionKeys, seal_token, token_key
from twamp.protocol.registries import Modes

GREETING = ServerGreeting(Modes.ENCRYPTED, challenge=b"c" * 16, salt=b"s" * 16, count=1024)
KEYS = SessionKeys(bytes(range(16)), bytes(range(32)))


def response(user: bytes, passphrase: bytes) -> SetUpResponse:
    key = token_key(passphrase, GREETING.salt, GREETING.count)
    return SetUpResponse(
        Modes.ENCRYPTED,
        key_id=user.ljust(80, b"\0"),
        token=seal_token(key, GREETING.challenge, KEYS),
    )


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
        authenticator = Authenticator(Users({"alice": b"open sesame", "bob": b"other"}))
        message = response(user, passphrase)
        assert await authenticator.open_token("192.0.2.1", GREETING, message) == keys
        authenticator.close()

    run(test)


def test_other_users_are_in_force_at_once() -> None:
    async def test() -> None:
        authenticator = Authenticator(Users())
        message = response(b"alice", b"open sesame")
        assert await authenticator.open_token("192.0.2.1", GREETING, message) is None
        authenticator.users = Users({"alice": b"open sesame"})
        assert await authenticator.open_token("192.0.2.1", GREETING, message) == KEYS
        authenticator.close()

    run(test)


def test_a_client_has_one_derivation_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """So another client waits for one key of a flood, and not for all of them."""
    users = Users({"alice": b"flood", "bob": b"calm"})
    derived: list[bytes] = []

    def recording(passphrase: bytes, salt: bytes, count: int) -> bytes:
        derived.append(passphrase)
        return token_key(passphrase, salt, count)

    monkeypatch.setattr("twamp.control.authenticator.token_key", recording)

    async def test() -> None:
        authenticator = Authenticator(users)
        flood = [
            asyncio.create_task(
                authenticator.open_token("192.0.2.1", GREETING, response(b"alice", b"flood"))
            )
            for _ in range(5)
        ]
        calm = asyncio.create_task(
            authenticator.open_token("192.0.2.2", GREETING, response(b"bob", b"calm"))
        )
        assert await asyncio.gather(*flood, calm) == [KEYS] * 6
        authenticator.close()

    run(test)
    assert derived.index(b"calm") <= 1
    assert derived.count(b"flood") == 5


@pytest.mark.parametrize(
    ("key_id", "user"), [(b"alice", "alice"), ("zoë".encode(), "zoë"), (b"\xff!", "\\xff!")]
)
def test_a_key_id_is_text_whatever_octets_it_has(key_id: bytes, user: str) -> None:
    assert user_of(SetUpResponse(Modes.ENCRYPTED, key_id=key_id.ljust(80, b"\0"))) == user
