"""Incidents of a session beside its packets: ICMP errors, its early end."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twamp.endpoint import Endpoint


@dataclass(frozen=True, kw_only=True)
class Incidents:
    """Incidents of a session beside its packets: ICMP errors, its early end.

    ``icmp``: ICMP errors about its packets, by kind, the last one's from ``icmp_source``; ``path_mtu``: the
    longest IP packet that the path takes whole, as far as the kernel knows, 0 for unknown; ``fragmented``:
    its packets were longer, and left in fragments.  ``foreign``: where the last reply came from that came
    from elsewhere than the session's far end; ``without_estimate``: replies whose Error Estimate was 0.
    ``send_errno``: why the kernel refused to send the last packet of those that it refused.

    ``ended``: why the far end ended it before it was over, empty if it did not; ``not_measured``: packets
    that were still to be sent then, or whose fate the end hides.
    """

    icmp: Mapping[str, int] = field(default_factory=dict)
    icmp_source: Endpoint | None = None
    path_mtu: int = 0
    fragmented: bool = False
    foreign: Endpoint | None = None
    without_estimate: int = 0
    send_errno: int = 0
    ended: str = ""
    not_measured: int = 0


NO_INCIDENTS = Incidents()
