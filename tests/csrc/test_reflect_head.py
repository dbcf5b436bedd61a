"""csrc/packet/reflect_head.h is fit for a program in the kernel: no library, no call, no loop."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
PROGRAM = Path(__file__).with_name("reflect_head.bpf.c")
COMPILER, CLANG = shutil.which("cc"), shutil.which("clang")
# These headers a compiler brings itself, for machines without a library.
FREESTANDING = {"<stddef.h>", "<stdint.h>"}
OPTIONS = ("-std=gnu11", "-O2", "-ffreestanding", "-Wall", "-Wextra", "-Werror", f"-I{CSRC}", "-S")


def assembly(compiler: str, *options: str) -> str:
    command = [compiler, *OPTIONS, *options, "-o", "-", str(PROGRAM)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def included(name: str) -> set[str]:
    """Everything that the header below csrc/ includes, by whatever way."""
    found: set[str] = set()
    for written in re.findall(r"#include (\S+)", (CSRC / name).read_text()):
        found |= {written} if written.startswith("<") else included(written.strip('"'))
    return found


def test_it_includes_nothing_of_a_library() -> None:
    assert included("packet/reflect_head.h") == FREESTANDING


@pytest.mark.skipif(COMPILER is None, reason="NOT TESTED: no C compiler (cc) on this machine")
def test_it_calls_nothing() -> None:
    text = assembly(str(COMPILER))
    assert text.count("\nunauthenticated:") == 1
    assert not re.search(r"\bcall|\bmem(cpy|set)\b", text)


@pytest.mark.skipif(CLANG is None, reason="NOT TESTED for BPF: no clang on this machine")
def test_it_compiles_for_bpf_without_call_or_loop() -> None:
    text = assembly(str(CLANG), "-target", "bpf")
    assert text.count("\nunauthenticated:") == 1
    assert not re.search(r"\bcall\b", text)
    labels: set[str] = set()
    for line in text.splitlines():
        if label := re.match(r"(LBB\w+):", line):
            labels.add(label[1])
        elif jump := re.search(r"goto (LBB\w+)", line):
            assert jump[1] not in labels, f"a jump back is a loop: {line}"
    assert labels
