"""The generated parts of each page, between ``generated: NAME`` and ``end`` in the page's comments."""

import argparse
import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.documents.roff import (
    bold,
    escaped,
    italic,
    key_sections,
    listing,
    option_sections,
    sentence,
    tagged,
)
from twamp.config.ping import PingConfig
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import key_of, rows
from twamp.ctl.__main__ import parser as twampctl
from twamp.monitor.exporter import target_families
from twamp.monitor.targets import OF_A_TARGET, OF_THE_PROGRAM
from twamp.protocol.states import TRANSITIONS, State, UnexpectedCommand
from twamp.reflector.exporter import METRICS

ROOT = Path(__file__).parent.parent.parent
MAN = ROOT / "twamp" / "data" / "man"
GOLDEN = ROOT / "tests" / "golden"
# From the programs down.
PACKAGES = (
    *("ctl", "ping", "monitor", "reflector", "control", "report", "engine", "config"),
    *("metrics", "protocol"),
)
SHOWN_ELSEWHERE = ("help", "json", "watch")  # options that every command of twampctl has


def state_picture() -> str:
    """The states of a TWAMP-Control connection, for Mermaid, from the transition table."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> GREETING"]
    for state, transitions in TRANSITIONS.items():
        for kind, transition in transitions.items():
            mode = {None: "", True: " [RFC 5938]", False: " [not RFC 5938]"}[transition.individual]
            unexpected = kind is UnexpectedCommand
            refused, ok = ("length unknown", "") if unexpected else ("refused", "OK")
            both = transition.refused not in (None, transition.to)
            for to, word in ((transition.to, ok), (transition.refused, refused)):
                if to is None or (to is transition.to and word == refused):
                    continue
                label = f"{kind.__name__}{f' {word}' if both and word else ''}{mode}"
                lines.append(f"    {state.name} --> {to.name}: {label}")
    lines += [f"    {State.CLOSED.name} --> [*]", "```"]
    return "\n".join(lines)


def package_map() -> str:
    """Each package and the first line of its docstring, programs first."""
    lines = ["| package | what it is |", "| --- | --- |"]
    for name in PACKAGES:
        text = ast.get_docstring(ast.parse((ROOT / "twamp" / name / "__init__.py").read_text()))
        assert text is not None, name
        lines.append(f"| `{name}/` | {text.partition(chr(10))[0]} |")
    return "\n".join(lines)


def commands_of_twampctl() -> str:
    """Each command with its own options."""
    [commands] = (
        action for action in twampctl()._actions if isinstance(action, argparse._SubParsersAction)
    )
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    return tagged(
        (_usage(name, command), sentence(helps[name]) + _options(command))
        for name, command in commands.choices.items()
    )


def _usage(name: str, command: argparse.ArgumentParser) -> str:
    positional = (action for action in command._actions if not action.option_strings)
    return " ".join([bold(name), *(italic(str(action.metavar)) for action in positional)])


def _options(command: argparse.ArgumentParser) -> str:
    own = [
        (
            ", ".join(bold(name) for name in action.option_strings)
            + (
                f" {italic(str(action.metavar or action.dest.upper()))}"
                if action.nargs != 0
                else ""
            ),
            sentence(action.help or ""),
        )
        for action in command._actions
        if action.option_strings and action.dest not in SHOWN_ELSEWHERE
    ]
    return f"\n.RS\n{tagged(own)}\n.RE" if own else ""


def metrics_of_twampd() -> str:
    return tagged(
        (
            bold(row.name) + (escaped(f" {{{','.join(row.labels)}}}") if row.labels else ""),
            sentence(row.help),
        )
        for row in METRICS
    )


def metrics_of_twping() -> str:
    suffix = {"counter": "_total"}
    return tagged(
        (bold(f"{family.name}{suffix.get(family.type, '')}"), sentence(family.documentation))
        for family in target_families(())
    )


def keys_of_targets() -> str:
    """Which option may stand where."""

    def names(fields: frozenset[str]) -> str:
        keys = [key_of(field) for field, _ in rows(PingConfig) if field in fields]
        return ",\n".join(bold(key) for key in keys) + "."

    return (
        f".PP\nAt the top only:\n{names(OF_THE_PROGRAM)}\n"
        f".PP\nAt the top, in a module and in a target:\n{names(OF_A_TARGET)}"
    )


def golden(name: str) -> Callable[[], str]:
    """A text of the tests, which the program writes like that."""
    return lambda: listing((GOLDEN / name).read_text().strip("\n"))


PAGES: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    MAN / "twampd.8": {
        "options": lambda: option_sections(ReflectorConfig),
        "metrics": metrics_of_twampd,
    },
    MAN / "twampd.toml.5": {"keys": lambda: key_sections(ReflectorConfig)},
    MAN / "twping.1": {
        "options": lambda: option_sections(PingConfig),
        "report": golden("summary.txt"),
    },
    MAN / "twping-targets.5": {"keys": keys_of_targets, "metrics": metrics_of_twping},
    MAN / "twampctl.1": {"commands": commands_of_twampctl, "status": golden("show_status.txt")},
    ROOT / "twamp" / "README.md": {"map": package_map, "states": state_picture},
}

_MARKDOWN = re.compile(r"(<!-- generated: ([\w ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_ROFF = re.compile(r'(\.\\" generated: ([\w ]+)\n)(.*?)(\.\\" end)', re.DOTALL)


def blocks(page: Path, text: str) -> Iterator[tuple[str, str]]:
    """The name and the text of each generated part."""
    for match in _pattern(page).finditer(text):
        yield match[2], match[3].strip("\n")


def refreshed(page: Path, text: str) -> str:
    """``text`` with every generated part made anew."""
    makers = PAGES[page]
    return _pattern(page).sub(
        lambda match: f"{match[1]}{makers[match[2]]().strip()}\n{match[4]}", text
    )


def _pattern(page: Path) -> re.Pattern[str]:
    return _MARKDOWN if page.suffix == ".md" else _ROFF
