"""Text of manual pages: escapes, and lists of options made from their rows."""

from collections.abc import Callable, Iterable, Iterator

from twamp.config.readers import flag
from twamp.config.row import Config, Row, default_text, key_of, rows, toml_text

Entry = Callable[[str, Row], tuple[str, str]]  # an option as a tag and its paragraph

RESTART = "\\(dg"  # marks what waits for a restart
_ESCAPES = str.maketrans({"\\": "\\e", "-": "\\-", "…": "...", "–": "\\(en", "µ": "\\(mc"})


def escaped(text: str) -> str:
    """``text`` as it is to be read, hyphens that can be copied, and no line that is a request."""
    lines = (line.translate(_ESCAPES) for line in text.split("\n"))
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in lines)


def bold(text: str) -> str:
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{escaped(text)}\\fR"


def sentence(text: str) -> str:
    """A help text, which begins in lower case and has no full stop, as a sentence."""
    return escaped(text[:1].upper() + text[1:] + ("" if text.endswith((".", "…")) else "."))


def tagged(entries: Iterable[tuple[str, str]]) -> str:
    """Tags, already in roff, and the paragraph of each."""
    return "\n".join(f".TP\n{tag}\n{text}" for tag, text in entries)


def listing(text: str) -> str:
    """Lines as they are, in a fixed-width font."""
    return f".EX\n{escaped(text)}\n.EE"


# ---- options -------------------------------------------------------------------------------------


def grouped(config: type[Config]) -> Iterator[tuple[str, list[tuple[str, Row]]]]:
    """The rows of each group, in the order of declaration; "" is the group of rows without one."""
    groups: dict[str, list[tuple[str, Row]]] = {}
    for field, row in rows(config):
        groups.setdefault(row.group, []).append((field, row))
    yield from groups.items()


def option_sections(config: type[Config]) -> str:
    """Every option of a command line, below the headings of the groups."""
    return _sections(
        config, lambda field, row: (_spellings(field, row) + _mark(row), _meaning(row))
    )


def key_sections(config: type[Config]) -> str:
    """Every key of a configuration file with its default, below the headings of the groups."""
    return _sections(
        config, lambda field, row: (_toml_line(field, row) + _mark(row), _meaning(row))
    )


def _sections(config: type[Config], entry: Entry) -> str:
    parts = []
    for group, members in grouped(config):
        if group:
            parts.append(f".SS {sentence(group).removesuffix('.')}")
        parts.append(tagged(entry(field, row) for field, row in members))
    return "\n".join(parts)


def _spellings(field: str, row: Row) -> str:
    metavar = italic(row.metavar or field.rpartition("_")[2].upper())
    names = sorted((*row.flags, f"--{key_of(field)}"), key=lambda name: name.startswith("--"))
    if row.read is flag:
        negative = [f"--no-{key_of(field)}"] if row.default else []
        return ", ".join(bold(name) for name in (*names, *negative))
    if row.bare is not None:
        return ", ".join(f"{bold(name)}[={metavar}]" for name in names)
    return ", ".join(f"{bold(name)} {metavar}" for name in names)


def _toml_line(field: str, row: Row) -> str:
    if row.default is None:
        return f"{bold(key_of(field))} (not set)"
    return f"{bold(key_of(field))} = {escaped(toml_text(row, row.default))}"


def _mark(row: Row) -> str:
    return f" {RESTART}" if row.restart else ""


def _meaning(row: Row) -> str:
    facts = []
    if text := default_text(row.default):
        facts.append(f"default {text}")
    if row.limits:
        facts.append(row.limits.replace("-", " to "))
    return "\n".join([sentence(row.help), *([sentence("; ".join(facts))] if facts else [])])
