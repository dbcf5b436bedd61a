"""The users of the secured modes: names (KeyID) and passphrases, from files that others cannot read.

A *key file* has the form of perfSONAR's pfs files: a line each of identity, blanks, and the passphrase in
hexadecimal; ``#`` begins a comment.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from twamp.config.row import require_none
from twamp.config.text_file import read_text
from twamp.errors import ConfigError

LONGEST_NAME = 80  # octets of the KeyID field (RFC 4656 section 3.1)
LONGEST_PASSPHRASE = 1024
SHORT_PASSPHRASE = (
    8  # octets below which one is warned of: it can be guessed from a recorded handshake
)


class Users(Mapping[str, bytes]):
    """User name -> passphrase; its repr leaves the passphrases out."""

    def __init__(self, passphrases: Mapping[str, bytes] = MappingProxyType({})) -> None:
        for name, passphrase in passphrases.items():
            check_user(name, passphrase)
        self._passphrases = dict(passphrases)

    def __getitem__(self, name: str) -> bytes:
        return self._passphrases[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._passphrases)

    def __len__(self) -> int:
        return len(self._passphrases)

    def __repr__(self) -> str:
        return f"Users({', '.join(self._passphrases)})"

    def __or__(self, others: "Users") -> "Users":
        """Both; raises :class:`~twamp.errors.ConfigError` for a name that both have."""
        for name in self.keys() & others.keys():
            raise ConfigError(f"user {name!r} is defined twice; keep one")
        return Users({**self, **others})


def check_user(name: str, passphrase: bytes) -> None:
    """Raises :class:`~twamp.errors.ConfigError` for a name or a passphrase that cannot be one."""
    if not 1 <= len(name.encode()) <= LONGEST_NAME or "\0" in name:
        raise ConfigError(f"user {name!r}: a name has 1 to {LONGEST_NAME} octets and no NUL")
    if not 1 <= len(passphrase) <= LONGEST_PASSPHRASE:
        raise ConfigError(
            f"user {name!r}: the passphrase has {len(passphrase)} octets;"
            f" it takes 1 to {LONGEST_PASSPHRASE}"
        )
    if b"\r" in passphrase or b"\n" in passphrase:  # RFC 4656 section 3.1
        raise ConfigError(f"user {name!r}: the passphrase contains a line end; take it out")
    if (
        b"\0" in passphrase
    ):  # HMAC fills its key with zeros: with one more at its end it is the same
        raise ConfigError(f"user {name!r}: the passphrase contains a NUL; take it out")


def weaknesses(users: Mapping[str, bytes]) -> Iterator[str]:
    """A warning for each passphrase that is probably not meant so."""
    for name, passphrase in users.items():
        if len(passphrase) < SHORT_PASSPHRASE:
            yield (
                f"user {name!r}: a passphrase of {len(passphrase)} octets can be guessed;"
                f" give {SHORT_PASSPHRASE} or more"
            )
        if any(octet < 0x20 or octet == 0x7F for octet in passphrase):
            yield f"user {name!r}: the passphrase contains control characters; is that meant?"


def read_key_file(path: str | Path, *, pipes: bool = False) -> Users:
    """The users of a key file; raises ConfigError with every line that is wrong, OSError if we cannot read.

    ``pipes``: the file may be a FIFO, such as a shell makes of ``<(command)``.
    """
    found: dict[str, bytes] = {}
    errors: list[str] = []
    for number, line in enumerate(read_text(path, private=True, pipes=pipes).splitlines(), 1):
        words = line.partition("#")[0].split()
        try:
            if words:
                name, passphrase = _user_of(words)
                if name in found:
                    raise ConfigError(f"{name!r} is defined twice; keep one")
                found[name] = passphrase
        except ConfigError as error:
            errors.append(f"{path}, line {number}: {error}")
    require_none(errors)
    return Users(found)


def _user_of(words: Sequence[str]) -> tuple[str, bytes]:
    """Name and passphrase of the words of a line."""
    if len(words) != 2:
        raise ConfigError(f"{len(words)} words; write: identity hex-passphrase")
    name, text = words
    try:
        passphrase = bytes.fromhex(text)
    except ValueError:
        raise ConfigError(f"the passphrase of {name!r} is not hexadecimal") from None
    check_user(name, passphrase)
    return name, passphrase


def read_user_tables(tables: object, where: Callable[..., str]) -> Users:
    """The ``[user.NAME]`` tables of a TOML file, each with a ``password``.

    ``where`` gives file and line of a key by its path.  Raises ConfigError with every table that is wrong,
    a line each.
    """
    if not isinstance(tables, dict):
        raise ConfigError(
            f"{where('user')}: user: write a table [user.NAME] with a password for each"
        )
    found = {}
    errors: list[str] = []
    for name, table in tables.items():
        try:
            found[name] = _password(name, table, where)
        except ConfigError as error:
            errors.append(str(error))
    require_none(errors)
    return Users(found)


def _password(name: str, table: object, where: Callable[..., str]) -> bytes:
    if not isinstance(table, dict):
        raise ConfigError(
            f"{where('user', name)}: user.{name}: write a table [user.{name}] with a password"
        )
    for key in table:
        if key != "password":
            near = difflib.get_close_matches(key, ["password"])
            remedy = "did you mean 'password'?" if near else "password is the only key"
            raise ConfigError(
                f"{where('user', name, key)}: user.{name}: {key!r} is no key; {remedy}"
            )
    password = table.get("password")
    if password is None:
        raise ConfigError(f"{where('user', name)}: user.{name}: the password is missing")
    place = where("user", name, "password")
    # RFC 5357 section 3.1: NVT ASCII.
    if not isinstance(password, str) or not password.isascii():
        raise ConfigError(f"{place}: user.{name}: the password is a string of ASCII characters")
    try:
        check_user(name, password.encode("ascii"))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    return password.encode("ascii")
