"""What the benchmarks share: compiled programs, cores, and figures that are printed at the end."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.rounds import LINES

ROOT = Path(__file__).parent.parent
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", f"-I{ROOT / 'csrc'}")
Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """``compiled("echo")`` compiles native/echo.c, with further sources of csrc/ if named."""
    programs: dict[str, Path] = {}

    def compile_once(name: str, *engine: str) -> Path:
        if name not in programs:
            program = tmp_path_factory.mktemp("native") / name
            sources = [ROOT / "benchmarks" / "native" / f"{name}.c"]
            sources += [ROOT / "csrc" / source for source in engine]
            compiler = os.environ.get("CC", "cc")
            subprocess.run([compiler, *FLAGS, "-o", program, *sources, "-lcrypto"], check=True)
            programs[name] = program
        return programs[name]

    return compile_once


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LINES:
        terminalreporter.write_sep("-", "figures")
        for line in LINES:
            terminalreporter.write_line(line)
