"""The comparison of instruction counts with their record, and how a profile is read."""

import json
from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.instructions import CASES, RECORD, TOLERANCE, compare, own_instructions

# Two functions of the program with a call between them, and one of a library.
PROFILE = """\
version: 1
events: Ir
summary: 1111

ob=(6) /tmp/steps
fl=(149) ???
fn=(836) tw_reflector_step
0 100
cob=(3) /lib/libc.so.6
cfi=(179) recvmmsg.c
cfn=(846) recvmmsg
calls=2 0
0 1000

ob=(3)
fl=(179)
fn=(846)
44 10
+1 1

ob=(6)
fl=(149)
fn=(840) tw_mmsg_receive
0 7
12 3
"""


def test_only_the_program_s_own_functions_count_and_calls_not_twice() -> None:
    assert own_instructions(PROFILE, "/tmp/steps") == 100 + 7 + 3
    assert own_instructions(PROFILE, "/lib/libc.so.6") == 10 + 1


def test_what_is_not_done_for_every_packet_does_not_count() -> None:
    profile = PROFILE.replace("fn=(840) tw_mmsg_receive", "fn=(840) tw_t3_error_read")
    assert own_instructions(profile, "/tmp/steps") == 100


@pytest.mark.parametrize(
    ("ratio", "is_fault"), [(1.0, False), (1 + TOLERANCE, False), (1.051, True), (0.5, False)]
)
def test_more_than_the_tolerance_is_a_fault(ratio: float, is_fault: bool) -> None:
    lines, faults = compare({"a": 1000 * ratio}, {"a": 1000.0})
    assert bool(faults) is is_fault
    assert f"{ratio:.3f}  a" in lines[0]
    assert ("--record" in "".join(lines[1:])) is (ratio < 1 - TOLERANCE)


def test_a_case_without_a_record_is_a_fault() -> None:
    _, faults = compare({"new": 1.0}, {})
    assert faults == ["new: not recorded; --record does so"]


def test_every_case_is_recorded() -> None:
    record = json.loads(RECORD.read_text())
    assert record["instructions_per_packet"].keys() == CASES.keys()


@pytest.mark.parametrize(
    ("built_by", "code", "text"),
    [("cc 12", 1, "a: 200.0 instructions"), ("cc 13", 0, "NOT COMPARED")],
)
def test_another_compiler_s_count_is_not_compared(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    built_by: str,
    code: int,
    text: str,
) -> None:
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"compiler": "cc 12", "instructions_per_packet": {"a": 100.0}}))
    monkeypatch.setattr(instructions, "RECORD", record)
    monkeypatch.setattr(instructions, "compiler", lambda: built_by)
    monkeypatch.setattr(instructions, "measure", lambda: {"a": 200.0})
    assert instructions.main([]) == code
    output = capsys.readouterr()
    assert text in output.out + output.err
    if code:  # and is kept when it is meant
        assert instructions.main(["--record"]) == 0
        assert instructions.main([]) == 0
