"""The examples of a page, and what its comments say of them.

In Markdown an example is a fenced block, in a manual page the text between ``.EX`` and ``.EE``.  A comment
right before it may say ``<!-- not run: REASON -->``; in a manual page it names the kind, too:
``.\\" example: KIND`` or ``.\\" example: KIND, not run: REASON``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.documents.blocks import ROOT

_FENCED = re.compile(
    r"(?:^<!-- (?P<note>[^>]*) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_DISPLAYED = re.compile(
    r'(?:^\.\\" example: (?P<kind>[\w.]+)(?:, (?P<note>[^\n]*))?\n)?^\.EX\n(?P<text>.*?)^\.EE$',
    re.DOTALL | re.MULTILINE,
)
_GENERATED = re.compile(r'^\.\\" generated: .*?^\.\\" end$', re.DOTALL | re.MULTILINE)


def _below(page: Path) -> tuple[str, ...]:
    return page.relative_to(ROOT).parts


# Not those of what tools keep here, and not those of the tests' data, which speak for themselves.
READMES = [
    page
    for page in sorted(ROOT.rglob("README.md"))
    if not any(
        part.startswith(".") or part in ("build", "vectors", "yang") for part in _below(page)
    )
]
KINDS = {"sh": "shell"}


@dataclass(frozen=True)
class Example:
    """One example; ``kind`` is "shell", "python", the name of a configuration file, …"""

    page: Path
    line: int
    kind: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return not self.note.startswith(("not run: ", "test command"))


def examples(page: Path) -> Iterator[Example]:
    """All examples of a page; generated text is none."""
    text = page.read_text()
    is_manual = page.suffix != ".md"
    for match in (_DISPLAYED if is_manual else _FENCED).finditer(text):
        if is_manual and any(
            part.start() < match.start() < part.end() for part in _GENERATED.finditer(text)
        ):
            continue
        yield Example(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            kind=KINDS.get(match["kind"] or "", match["kind"] or ""),
            note=match["note"] or "",
            text=_read(match["text"]) if is_manual else match["text"],
        )


def _read(roff: str) -> str:
    """What a reader sees of an example: without the escapes that :func:`roff.escaped` makes."""
    return roff.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")
