"""The command line of a program, made from the rows of its options."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from twamp.config.readers import flag
from twamp.config.row import Config, ConfigT, Row, default_text, key_of, rows
from twamp.errors import ConfigError

HIDDEN = argparse.SUPPRESS  # the help of an option that --help does not list


class Parser(argparse.ArgumentParser):
    """Raises ConfigError for a wrong command line; argparse would exit with 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; {self.prog} --help lists the options")


def add_arguments(parser: argparse.ArgumentParser, config_class: type[Config]) -> None:
    """One command line option per row; what is not given is absent from the namespace."""
    for field, row in rows(config_class):
        keywords: dict[str, Any] = {"dest": field, "default": argparse.SUPPRESS}
        if row.read is flag:
            keywords["action"] = "store_true"
        else:
            keywords["metavar"] = row.metavar or field.rpartition("_")[2].upper()
            if row.multiple:
                keywords["action"] = "append"
        short = [name for name in row.flags if not name.startswith("--")]
        long = [name for name in row.flags if name.startswith("--")]
        parser.add_argument(
            *short, f"--{key_of(field)}", *long, help=_help(row).replace("%", "%%"), **keywords
        )


def spelled_out(config_class: type[Config], arguments: Sequence[str]) -> list[str]:
    """The command line with the values of options that stand without one: they never take the next word."""
    bare = {
        f"--{key_of(field)}": row.bare for field, row in rows(config_class) if row.bare is not None
    }
    return [f"{each}={bare[each]}" if each in bare else each for each in arguments]


def _help(row: Row) -> str:
    if row.read is flag:
        return row.help
    parts = []
    if text := default_text(row.default):
        parts.append(f"default {text}")
    if row.range:
        parts.append(row.range)
    return f"{row.help} ({'; '.join(parts)})" if parts else row.help


def from_arguments(config_class: type[ConfigT], namespace: argparse.Namespace) -> ConfigT:
    """The config that a parsed command line asks for; what it does not say is the default."""
    return config_class(**given_fields(config_class, namespace))


def given_fields(config_class: type[Config], namespace: argparse.Namespace) -> dict[str, Any]:
    """The fields that a parsed command line sets."""
    given = vars(namespace)
    return {field: given[field] for field, _ in rows(config_class) if field in given}
