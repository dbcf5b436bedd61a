"""The responder's options from TOML: a file, its drop-in directory, and the line of each value.

``twampd.toml`` is read first, then ``twampd.toml.d/*.toml`` in the order of their names; a later file's
value replaces an earlier one's, lists whole.  ``[user.NAME]`` tables hold passwords, and a file that has
some must be private.  All errors are told at once.
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
    """The content of the files, their names, and what is wrong with them, a line for each error."""

    given: dict[str, Given]
    users: Users
    names: tuple[str, ...]
    errors: tuple[str, ...] = ()


def read_config_files(path: str) -> FromFiles:
    """Reads ``path`` and ``path.d/*.toml``; raises :class:`OSError` for a file that cannot be read.

    ``errors`` has, with file and line, what is no TOML, no option, or no user.  Values are checked later.
    """
    given: dict[str, Given] = {}
    users = Users()
    errors: list[str] = []
    names = [path, *(str(name) for name in sorted(Path(f"{path}.d").glob("*.toml")))]
    for name in names:
        try:
            text, table = parse_toml(name)
            if "user" in table:
                open_private(name)
                users |= read_user_tables(name, table.pop("user"))
        except ConfigError as error:
            errors.append(str(error))
            continue
        given |= _options(name, text, table, errors)
    return FromFiles(given, users, tuple(names), tuple(errors))


def _options(name: str, text: str, table: dict[str, Any], errors: list[str]) -> dict[str, Given]:
    given = {}
    for key, value in table.items():
        origin = f"{name}, line {line_of(key, text)}"
        try:
            given[field_of(ReflectorConfig, key)] = Given(value, origin)
        except ConfigError as error:
            errors.append(f"{origin}: {error}")
    return given


def parse_toml(name: str) -> tuple[str, dict[str, Any]]:
    """The text of a file, and its tables; ConfigError when it is no TOML."""
    try:
        text = Path(name).read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:  # says the line itself
        raise ConfigError(f"{name}: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: not a text file; TOML is UTF-8") from None


def line_of(key: str, text: str) -> int:
    """The line where a top-level key, or its table, begins; tomllib does not say."""
    spelled = rf"(?:{re.escape(key)}|\"{re.escape(key)}\"|'{re.escape(key)}')"
    place = re.compile(rf"\s*(?:{spelled}\s*[=.]|\[+\s*{spelled}\s*[\].])")
    for number, line in enumerate(text.splitlines(), 1):
        if place.match(line):
            return number
    return 1
