"""The settings of a responder: read from the command line and files, and compared for a reload."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given, key_of, rows, settle
from twamp.config.toml_file import FromFiles, read_config_files
from twamp.config.users import Users, read_key_file
from twamp.control.server import offered_modes
from twamp.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """The options, the users, and where each option was given."""

    config: ReflectorConfig
    users: Users = field(default_factory=Users)
    given: Mapping[str, Given] = field(default_factory=dict)


def read_settings(config_file: str | None, spoken: Mapping[str, Given]) -> Settings:
    """Reads the settings of a file (None: no file) and of the command line, whose options are ``spoken``.

    Raises :class:`~twamp.errors.ConfigError` for everything that is wrong, a line each, and
    :class:`OSError` for a file of options that cannot be read.
    """
    files = FromFiles({}, Users(), ()) if config_file is None else read_config_files(config_file)
    errors: list[str] = list(files.errors)
    users = files.users
    key_file = {**files.given, **spoken}.get("key_file")
    if key_file is not None:
        try:
            users |= _users_of(key_file)
        except ConfigError as error:
            errors.extend(str(error).splitlines())
    config, given = settle(ReflectorConfig, files.given, spoken, errors=errors)
    try:
        offered_modes(config.mode, users)
    except ConfigError as error:
        raise ConfigError(given["mode"].blame(error)) from None
    return Settings(config, users, given)


def _users_of(key_file: Given) -> Users:
    """The users of a key file; none where its name is wrong, which is told with the other options."""
    if not isinstance(key_file.value, str) or not key_file.value or "\0" in key_file.value:
        return Users()
    try:
        return read_key_file(key_file.value)
    except OSError as error:
        reason = f"key-file: {key_file.value}: {error.strerror}"
        raise ConfigError(key_file.blame(reason)) from None


@dataclass(frozen=True)
class Change:
    """A reload that has been checked and can be applied."""

    settings: Settings  # with the former value of each option that needs a restart
    changed: tuple[str, ...]  # keys
    restart_needed: tuple[str, ...]  # keys


def plan_change(before: Settings, wanted: Settings) -> Change:
    """Plans the change from the settings in force to those that were read.

    Raises :class:`~twamp.errors.ConfigError` where new values contradict values that only a restart changes.
    """
    differing = [
        (name, row)
        for name, row in rows(ReflectorConfig)
        if getattr(before.config, name) != getattr(wanted.config, name)
    ]
    waiting = [name for name, row in differing if row.restart]
    try:
        config = replace(wanted.config, **{name: getattr(before.config, name) for name in waiting})
    except ConfigError as error:
        keys = ", ".join(map(key_of, waiting))
        raise ConfigError(f"{error}; only a restart changes {keys}") from None
    given = {name: one for name, one in wanted.given.items() if name not in waiting}
    given |= {name: one for name, one in before.given.items() if name in waiting}
    return Change(
        Settings(config, wanted.users, given),
        tuple(key_of(name) for name, row in differing if not row.restart),
        tuple(map(key_of, waiting)),
    )
