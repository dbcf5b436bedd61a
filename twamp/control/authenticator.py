"""Opens the Tokens of the secured modes: checks a user's passphrase (RFC 4656 section 3.1)."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from weakref import WeakValueDictionary

from twamp.config.users import Users
from twamp.protocol.control_messages import ServerGreeting, SetUpResponse
from twamp.protocol.crypto import SessionKeys, open_token, token_key

logger = logging.getLogger("twamp.server")

SALT_LIFE = 3600.0  # seconds that greetings have the same Salt
FAILURE_PAUSE = 0.1  # seconds after a wrong Token until the client's next one is looked at


class KeyRing:
    """The keys of all users for one Salt and Count, each derived once, in a thread.

    RFC 4656 section 3.1 wants a pseudo-random Salt; only the Challenge has to be new for each connection.
    """

    def __init__(self, executor: Executor, count: int) -> None:
        self.salt = secrets.token_bytes(16)
        self.count = count
        self.began = time.monotonic()
        self.is_full = asyncio.Event()  # every user's key is there
        self._executor = executor
        self._keys: dict[bytes, asyncio.Future[bytes]] = {}  # by passphrase

    async def key_of(self, passphrase: bytes) -> bytes:
        """The key, once it is derived."""
        key = self._keys.get(passphrase)
        if key is None:
            key = asyncio.get_running_loop().run_in_executor(
                self._executor, token_key, passphrase, self.salt, self.count
            )
            self._keys[passphrase] = key
        try:
            return await asyncio.shield(key)
        except Exception:
            self._keys.pop(passphrase, None)  # MemoryError: the next one tries again
            raise

    async def fill(self, passphrases: Iterable[bytes]) -> None:
        """Derives the keys of these passphrases, one after the other: whoever waits for one is next."""
        self.is_full.clear()
        try:
            for passphrase in passphrases:
                await self.key_of(passphrase)
        finally:
            self.is_full.set()


class Authenticator:
    """Knows the users, and checks their Tokens; the keys for that are derived beforehand.

    So a flood of clients costs no derivations: there is one for each user and hour.  A client has one
    Token in work, however many connections it has, and guesses ten passphrases a second at most.
    """

    def __init__(self, users: Users) -> None:
        self._users = users
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="twamp-keys")
        self._nobody = secrets.token_bytes(16)  # the passphrase of unknown users
        self._ring: KeyRing | None = None
        self._next: KeyRing | None = None
        self._filling: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.tokens = 0  # since the start, looked at
        self.wait_ns = 0  # since the start, from a Token to its keys, of all clients together

    def close(self) -> None:
        """Ends what is being derived."""
        for task in self._filling:
            task.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def users(self) -> Users:
        return self._users

    def replace_users(self, users: Users) -> None:
        """Sets other users, for Tokens that are opened from now on."""
        self._users = users
        for ring in (self._ring, self._next):
            if ring is not None:
                self._fill(ring)

    def ring(self, count: int) -> KeyRing:
        """The keys for the next greeting, with so many iterations.

        After ``SALT_LIFE`` other ones follow, as soon as every user's key is derived.
        """
        if self._ring is None or self._ring.count != count:
            self._ring, self._next = self._new_ring(count), None
        elif self._next is None:
            if time.monotonic() - self._ring.began >= SALT_LIFE:
                self._next = self._new_ring(count)
        elif self._next.is_full.is_set():
            self._ring, self._next = self._next, None
        return self._ring

    def _new_ring(self, count: int) -> KeyRing:
        ring = KeyRing(self._executor, count)
        self._fill(ring)
        return ring

    def _fill(self, ring: KeyRing) -> None:
        passphrases = (self._nobody, *self._users.values()) if self._users else ()
        task = asyncio.get_running_loop().create_task(self._fill_well(ring, passphrases))
        self._filling.add(task)
        task.add_done_callback(self._filling.discard)

    async def _fill_well(self, ring: KeyRing, passphrases: Iterable[bytes]) -> None:
        try:
            await ring.fill(passphrases)
        except Exception as error:
            logger.error("cannot derive keys beforehand: %s %s", type(error).__name__, error)

    async def open_token(
        self,
        client: str,
        ring: KeyRing,
        greeting: ServerGreeting,
        message: SetUpResponse,
        is_hung_up: Callable[[], bool] = lambda: False,
    ) -> SessionKeys | None:
        """The session keys, or None: unknown user or wrong passphrase (deliberately indistinguishable).

        ``ring`` is the one that the greeting was made with.  Raises :class:`ConnectionResetError` if the
        client has hung up meanwhile: it takes nobody's time.
        """
        began_ns = time.monotonic_ns()
        turn = self._turns.setdefault(client, asyncio.Lock())
        async with turn:
            _require_client(is_hung_up)
            passphrase = self._users.get(user_of(message))
            if passphrase is None:
                await ring.is_full.wait()  # then known users need not wait, either
            key = await ring.key_of(self._nobody if passphrase is None else passphrase)
            _require_client(is_hung_up)
            self.tokens += 1
            self.wait_ns += time.monotonic_ns() - began_ns
            keys = open_token(key, greeting.challenge, message.token)
            if keys is None or passphrase is None:
                await asyncio.sleep(FAILURE_PAUSE)
                return None
            return keys


def _require_client(is_hung_up: Callable[[], bool]) -> None:
    if is_hung_up():
        raise ConnectionResetError("the client has hung up before its Token was checked")


def user_of(message: SetUpResponse) -> str:
    """The user name in a Key ID; octets that are no UTF-8 are written as escapes."""
    return message.key_id.rstrip(b"\0").decode("utf-8", "backslashreplace")
