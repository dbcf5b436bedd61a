"""A short run of the fuzzer against a real responder; ``python -m tests.fuzz.live`` runs longer."""

from pathlib import Path
from random import Random

from tests.fuzz.live import attack, descriptors, faults, victim


def test_streams_that_are_mutated_and_cut_off_leave_nothing(tmp_path: Path) -> None:
    with victim(tmp_path) as twampd:
        before = descriptors(twampd)
        attack(twampd, 1000, Random(5357))
        assert faults(twampd, before) == []
