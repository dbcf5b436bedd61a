"""The law of the layers: packages import downwards, and C files include downwards."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each package, or module beside them, and which others it may import; itself it always may.
FLOOR = ("endpoint", "errors")
MEASURING = ("metrics", "protocol", *FLOOR)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "endpoint": (),
    "version": (),
    "sockets": FLOOR,
    "web": FLOOR,
    "protocol": ("errors",),
    "metrics": ("protocol", *FLOOR),
    "config": MEASURING,
    "engine": ("_native", *MEASURING),
    "report": ("version", *MEASURING),
    "control": ("config", "engine", "protocol", "sockets", *FLOOR),
    "monitor": ("config", "control", "engine", "report", "sockets", "version", "web", *MEASURING),
    "reflector": ("config", "control", "engine", "protocol", "version", "web", *FLOOR),
    "ping": (
        *("config", "control", "engine", "monitor", "report", "sockets", "version", *MEASURING),
    ),
    "ctl": ("config", "engine", "ping", "reflector", "version", *MEASURING),
}
PUBLIC_FACE = ""  # twamp/__init__.py names what is public, from any package
LAZY = (PUBLIC_FACE, "config.program")  # these import what is asked for, when it is
# What importlib has that imports nothing.
PACKAGE_DATA = ("importlib.metadata", "importlib.resources")
# What only a program's __main__ may use, and the module that is excepted.
OF_PROGRAMS = {"argparse": "config.arguments", "signal": "config.program", "uvloop": None}
# These packages have no sockets, clocks, randomness, event loop or C: this is all they need of Python.
PURE = ("protocol", "metrics")
PURE_PYTHON = {
    *("bisect", "collections", "dataclasses", "decimal", "enum", "fractions", "functools", "heapq"),
    *("itertools", "math", "operator", "re", "struct", "types", "typing", "array"),
    *("cryptography", "hashlib", "hmac"),  # functions of their arguments alone
}
# C: the folders, and what each may include.
MAY_INCLUDE: dict[str, tuple[str, ...]] = {
    "api": ("packet/wire.h", "api/", "<stdint.h>", "<stddef.h>"),
    "packet": (*("api/", "packet/", "<string.h>", "<errno.h>", "<stddef.h>", "<stdint.h>"),),
    "kernel": ("api/", "packet/octets.h", "kernel/", "<"),
    "reflector": ("api/", "packet/", "kernel/", "reflector/", "<"),
    "metrics": ("api/", "metrics/", "<string.h>", "<errno.h>", "<stddef.h>", "<stdint.h>"),
    "sender": ("api/", "packet/", "kernel/", "sender/", "<"),
}
ONLY_IN = {"<linux/": "kernel/", "<openssl/": "packet/crypto.c"}


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


def violations(module: str, source: str) -> list[str]:
    """What in ``source`` breaks the law, were it the text of ``module``."""
    package, _, room = module.partition(".")
    allowed = MAY_IMPORT.get(package, ())
    found = []
    for name in imports(source):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if not top:
            found.append(f"{module} imports {name}, relative to itself")
        elif top == "importlib" and name not in PACKAGE_DATA and module not in LAZY:
            found.append(f"{module} imports by a name that this test cannot read")
        elif top == "twamp":
            if target != package and target not in allowed and module != PUBLIC_FACE:
                found.append(f"{module or 'twamp'} imports {name}")
        elif package in PURE and top not in PURE_PYTHON:
            found.append(f"{module} imports {name}: no I/O, clock or randomness here")
        elif top in OF_PROGRAMS and room != "__main__" and module != OF_PROGRAMS[top]:
            found.append(f"{module} imports {name}, which only programs do")
    return found


def foreign_includes(path: str, source: str) -> set[str]:
    """What the C file ``path`` (below csrc/) includes beyond what its folder may."""
    found = set()
    for bracket, name in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', source, re.MULTILINE):
        written = f"<{name}>" if bracket == "<" else name
        homes = [home for begin, home in ONLY_IN.items() if written.startswith(begin)]
        allowed = MAY_INCLUDE[path.partition("/")[0]]
        if homes:
            if not path.startswith(homes[0]):
                found.add(written)
        elif not any(
            written == each or (each[-1] in "/<" and written.startswith(each)) for each in allowed
        ):
            found.add(written)
    return found


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "twamp").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in (ROOT / "twamp").rglob("*.py")}
C_FILES = {str(path.relative_to(ROOT / "csrc")): path for path in (ROOT / "csrc").glob("*/*.[ch]")}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    assert module == PUBLIC_FACE or module.partition(".")[0] in MAY_IMPORT
    assert violations(module, MODULES[module].read_text()) == []


def test_python_reads_every_header_of_the_api() -> None:
    build = (ROOT / "csrc/ffi_build.py").read_text()
    assert [path for path in C_FILES if path.startswith("api/") and f'"{path}"' not in build] == []


def test_no_imports_go_round_in_a_circle() -> None:
    graph = {
        f"twamp.{module}": {name for name in imports(path.read_text()) if name.startswith("twamp.")}
        for module, path in MODULES.items()
        if module
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_packages_import_in_one_direction() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.reflect", "import time"),
        ("protocol.reflect", "from twamp._native import lib"),
        ("protocol.packets", "def parse():\n    from secrets import token_bytes"),
        ("protocol.message", "from . import conversation"),
        ("protocol.conversation", "from twamp.control.server import Server"),
        ("protocol.conversation", "if TYPE_CHECKING:\n    import asyncio"),
        ("metrics.measure", "from random import Random"),
        ("errors", "from twamp.endpoint import Endpoint"),
        ("control.server", "from twamp.reflector import logs"),
        ("control.server", "from twamp import reflector"),
        ("control.server", "from twamp._native import lib"),
        ("control.server", "import importlib"),
        ("reflector.responder", "from twamp.ping.run import Run"),
        ("ping.run", "from twamp.reflector import responder"),
        ("reflector.systemd", "from importlib import import_module"),
        ("reflector.__main__", "from twamp import _native"),
        ("engine.session_sender", "import uvloop"),
        ("ping.run", "import signal"),
        ("config.arguments", "import signal"),
        ("config.row", "import argparse"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str) -> None:
    assert violations(module, source)


@pytest.mark.parametrize("path", C_FILES)
def test_c_includes_point_down(path: str) -> None:
    assert foreign_includes(path, C_FILES[path].read_text()) == set()


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("packet/reflect.c", "#include <time.h>"),
        ("packet/reflect.c", '  # include "kernel/clock.h"'),
        ("packet/reflect.c", "int x;\n#include<sys/socket.h>"),
        ("packet/reflect.c", "#include <openssl/evp.h>"),
        ("reflector/batch.c", "#include <linux/errqueue.h>"),
        ("reflector/batch.c", '#include "sender/samples.h"'),
        ("sender/sender.c", '#include "reflector/pool.h"'),
        ("kernel/cmsg.c", '#include "packet/crypto.h"'),
    ],
)
def test_a_planted_include_is_found(path: str, source: str) -> None:
    assert foreign_includes(path, source)
