"""Opens the Tokens of the secured modes: checks a user's passphrase (RFC 4656 section 3.1)."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

from twamp.config.users import Users
from twamp.protocol.control_messages import ServerGreeting, SetUpResponse
from twamp.protocol.crypto import SessionKeys, open_token, token_key


class Authenticator:
    """Derives keys in a thread, one at a time: a flood of clients takes one core at most.

    A client has one derivation in the queue, however many connections it has, so that a flood from one
    client does not delay another.
    """

    def __init__(self, users: Users) -> None:
        self.users = users
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="twamp-keys")
        # The passphrase of unknown users, so that they cost as much time as known ones.
        self._nobody = secrets.token_bytes(16)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def open_token(
        self, client: str, greeting: ServerGreeting, message: SetUpResponse
    ) -> SessionKeys | None:
        """The session keys, or None: unknown user or wrong passphrase (deliberately indistinguishable)."""
        passphrase = self.users.get(user_of(message))
        turn = self._turns.setdefault(client, asyncio.Lock())
        async with turn:
            key = await asyncio.get_running_loop().run_in_executor(
                self._executor,
                token_key,
                self._nobody if passphrase is None else passphrase,
                greeting.salt,
                greeting.count,
            )
        keys = open_token(key, greeting.challenge, message.token)
        return None if passphrase is None else keys


def user_of(message: SetUpResponse) -> str:
    """The user name in a Key ID; octets that are no UTF-8 are written as escapes."""
    return message.key_id.rstrip(b"\0").decode("utf-8", "backslashreplace")
