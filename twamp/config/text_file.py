"""Reads files of configuration and of secrets, in a bounded time and a bounded size."""

import os
import stat
from pathlib import Path

from twamp.errors import ConfigError

LONGEST = 4 << 20  # octets: some ten thousand users


def read_text(path: str | Path, *, private: bool = False, pipes: bool = False) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Only regular files are read, because a reload must not wait for whoever writes to a FIFO; with ``pipes``
    a FIFO does, too.  ``private`` refuses a file that others can read or write.  Raises :class:`OSError`,
    or :class:`~twamp.errors.ConfigError` with the path and the remedy.
    """
    descriptor = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC | (0 if pipes else os.O_NONBLOCK))
    try:
        _require_file(path, os.fstat(descriptor).st_mode, private=private, pipes=pipes)
        octets = _read(descriptor)
    finally:
        os.close(descriptor)
    if len(octets) > LONGEST:
        raise ConfigError(
            f"{path}: longer than {LONGEST >> 20} MiB; split it, or is it another file?"
        )
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file; it has to be UTF-8") from None


def _require_file(path: str | Path, mode: int, *, private: bool, pipes: bool) -> None:
    if not (stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode))):
        raise ConfigError(f"{path}: not a regular file; copy the text into one")
    if private and mode & 0o077:
        raise ConfigError(
            f"{path}: others can read or write these secrets (mode {stat.S_IMODE(mode):04o}); "
            f"chmod 600 {path}"
        )


def _read(descriptor: int) -> bytes:
    octets = bytearray()
    while len(octets) <= LONGEST and (some := os.read(descriptor, LONGEST + 1)):
        octets += some
    return bytes(octets)
