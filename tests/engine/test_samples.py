"""csrc/sender/samples.c by itself, in C: what it refuses cannot be had from a live kernel on demand."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = shutil.which("cc")


@pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc) on this machine")
def test_the_claims_of_the_c_test_hold(tmp_path: Path) -> None:
    program = tmp_path / "samples_test"
    sources = [
        ROOT / "tests/csrc/samples_test.c",
        *(ROOT / "csrc/kernel" / f"{name}.c" for name in ("clock", "device_clock", "stamp")),
        *(ROOT / "csrc/packet" / f"{name}.c" for name in ("crypto", "reflect")),
        ROOT / "csrc/sender/samples.c",
    ]
    options = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
    subprocess.run([str(COMPILER), *options, "-o", program, *sources, "-lcrypto"], check=True)
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")
