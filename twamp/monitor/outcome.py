"""The exit codes of twping, of a finite run and of a continuous measurement."""

from enum import IntEnum


class Outcome(IntEnum):
    """What became of a measurement, as an exit code."""

    MEASURED = 0
    NO_SET_UP = 1
    INTERRUPTED = 2
    NOTHING_BACK = 3  # or a threshold was crossed
