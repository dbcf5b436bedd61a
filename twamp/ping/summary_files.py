"""Writes each summary to a file named by the time that it covers (twping's ``-p``)."""

import os
from collections.abc import Iterable
from pathlib import Path

from twamp.errors import ConfigError
from twamp.metrics.figures import Metrics


def require_directory(name: str) -> None:
    """Raises ConfigError, before anything is measured, where summaries could not be written."""
    if not (Path(name).is_dir() and os.access(name, os.W_OK | os.X_OK)):
        raise ConfigError(f"directory: {name!r} is no directory that we may write to")


def save(directory: str, metrics: Metrics, kind: str, pieces: Iterable[str]) -> Path:
    """Writes ``START_END.kind``, the first and last T1 as 20-digit NTP timestamps; returns its path.

    Raises :class:`~twamp.errors.ConfigError` when the directory does not take it.
    """
    path = Path(directory) / f"{metrics.first or 0:020d}_{metrics.last or 0:020d}.{kind}"
    try:
        with path.open("w") as file:
            file.writelines(pieces)
    except OSError as error:
        raise ConfigError(f"directory: {path}: {error.strerror}") from None
    return path
