"""The command line of a program, made from the rows of its options.

This module reads command lines for the programs; it is the only one beside their ``__main__`` that knows
argparse.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from twamp.config.readers import flag
from twamp.config.row import Config, ConfigT, Row, default_text, key_of, rows
from twamp.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

HIDDEN = argparse.SUPPRESS  # the help of an option that --help does not list
WIDTH = 80  # columns of --help
FORMATTER: Any = functools.partial(
    argparse.RawDescriptionHelpFormatter, width=WIDTH, max_help_position=28
)


class Parser(argparse.ArgumentParser):
    """The command line of a program: ``--version``, short usage, help of 80 columns that ends in examples.

    ``examples`` are (command, what it does) pairs, ``notes`` what else to know, in lines of 80 columns.
    """

    def __init__(
        self,
        prog: str,
        *,
        usage: str,
        description: str,
        version: str,
        examples: Sequence[tuple[str, str]],
        notes: str = "",
        allow_abbrev: bool = True,
    ) -> None:
        lines = [f"  {command}\n      {text}" for command, text in examples]
        epilog = "\n".join(["examples:", *lines, *(["", notes] if notes else [])])
        super().__init__(
            prog=prog,
            usage=f"%(prog)s {usage}",
            description=description,
            epilog=epilog,
            formatter_class=FORMATTER,
            allow_abbrev=allow_abbrev,
        )
        self.add_argument(
            "--version",
            action="version",
            version=f"%(prog)s {version}",
            help="show the version and exit",
        )

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Raises OSError, which argparse passes over, when a text of help cannot be written."""
        (file or sys.stderr).write(message)


class RaisingParser(Parser):
    """Raises ConfigError for a wrong command line, where argparse would exit with 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; {self.prog} --help lists the options")


def add_arguments(parser: argparse.ArgumentParser, config_class: type[Config]) -> None:
    """One option per row, under the heading of its group; what is not given is absent from the namespace."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field, row in rows(config_class):
        if row.group not in groups:
            groups[row.group] = parser.add_argument_group(row.group)
        keywords: dict[str, Any] = {"dest": field, "default": argparse.SUPPRESS}
        if row.read is flag:
            keywords["action"] = argparse.BooleanOptionalAction if row.default else "store_true"
        else:
            keywords["metavar"] = row.metavar or field.rpartition("_")[2].upper()
            if row.multiple:
                keywords["action"] = "append"
        short = [name for name in row.flags if not name.startswith("--")]
        long = [name for name in row.flags if name.startswith("--")]
        names = (*short, f"--{key_of(field)}", *long)
        groups[row.group].add_argument(*names, help=_help(row).replace("%", "%%"), **keywords)


def _help(row: Row) -> str:
    parts = []
    if text := default_text(row.default):
        parts.append(f"default {text}")
    if row.limits:
        parts.append(row.limits)
    return f"{row.help} ({'; '.join(parts)})" if parts else row.help


def spelled_out(config_class: type[Config], arguments: Sequence[str]) -> list[str]:
    """The command line with the values of options that stand without one: they never take the next word."""
    bare = {
        f"--{key_of(field)}": row.bare for field, row in rows(config_class) if row.bare is not None
    }
    return [f"{each}={bare[each]}" if each in bare else each for each in arguments]


def from_arguments(config_class: type[ConfigT], namespace: argparse.Namespace) -> ConfigT:
    """The config of a parsed command line; what it does not give is the default."""
    return config_class(**given_fields(config_class, namespace))


def given_fields(config_class: type[Config], namespace: argparse.Namespace) -> dict[str, Any]:
    """The fields that a parsed command line sets."""
    given = vars(namespace)
    return {field: given[field] for field, _ in rows(config_class) if field in given}
