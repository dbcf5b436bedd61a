"""The law of the layers: imports point down."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each module and what of the package it may import; a name ending in "." stands for all below it.
PROGRAMS_MAY: tuple[str, ...] = ("",)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "endpoint": (),
    "protocol": (),
    "protocol.message": ("errors",),
    "protocol.timestamps": (),
    "protocol.control_messages": ("errors", "protocol.message"),
    "protocol.packets": ("errors", "protocol.message"),
    "protocol.reflect": ("protocol.packets",),
    "protocol.conversation": ("errors", "protocol.message", "protocol.control_messages"),
    "schedule": ("errors",),
    "config": ("errors", "schedule"),
    "metrics": ("endpoint", "protocol."),
    "report": ("endpoint", "metrics", "protocol."),
    "session_reflector": ("_native", "endpoint", "errors"),
    "session_sender": ("_native", "endpoint", "errors", "metrics"),
    "sessions": ("endpoint", "errors", "protocol.", "session_reflector"),
    "server": (
        *("config", "endpoint", "errors", "protocol."),
        *("session_reflector", "sessions"),
    ),
    "control_client": ("endpoint", "errors", "protocol."),
    # The programs, and the package's public face, see everything.
    "reflector": PROGRAMS_MAY,
    "ping": PROGRAMS_MAY,
    "": PROGRAMS_MAY,
}
NOT_IN_PROTOCOL = {"socket", "time", "secrets", "random", "asyncio", "threading", "os"}
PURE_C = {"reflect.c", "layout.c"}
PURE_INCLUDES = {
    *('"wire.h"', '"twamp.h"', '"octets.h"'),
    *("<string.h>", "<stddef.h>", "<stdint.h>"),
}


def imports(source: str) -> Iterator[str]:
    """The absolute names that a module imports, `from a.b import c` as `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            if node.module == "twamp":
                yield from (f"twamp.{alias.name}" for alias in node.names)
            elif node.module is not None:
                yield node.module


def permits(entry: str, name: str) -> bool:
    return name == entry or ((not entry or entry.endswith(".")) and name.startswith(entry))


def violations(module: str, source: str) -> list[str]:
    allowed = MAY_IMPORT[module]
    found = []
    for name in imports(source):
        top, _, rest = name.partition(".")
        if top == "twamp":
            if not any(permits(entry, rest) for entry in allowed):
                found.append(f"{module or 'twamp'} imports {name}")
        elif module.startswith("protocol") and top in NOT_IN_PROTOCOL:
            found.append(f"{module} imports {name}: the core has no I/O, clock or randomness")
        elif top == "uvloop" and module not in ("reflector", "ping"):
            found.append(f"{module} imports uvloop, which only programs do")
    return found


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "twamp").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in (ROOT / "twamp").rglob("*.py")}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    assert module in MAY_IMPORT, f"say in MAY_IMPORT where {module} stands"
    assert violations(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.reflect", "import time"),
        ("protocol.conversation", "from twamp.server import Server"),
        ("server", "from twamp import reflector"),
        ("server", "from twamp._native import lib"),
        ("session_sender", "import uvloop"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str) -> None:
    assert violations(module, source)


@pytest.mark.parametrize("name", sorted(PURE_C))
def test_pure_c_includes_nothing_that_could_do_io(name: str) -> None:
    lines = (ROOT / "csrc" / name).read_text().splitlines()
    included = {line.split()[1] for line in lines if line.startswith("#include")}
    assert included
    assert included <= PURE_INCLUDES
