"""The text of a TOML file: its tables, and the line of each key, which tomllib does not tell."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from twamp.config.text_file import read_text
from twamp.errors import ConfigError

DEPTH = 3  # of the keys whose lines are kept: [user.NAME] password

_PART = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_PARTS = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADING = re.compile(rf"\s*\[\[?\s*({_PARTS})\s*\]")
_KEY = re.compile(rf"\s*({_PARTS})\s*=")


class TomlText:
    """A TOML file that has been read; ``table`` is its content.

    Raises :class:`OSError` when the file cannot be read, :class:`~twamp.errors.ConfigError` when it is no
    TOML.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        text = read_text(name)
        try:
            self.table: dict[str, Any] = tomllib.loads(text)
        except RecursionError:
            raise ConfigError(f"{name}: brackets are nested too deeply; take some out") from None
        except ValueError as error:  # of TOML, which names the line, or of a number too long
            raise ConfigError(f"{name}: {error}") from None
        self._lines: dict[tuple[str, ...], int] = {}
        for number, path in _paths(text):
            for depth in range(1, DEPTH + 1):
                self._lines.setdefault(path[:depth], number)

    def line(self, *path: str) -> int:
        """The line where a key, or its table, begins; of an inline table's key that of the table."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def where(self, *path: str) -> str:
        """File and line of a key, or of a table."""
        return f"{self.name}, line {self.line(*path)}"


def _paths(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each line that begins a table or a key, and its name: the table's names, then the key's."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _HEADING.match(line):
            table = _split(heading[1])
            yield number, table
        elif key := _KEY.match(line):
            yield number, (*table, *_split(key[1]))[:DEPTH]


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted)[:DEPTH])
