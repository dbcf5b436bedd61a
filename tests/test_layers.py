"""The law of the layers: imports point down."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
    "protocol.crypto": ("errors",),
    "protocol.reflect": ("protocol.packets",),
    "protocol.conversation": (
        *("errors", "protocol.message", "protocol.control_messages", "protocol.crypto"),
    ),
    "schedule": ("errors",),
    "users": ("errors",),
    "state": (),
    "readers": ("schedule",),
    "options": ("errors", "readers"),
    "config": ("errors", "judgement", "options", "readers"),
    "config_file": ("config", "errors", "options", "users"),
    "yang": ("state",),
    "exporter": ("endpoint", "errors", "state"),
    "systemd": (),
    "logs": ("errors",),
    "metrics": ("endpoint", "protocol."),
    "report": ("endpoint", "metrics", "protocol.", "saved_run"),
    "clock_model": (),
    "interface": (),
    "phc": ("clock_model",),
    "hardware": ("clock_model", "errors", "interface", "native", "phc"),
    "machine": ("endpoint", "metrics", "protocol.", "report"),
    "parts": ("metrics", "protocol."),
    "series": ("metrics", "parts"),
    "judgement": ("metrics",),
    "plots": ("errors", "metrics", "protocol."),
    "saved_run": ("endpoint", "errors", "metrics", "protocol."),
    "credentials": ("config", "control_client", "errors", "protocol.", "users"),
    "sender_ports": ("endpoint",),
    "saved": ("errors", "metrics"),
    "target": ("errors", "readers"),
    "histogram": (),
    "tally": ("histogram", "metrics", "protocol."),
    "continuous": (
        *("config", "control_client", "errors", "protocol.", "remedies", "schedule"),
        *("session_sender", "tally"),
    ),
    "interval_report": ("continuous", "histogram", "protocol.", "report", "tally"),
    "output": (),
    "remedies": (),
    "progress": ("session_sender",),
    "ping_exporter": ("histogram", "metrics", "tally"),
    "targets": ("config", "config_file", "errors", "options", "readers"),
    "probe": (
        *("config", "endpoint", "errors", "exporter", "metrics", "ping_exporter", "schedule"),
        *("protocol.", "tally", "targets"),
    ),
    "monitor": (
        *("config", "continuous", "exporter", "interval_report", "output", "ping_exporter"),
        *("probe", "report", "tally", "version"),
    ),
    "run": (
        *("config", "continuous", "control_client", "credentials", "endpoint", "errors"),
        *("hardware", "metrics", "native", "progress", "protocol.", "remedies", "schedule"),
        *("sender_ports", "session_sender", "target"),
    ),
    "endless": (
        *("config", "continuous", "errors", "metrics", "monitor", "options", "output"),
        *("probe", "target", "targets"),
    ),
    "native": ("_native", "endpoint", "protocol."),
    "privileges": ("errors", "native"),
    "session_reflector": ("native", "endpoint", "protocol."),
    "session_sender": ("native", "endpoint", "errors", "metrics", "protocol."),
    "admission": ("config", "endpoint"),
    "authenticator": ("protocol.", "users"),
    "listeners": ("config",),
    "workers": ("endpoint", "native", "session_reflector"),
    "sessions": ("endpoint", "errors", "protocol.", "session_reflector", "workers"),
    "connection": (
        *("admission", "authenticator", "config", "endpoint", "errors", "protocol."),
        "sessions",
    ),
    "server": (
        *("admission", "authenticator", "config", "connection", "endpoint", "errors"),
        *("listeners", "protocol.", "readers", "sessions", "users", "workers"),
    ),
    "watch": (),
    "version": (),
    "snapshot": (
        *("admission", "clock_model", "config", "connection", "endpoint", "hardware"),
        *("options", "protocol.", "server", "session_reflector", "sessions", "state", "workers"),
    ),
    "control_socket": ("readers", "snapshot"),
    "responder": (
        *("config", "control_socket", "endpoint", "errors", "exporter", "hardware"),
        *("listeners", "logs"),
        *("options", "privileges", "server", "session_reflector", "snapshot", "state", "systemd"),
        *("users", "version", "watch", "workers"),
    ),
    "control_client": ("endpoint", "errors", "protocol."),
    # The programs, and the package's public face, see everything.
    "reflector": PROGRAMS_MAY,
    "ping": PROGRAMS_MAY,
    "show": PROGRAMS_MAY,
    "hwtstamp": PROGRAMS_MAY,  # a command of twampctl
    "": PROGRAMS_MAY,
}
PROGRAMS = ("reflector", "ping", "show")
NATIVE_USERS = ("native",)
# What importlib has that imports nothing.
PACKAGE_DATA = ("importlib.metadata", "importlib.resources")
# The core has no sockets, clocks, randomness, event loop or C: this is all it needs of Python.
PURE_PYTHON = {"collections", "dataclasses", "enum", "re", "struct", "types", "typing"}
PURE_PYTHON |= {"cryptography", "hashlib", "hmac"}  # functions of their arguments alone
# And so the C that reflects; the headers that it may include, too.
PURE_C = ("layout.c", "reflect.c", "octets.h", "twamp.h", "wire.h")
PURE_INCLUDES = {
    *('"wire.h"', '"twamp.h"', '"octets.h"'),
    *("<assert.h>", "<stddef.h>", "<stdint.h>", "<string.h>"),
}


def imports(source: str) -> Iterator[str]:
    """The absolute names that a module imports, `from a.b import c` as `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "twamp":
                yield from (f"twamp.{alias.name}" for alias in node.names)
            else:
                yield module


def permits(entry: str, name: str) -> bool:
    return name == entry or ((not entry or entry.endswith(".")) and name.startswith(entry))


def violations(module: str, source: str) -> list[str]:
    """What in ``source`` breaks the law, were it the text of ``module``."""
    allowed = MAY_IMPORT[module]
    found = []
    for name in imports(source):
        top, _, rest = name.partition(".")
        if not top:
            found.append(f"{module} imports {name}, relative to itself")
        elif top == "importlib" and name not in PACKAGE_DATA and module not in PROGRAMS:
            found.append(f"{module} imports by a name that this test cannot read")
        elif top == "twamp":
            if not any(permits(entry, rest) for entry in allowed):
                found.append(f"{module or 'twamp'} imports {name}")
            if rest == "_native" and module not in NATIVE_USERS:
                found.append(f"{module} uses the engine past its two keepers")
        elif module.startswith("protocol") and top not in PURE_PYTHON:
            found.append(f"{module} imports {name}: the core has no I/O, clock or randomness")
        elif top == "uvloop" and module not in PROGRAMS:
            found.append(f"{module} imports uvloop, which only programs do")
    return found


def foreign_includes(source: str) -> set[str]:
    """What C text includes beyond what is pure."""
    return set(re.findall(r"^\s*#\s*include\s*(\S+)", source, re.MULTILINE)) - PURE_INCLUDES


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "twamp").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in (ROOT / "twamp").rglob("*.py")}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    assert module in MAY_IMPORT, f"say in MAY_IMPORT where {module} stands"
    assert violations(module, MODULES[module].read_text()) == []


def test_no_imports_go_round_in_a_circle() -> None:
    graph = {
        f"twamp.{module}": {name for name in imports(path.read_text()) if name.startswith("twamp.")}
        for module, path in MODULES.items()
        if module
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.reflect", "import time"),
        ("protocol.reflect", "from twamp._native import lib"),
        ("protocol.packets", "def parse():\n    from secrets import token_bytes"),
        ("protocol.message", "from . import conversation"),
        ("protocol.conversation", "from twamp.server import Server"),
        ("protocol.conversation", "if TYPE_CHECKING:\n    import asyncio"),
        ("errors", "from twamp.endpoint import Endpoint"),
        ("server", "from twamp import reflector"),
        ("server", "from twamp._native import lib"),
        ("server", "import importlib"),
        ("systemd", "from importlib import import_module"),
        ("reflector", "from twamp import _native"),
        ("session_sender", "import uvloop"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str) -> None:
    assert violations(module, source)


@pytest.mark.parametrize("name", PURE_C)
def test_pure_c_includes_nothing_that_could_do_io(name: str) -> None:
    source = (ROOT / "csrc" / name).read_text()
    assert "#include" in source
    assert foreign_includes(source) == set()


@pytest.mark.parametrize(
    "source", ["#include <time.h>", '  # include "engine.h"', "int x;\n#include<sys/socket.h>"]
)
def test_a_planted_include_is_found(source: str) -> None:
    assert foreign_includes(source)
