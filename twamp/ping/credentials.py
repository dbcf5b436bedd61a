"""twping's credentials: the modes that ``-A`` accepts, and the user's passphrase."""

import functools
import getpass
import io
import operator
import sys

from twamp.config.ping import PingConfig
from twamp.config.users import check_user, read_key_file
from twamp.control.client import Credentials
from twamp.errors import ConfigError
from twamp.protocol.registries import Modes

_MODES = {
    "A": Modes.AUTHENTICATED,
    "E": Modes.ENCRYPTED,
    "M": Modes.MIXED,
    "O": Modes.UNAUTHENTICATED,
}


def modes_of(letters: str | None) -> Modes | None:
    """Returns the modes that the letters of ``-A`` name; None for no letters."""
    if letters is None:
        return None
    return functools.reduce(operator.or_, (_MODES[letter] for letter in letters))


def credentials_of(config: PingConfig) -> Credentials | None:
    """Returns the user's credentials, from key file, terminal or standard input; None without a user.

    Raises :class:`~twamp.errors.ConfigError` when there is no passphrase.
    """
    if set(config.auth_mode or "") == {"O"}:  # then a user is of no use
        return None
    if config.user is not None and config.key_file is None:
        passphrase = _ask(config.user).encode(errors="surrogateescape")
        check_user(config.user, passphrase)
        if any(octet < 0x20 or octet == 0x7F for octet in passphrase):
            raise ConfigError(
                "user: the passphrase contains control characters, as of an arrow key; enter it again, "
                "or give --key-file FILE"
            )
        return Credentials(config.user, passphrase)
    return credentials_in_key_file(config)


def credentials_in_key_file(config: PingConfig) -> Credentials | None:
    """Returns the user's credentials from the key file; None without one.

    Raises :class:`~twamp.errors.ConfigError` when the file does not have the user, OSError when it
    cannot be read.
    """
    if config.user is None or config.key_file is None:
        return None
    users = read_key_file(config.key_file, pipes=True)
    if config.user not in users:
        raise ConfigError(f"key-file: {config.key_file} has no user {config.user!r}")
    return Credentials(config.user, users[config.user])


def _ask(user: str) -> str:
    """Asks on the terminal; where there is none, reads standard input, as the reference does."""
    if sys.stdin.isatty():
        return getpass.getpass(f"passphrase of {user}: ")
    if isinstance(sys.stdin, io.TextIOWrapper):  # the octets as they are
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    passphrase = sys.stdin.readline().rstrip("\r\n")
    if not passphrase:
        raise ConfigError(
            "user: no terminal to ask for the passphrase on, nor one on standard input; "
            "give --key-file FILE"
        )
    return passphrase
