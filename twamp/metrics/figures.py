"""The figures of a measurement: :class:`Metrics`, and what it is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from twamp.metrics.values import Distribution


@dataclass(frozen=True, kw_only=True)
class Delay:
    """One kind of delay and how it varies.

    ``pdv``: each delay less the session's least (RFC 5481 section 4.2).  ``ipdv``: each delay less
    that of the packet sent just before it; undefined, and so left out, where either is lost
    (RFC 3393).  ``jitter``: that of RTP, see :func:`interarrival_jitter`; the greatest of several sessions.
    ``error_ns``: the greatest sum of the error estimates that a delay stands on, None
    without a delay.
    """

    delay: Distribution
    pdv: Distribution
    ipdv: Distribution
    jitter: int | None
    error_ns: int | None


@dataclass(frozen=True, kw_only=True)
class Hops:
    """Routers passed, 255 − TTL: how many different counts were seen, and their ends.

    ``counts``: packets by the number of routers.
    """

    distinct: int = 0
    minimum: int | None = None
    maximum: int | None = None
    counts: Mapping[int, int] = field(default_factory=dict)


class Loss(NamedTuple):
    """Where packets were lost: ``late + forward + reverse + unknown`` is all that were lost.

    Inferred: a Session-Reflector numbers its replies 0, 1, 2, … as packets reach it (RFC 5357
    section 4.2.1), so a number below the greatest that came back, but which itself did not, is a
    packet that arrived and whose reply was lost (``reverse``).  The other packets lost before the
    last one answered never arrived (``forward``).  After it nothing tells (``unknown``).

    Limits: a reflector that copies the sender's number instead (stateless: RFC 8762 section 4)
    makes every loss look like ``reverse``; so does one that does not begin at 0; a duplicate made
    on the way there whose reply is lost counts as ``reverse`` in place of a ``forward`` one.
    """

    late: int = 0
    forward: int = 0
    reverse: int = 0
    unknown: int = 0


class Reordering(NamedTuple):
    """Packets that came after one sent later: Type-P-Reordered (RFC 4737 section 3.3).

    ``round_trip`` judges sending against return; ``forward`` sending against arrival at the
    reflector (by its numbers), ``reverse`` these against return.  First replies in time only.
    """

    round_trip: int = 0
    forward: int = 0
    reverse: int = 0


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """All that is reported.  ``first`` and ``last``: T1 (NTP) of the ends; None if none was sent.

    ``send_duplicates``: further reflector numbers for one packet (it was multiplied on the way
    there); ``reflect_duplicates``: the same reflector number again (on the way back).
    """

    first: int | None
    last: int | None
    sent: int
    received: int
    lost: int
    loss: Loss
    send_duplicates: int
    reflect_duplicates: int
    reordering: Reordering
    round_trip: Delay
    send: Delay
    reflect: Delay
    processing: Distribution
    send_hops: Hops
    reflect_hops: Hops
    sender_synchronized: bool
    reflector_synchronized: bool
    sender_error_ns: int | None  # the greatest Error Estimate of either end
    reflector_error_ns: int | None
    t1_sources: Mapping[str, int]
    t4_sources: Mapping[str, int]
    reflect_dscp: Mapping[int, int]  # replies by the DSCP with which they came
    reflect_ecn: Mapping[int, int]  # and by ECN; of the way there nobody tells
    lateness: Distribution  # of sending, after the schedule
    drops: Mapping[str, int]
    send_errors: int

    @property
    def synchronized(self) -> bool:
        """Both ends said, in every packet, that an outside source keeps their clock."""
        return self.sender_synchronized and self.reflector_synchronized

    @property
    def clocks_apart(self) -> bool:
        """Some one-way delay is negative, so the clocks differ, whatever they say of themselves."""
        return any((kind.delay.minimum or 0) < 0 for kind in (self.send, self.reflect))
