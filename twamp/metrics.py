"""What is known of each test packet."""

from typing import NamedTuple


class Sample(NamedTuple):
    """One packet, there and back: ``struct tw_sample`` of csrc/twamp.h, field for field.

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
