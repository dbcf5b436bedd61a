"""The responder's options from TOML: a file, its drop-in directory, and the line of each value.

``twampd.toml`` is read first, then ``twampd.toml.d/*.toml`` in the order of their names; a later file's
value replaces an earlier one's, lists whole.  ``[user.NAME]`` tables hold passwords, and a file that has
some must be private.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given, field_of
from twamp.config.users import Users, open_private, read_user_tables
from twamp.errors import ConfigError


@dataclass(frozen=True)
class FromFiles:
    """What the files say, and which they were."""

    given: dict[str, Given]
    users: Users
    names: tuple[str, ...]


def read_config_files(path: str) -> FromFiles:
    """Reads ``path`` and ``path.d/*.toml``.

    Raises :class:`OSError` for a file that cannot be read, :class:`~twamp.errors.ConfigError` with file and
    line for one that is not right.
    """
    given: dict[str, Given] = {}
    users = Users()
    names = [path, *(str(name) for name in sorted(Path(f"{path}.d").glob("*.toml")))]
    for name in names:
        file_given, file_users = _read(name)
        given |= file_given
        users |= file_users
    return FromFiles(given, users, tuple(names))


def _read(name: str) -> tuple[dict[str, Given], Users]:
    text, table = parse_toml(name)
    users = Users()
    if "user" in table:
        open_private(name)
        users = read_user_tables(name, table.pop("user"))
    given = {}
    for key, value in table.items():
        origin = f"{name}, line {line_of(key, text)}"
        try:
            given[field_of(ReflectorConfig, key)] = Given(value, origin)
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error}") from None
    return given, users


def parse_toml(name: str) -> tuple[str, dict[str, Any]]:
    """A file's text, and what it says as TOML; ConfigError when it is none."""
    try:
        text = Path(name).read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:  # says the line itself
        raise ConfigError(f"{name}: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: this is no text; TOML is UTF-8") from None


def line_of(key: str, text: str) -> int:
    """The line where a top-level key, or its table, begins; tomllib does not say."""
    spelled = rf"(?:{re.escape(key)}|\"{re.escape(key)}\"|'{re.escape(key)}')"
    place = re.compile(rf"\s*(?:{spelled}\s*[=.]|\[+\s*{spelled}\s*[\].])")
    for number, line in enumerate(text.splitlines(), 1):
        if place.match(line):
            return number
    return 1
