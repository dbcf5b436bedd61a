"""The responder's options from TOML: a file, its drop-in directory, and the line of each value.

``twampd.toml`` is read first, then ``twampd.toml.d/*.toml`` in the order of their names; a later file's
value replaces an earlier one's, lists whole.  ``[class.NAME]`` tables are classes of clients.
``[user.NAME]`` tables hold passwords, and a file that has some must be private.  All errors are told at once.
"""

from dataclasses import dataclass
from pathlib import Path

from twamp.config.classes import Classes, ClientClass, read_class_tables
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given, field_of
from twamp.config.text_file import read_text
from twamp.config.toml_text import TomlText
from twamp.config.users import Users, read_user_tables
from twamp.errors import ConfigError

MOST_ERRORS = 50  # of one file; looking for the nearest names takes time


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
    classes: list[ClientClass] = []
    errors: list[str] = []
    names = [path, *(str(name) for name in sorted(Path(f"{path}.d").glob("*.toml")))]
    for name in names:
        try:
            file = TomlText(name)
        except ConfigError as error:
            errors.append(str(error))
            continue
        if "user" in file.table:
            try:
                read_text(name, private=True)
                users |= read_user_tables(file.table.pop("user"), file.where)
            except ConfigError as error:
                errors.extend(str(error).splitlines())
        if "class" in file.table:
            try:
                classes += read_class_tables(file.table.pop("class"), file.where)
            except ConfigError as error:
                errors.extend(str(error).splitlines())
        given |= _options(file, errors)
    if classes:
        try:
            given["classes"] = Given(Classes(classes), path)
        except ConfigError as error:
            errors.append(f"{path}: {error}")
    return FromFiles(given, users, tuple(names), tuple(errors))


def _options(file: TomlText, errors: list[str]) -> dict[str, Given]:
    """The options of a file by field; what is wrong with their names goes to ``errors``."""
    given: dict[str, Given] = {}
    for key, value in file.table.items():
        if len(errors) >= MOST_ERRORS:
            errors.append(f"{file.name}: there may be more errors; mend these first")
            break
        try:
            field = field_of(ReflectorConfig, key)
        except ConfigError as error:
            errors.append(f"{file.where(key)}: {error}")
            continue
        if field in given:
            errors.append(
                f"{file.where(key)}: {key}: the same option is in {given[field].origin}; keep one"
            )
        given[field] = Given(value, file.where(key))
    return given
