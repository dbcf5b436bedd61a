"""How twping shows who asks: the modes that ``-A`` accepts, and the user's passphrase."""

import functools
import getpass
import operator
import sys

from twamp.config.ping import PingConfig
from twamp.config.users import read_key_file
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
    """What ``-A`` says."""
    if letters is None:
        return None
    return functools.reduce(operator.or_, (_MODES[letter] for letter in letters))


def credentials_of(config: PingConfig) -> Credentials | None:
    """The user's passphrase, from the key file, from the user on a terminal, or from standard input.

    Raises :class:`~twamp.errors.ConfigError` when there is none.
    """
    if config.user is None:
        return None
    if config.key_file is not None:
        users = read_key_file(config.key_file)
        if config.user not in users:
            raise ConfigError(f"key-file: {config.key_file} has no user {config.user!r}")
        return Credentials(config.user, users[config.user])
    return Credentials(config.user, _ask(config.user).encode())


def _ask(user: str) -> str:
    """From the terminal, or where there is none from standard input, as the reference does."""
    if sys.stdin.isatty():
        return getpass.getpass(f"passphrase of {user}: ")
    passphrase = sys.stdin.readline().rstrip("\r\n")
    if not passphrase:
        raise ConfigError(
            "user: no terminal to ask for the passphrase on, nor one on standard input; "
            "give --key-file FILE"
        )
    return passphrase
