"""The outcome of a measurement, finite or continuous, which is twping's exit code."""

from enum import IntEnum


class Outcome(IntEnum):
    """twping's exit codes."""

    MEASURED = 0
    NO_SET_UP = 1
    INTERRUPTED = 2
    NOTHING_BACK = 3  # or a threshold was crossed
    CUT_SHORT = 4  # the far end ended the sessions, so not every packet was measured

    @classmethod
    def of(cls, *, received: bool, failed: bool) -> "Outcome":
        """Judges figures: any reply ``received``, and any threshold ``failed``."""
        return cls.MEASURED if received and not failed else cls.NOTHING_BACK
