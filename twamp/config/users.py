"""The users of the secured modes: names (KeyID) and passphrases, from files that others cannot read.

A *key file* has the form of perfSONAR's pfs files: a line each of identity, blanks, and the passphrase in
hexadecimal; ``#`` begins a comment.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from twamp.errors import ConfigError

LONGEST_NAME = 80  # octets of the KeyID field (RFC 4656 section 3.1)
LONGEST_PASSPHRASE = 1024


class Users(Mapping[str, bytes]):
    """User name -> passphrase; its repr leaves the passphrases out."""

    def __init__(self, passphrases: Mapping[str, bytes] = MappingProxyType({})) -> None:
        for name, passphrase in passphrases.items():
            _check(name, passphrase)
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


def _check(name: str, passphrase: bytes) -> None:
    if not 1 <= len(name.encode()) <= LONGEST_NAME or "\0" in name:
        raise ConfigError(f"user {name!r}: a name has 1 to {LONGEST_NAME} octets and no NUL")
    if not 1 <= len(passphrase) <= LONGEST_PASSPHRASE:
        raise ConfigError(
            f"user {name!r}: the passphrase has {len(passphrase)} octets;"
            f" it takes 1 to {LONGEST_PASSPHRASE}"
        )
    if b"\r" in passphrase or b"\n" in passphrase:  # RFC 4656 section 3.1
        raise ConfigError(f"user {name!r}: the passphrase contains a line end; take it out")


def open_private(path: str | Path) -> str:
    """The text of a file with secrets; raises ConfigError if others can read it, OSError if we cannot."""
    with open(path, encoding="utf-8") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"{path}: others can read or write these secrets (mode {mode:04o}); chmod 600 {path}"
            )
        try:
            return file.read()
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not a text file; a key file is UTF-8") from None


def read_key_file(path: str | Path) -> Users:
    """The users of a key file; raises ConfigError with the line that is wrong."""
    found: dict[str, bytes] = {}
    for number, line in enumerate(open_private(path).splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2:
            raise ConfigError(
                f"{path}, line {number}: {len(words)} words; write: identity hex-passphrase"
            )
        name, text = words
        try:
            passphrase = bytes.fromhex(text)
        except ValueError:
            raise ConfigError(
                f"{path}, line {number}: the passphrase of {name!r} is not hexadecimal"
            ) from None
        if name in found:
            raise ConfigError(f"{path}, line {number}: {name!r} is defined twice; keep one")
        try:
            _check(name, passphrase)
        except ConfigError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        found[name] = passphrase
    return Users(found)


def read_user_tables(path: str | Path, tables: object) -> Users:
    """The ``[user.NAME]`` tables of a TOML file, each with a ``password``."""
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: user: write a table [user.NAME] with a password for each")
    found = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or set(table) != {"password"}:
            raise ConfigError(
                f"{path}: user.{name}: the table needs one key, password, and takes no other"
            )
        password = table["password"]
        # RFC 5357 section 3.1: NVT ASCII.
        if not isinstance(password, str) or not password.isascii():
            raise ConfigError(f"{path}: user.{name}: the password is a string of ASCII characters")
        found[name] = password.encode("ascii")
    return Users(found)
