"""Counts the instructions that the engine spends on a packet, and compares them with what is recorded.

``python -m benchmarks.instructions`` runs ``native/steps.c`` under valgrind's callgrind with some packets and
with more of them; the difference is the price of a packet.  Only the engine's own code counts, not that of
libraries, which choose their code by processor.  So the figure is the same on any machine, however busy, that
has the same compiler; with another one it is printed and not compared.  Exit code 1: a case needs over 5 %
more than recorded.  ``--record`` writes what was found as the new record, for a change that is meant.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).with_name("instructions.json")
FLAGS = ("-std=gnu11", "-O2", f"-I{ROOT / 'csrc'}")
TOLERANCE = 0.05
FEW, MANY = 640, 1920  # packets; multiples of a batch
# What happens so many times a second, and not to every packet.
NOW_AND_THEN = (
    "tw_t3_error_",
    "tw_histogram_",
    "tw_cmsg_read_departure",
    "tw_cmsg_parse_departure",
    "tw_cmsg_write_transmit",
)


@dataclass(frozen=True)
class Case:
    """What steps.c is told, but for the number of packets."""

    mode: int
    length: int
    batch: int
    tx_batch: int  # 0: segments


CASES = {
    "41 octets, 64 at once": Case(1, 41, 64, 64),
    "41 octets, 64 at once, as segments": Case(1, 41, 64, 0),
    "41 octets, one at a time": Case(1, 41, 1, 64),
    "1400 octets, 64 at once": Case(1, 1400, 64, 64),
    "authenticated, 112 octets, 64 at once": Case(2, 112, 64, 64),
    "encrypted, 112 octets, 64 at once": Case(4, 112, 64, 64),
}


def compiler() -> str:
    """Its name and version."""
    command = [os.environ.get("CC", "cc"), "--version"]
    return subprocess.check_output(command, text=True).splitlines()[0]


def compile_steps(directory: Path) -> Path:
    program = directory / "steps"
    engine = (ROOT / "csrc").glob("*/*.c")
    sources = [ROOT / "benchmarks" / "native" / "steps.c", *sorted(engine)]
    command = [os.environ.get("CC", "cc"), *FLAGS, "-o", str(program), *map(str, sources)]
    subprocess.run([*command, "-lcrypto", "-lpthread"], check=True)
    return program


def own_instructions(profile: str, program: str) -> int:
    """The sum of what a callgrind profile charges to functions of ``program`` itself.

    The file names an object once (``ob=(6) /path``) and then by its number, and a function (``fn=``) likewise;
    a line of cost belongs to those named last, but the one after ``calls=`` is the cost of what was called.
    """
    names: dict[tuple[str, str], str] = {}
    object_is_own = own = called = False
    total = 0
    for line in profile.splitlines():
        if found := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?", line):
            caller, kind, number, text = found.groups()
            name = names.setdefault((kind, number), text or "")
            if not caller and kind == "ob":
                object_is_own = name == program
            elif not caller:
                own = object_is_own and not name.startswith(NOW_AND_THEN)
        elif line.startswith("calls="):
            called = True
        elif re.match(r"[+*-]?\d* ?\d+$", line):
            if own and not called:
                total += int(line.split()[-1])
            called = False
    return total


def count(program: Path, case: Case, packets: int, directory: Path) -> int:
    profile = directory / "callgrind.out"
    numbers = (case.mode, case.length, case.batch, packets, case.tx_batch)
    subprocess.run(
        [
            *("valgrind", "--quiet", "--tool=callgrind", "--toggle-collect=tw_reflector_step"),
            *("--compress-pos=no", f"--callgrind-out-file={profile}"),
            *(str(program), *map(str, numbers)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return own_instructions(profile.read_text(), str(program))


def measure() -> dict[str, float]:
    """Instructions per packet, by case."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = compile_steps(directory)
        return {
            key: (count(program, case, MANY, directory) - count(program, case, FEW, directory))
            / (MANY - FEW)
            for key, case in CASES.items()
        }


def compare(
    measured: Mapping[str, float], recorded: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """The table's lines, and what is wrong."""
    lines, faults = [], []
    for key, value in measured.items():
        before = recorded.get(key)
        if before is None:
            lines.append(f"{value:9.1f}  {'-':>9}  {'-':>6}  {key}")
            faults.append(f"{key}: not recorded; --record does so")
            continue
        ratio = value / before
        lines.append(f"{value:9.1f}  {before:9.1f}  {ratio:6.3f}  {key}")
        if ratio > 1 + TOLERANCE:
            faults.append(
                f"{key}: {value:.1f} instructions a packet, {ratio - 1:.1%} more than the recorded"
                f" {before:.1f}; find out why, or --record if it is meant"
            )
        elif ratio < 1 - TOLERANCE:
            lines.append(f"{'':29}fewer than recorded: --record keeps it so")
    return lines, faults


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Instructions per packet, and the record of them.")
    parser.add_argument("--record", action="store_true", help="keep what is measured")
    options = parser.parse_args(arguments)
    measured, built_by = measure(), compiler()
    if options.record:
        record = {"compiler": built_by, "instructions_per_packet": measured}
        RECORD.write_text(json.dumps(record, indent=2) + "\n")
    recorded = json.loads(RECORD.read_text())
    lines, faults = compare(measured, recorded["instructions_per_packet"])
    print(f"{'measured':>9}  {'recorded':>9}  {'ratio':>6}  case")
    print("\n".join(lines))
    if built_by != recorded["compiler"]:
        print(f"NOT COMPARED: built by {built_by}; the record is {recorded['compiler']}'s")
        return 0
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
