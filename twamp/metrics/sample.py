"""The packets of one session, and the four delays of each.

With T1 the departure, T2 and T3 the reflector's arrival and departure, T4 the return:

* round-trip time ``(T4 − T1) − (T3 − T2)``: the reflector's residence is taken out, and with it
  every offset between the clocks;
* send time ``T2 − T1`` and reflect time ``T4 − T3``: as true as the clocks are synchronised;
* reflector processing time ``T3 − T2``.

Exact and in integers: times are nanoseconds, each rounded to the nearest once, from 64-bit NTP
differences that are right across an era.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from twamp.endpoint import Endpoint
from twamp.metrics.incidents import NO_INCIDENTS, Incidents
from twamp.protocol.timestamps import NS

SOURCES = ("none", "user", "kernel", "hardware")  # enum tw_source of csrc/api/types.h
INITIAL_TTL = 255  # RFC 4656 section 4.1.2: what test packets set out with
_HALF = 1 << 63


class Sample(NamedTuple):
    """One packet, there and back: ``struct tw_sample`` of csrc/api/sender.h, field for field.

    Timestamps are NTP 64 bit; ``rank`` is the order of arrival from 1, 0 = no reply; sources are
    those of ``enum tw_source`` (0 none, 1 user, 2 kernel, 3 hardware).
    """

    t1: int
    t2: int
    t3: int
    t4: int
    sequence_number: int
    reflector_sequence_number: int
    rank: int
    lateness_ns: int
    sender_error_estimate: int
    reflector_error_estimate: int
    sender_ttl: int
    ttl: int
    tos: int
    t1_source: int
    t4_source: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One session as it went: ``samples`` by sequence number, ``duplicates`` as they arrived.

    A sample with ``t1_source`` 0 never left; ``send_errors`` counts those.  ``drops``: received
    datagrams that were no replies, by reason.

    The hosts are the ends as the user wrote them; empty: by address.  For a part of a session,
    ``packets_of_session`` counts those of the whole, and ``reflector_numbers`` are the part's: from the
    first up to the second, which is not included, or None where nothing later was answered.
    """

    sid: bytes
    source: Endpoint
    destination: Endpoint
    samples: Sequence[Sample]
    duplicates: Sequence[Sample] = ()
    loss_timeout_ns: int
    drops: Mapping[str, int] = field(default_factory=dict)
    send_errors: int = 0
    padding_length: int = 0  # octets of padding of its packets
    source_host: str = ""
    destination_host: str = ""
    incidents: Incidents = NO_INCIDENTS
    packets_of_session: int | None = None
    reflector_numbers: tuple[int, int | None] = (0, None)


class Delays(NamedTuple):
    """The four delays of one answered packet, in ns."""

    round_trip: int
    send: int
    reflect: int
    processing: int


def signed(difference: int) -> int:
    """A difference of NTP timestamps, right while they are within 68 years of each other."""
    return (difference + _HALF) % (2 * _HALF) - _HALF


def ns_of_units(units: int) -> int:
    """Units of 2^-32 s in ns, to the nearest."""
    return (units * NS + (1 << 31)) >> 32


def delays(sample: Sample) -> Delays:
    """Those of a packet that was answered, and whose reply :func:`is_stamped`."""
    processing = signed(sample.t3 - sample.t2)
    return Delays(
        round_trip=ns_of_units(signed(sample.t4 - sample.t1) - processing),
        send=ns_of_units(signed(sample.t2 - sample.t1)),
        reflect=ns_of_units(signed(sample.t4 - sample.t3)),
        processing=ns_of_units(processing),
    )


def is_stamped(sample: Sample) -> bool:
    """The reflector wrote both of its timestamps, T2 and T3; 0 is no time, and leaves no delays."""
    return sample.t2 != 0 and sample.t3 != 0


def is_clock_back(sample: Sample) -> bool:
    """The reply came before its packet left (T4 < T1), so our own clock was set back in between."""
    return signed(sample.t4 - sample.t1) < 0


def is_late(sample: Sample, loss_timeout_ns: int) -> bool:
    """A reply came, but longer after the departure than the loss timeout."""
    return sample.rank > 0 and ns_of_units(signed(sample.t4 - sample.t1)) > loss_timeout_ns
