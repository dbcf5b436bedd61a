"""The house rules: rooms that are named and tested, and files and functions that fit a page."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILT = ("__pycache__", "_native.c")
MOST_ENTRIES = 20  # of twamp/
MOST_MODULES = 14  # of a package
MOST_LINES = 500  # of a file
MOST_FUNCTION_LINES = 50


def written(*patterns: str) -> list[Path]:
    """The files of the repository that match, without those that are built."""
    folders = [ROOT / name for name in ("twamp", "csrc", "tests", "benchmarks")]
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    found += [path for folder in folders for pattern in patterns for path in folder.rglob(pattern)]
    return sorted(path for path in found if path.name not in BUILT)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


PYTHON = written("*.py")
C = written("*.c", "*.h")
PACKAGES = [path.parent for path in PYTHON if path.match("twamp/*/__init__.py")]
MODULES = [
    path for path in PYTHON if path.is_relative_to(ROOT / "twamp") and path.name != "__init__.py"
]


# ---- rooms ---------------------------------------------------------------------------------------


def test_the_entries_of_twamp_fit_one_look() -> None:
    entries = sorted(
        path.name
        for path in (ROOT / "twamp").iterdir()
        if path.name not in BUILT and path.suffix != ".so"
    )
    assert len(entries) <= MOST_ENTRIES, entries


@pytest.mark.parametrize("package", PACKAGES, ids=named)
def test_the_modules_of_a_package_fit_one_look(package: Path) -> None:
    assert sum(module.parent == package for module in MODULES) <= MOST_MODULES


@pytest.mark.parametrize("package", PACKAGES, ids=named)
def test_a_package_opens_with_the_names_of_its_rooms(package: Path) -> None:
    [statement] = ast.parse((package / "__init__.py").read_text()).body  # and imports nothing
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Constant)
    rooms = {module.stem for module in MODULES if module.parent == package}
    assert rooms - set(re.findall(r"\w+", str(statement.value.value))) == set()


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_each_module_has_tests_of_its_own(module: Path) -> None:
    name = "main" if module.stem == "__main__" else module.stem
    tests = ROOT / "tests" / module.parent.relative_to(ROOT / "twamp") / f"test_{name}.py"
    assert tests.is_file()
    assert "def test_" in tests.read_text()


# ---- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PYTHON + C, ids=named)
def test_a_file_has_at_most_500_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function and its lines, from ``def`` to the end."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_a_function_has_at_most_50_lines(path: Path) -> None:
    """Those of C are read in tests/csrc/test_style.py."""
    found = functions(path.read_text())
    assert [(name, lines) for name, lines in found if lines > MOST_FUNCTION_LINES] == []


def test_functions_are_found_with_their_lines() -> None:
    body = "    x = 1\n" * 60
    assert list(functions(f"class A:\n  @d\n  async def f(self):\n{body}")) == [("f", 61)]
