"""What happened to a session beside its packets."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Incidents:
    """What happened to a session beside its packets.

    ``ended``: why the far end ended it before it was over, empty if it did not; ``not_measured``: packets
    that were still to be sent then, or whose fate the end hides.
    """

    ended: str = ""
    not_measured: int = 0


NO_INCIDENTS = Incidents()
