"""NTP and PTP 64-bit time and the Error Estimate, in integers only.

A *timestamp* is the 64-bit number on the wire, ``unix_ns`` a count of ns since 1970-01-01 00:00 UTC.  The
clock is never read here.
"""

from typing import NamedTuple, Self

NS = 1_000_000_000
UNIX_EPOCH_IN_NTP = 2_208_988_800  # seconds from 1900 to 1970
ERA = 1 << 32  # seconds in an NTP era; also the range of PTP's truncated seconds
# A wire timestamp does not say its era; without a better hint it is the one nearest to mid 2030.
PIVOT_UNIX_NS = 1_909_000_000 * NS


def ntp_from_unix_ns(unix_ns: int) -> int:
    """NTP 64 bit: seconds since 1900 modulo 2^32, and a binary fraction (RFC 4656 section 4.1.2).

    Rounds down, so that :func:`unix_ns_from_ntp`, which rounds to the nearest, gives ``unix_ns`` back.
    """
    seconds, ns = divmod(unix_ns, NS)
    return (seconds + UNIX_EPOCH_IN_NTP) % ERA << 32 | (ns << 32) // NS


def unix_ns_from_ntp(timestamp: int, near_unix_ns: int = PIVOT_UNIX_NS) -> int:
    """Unix time in ns of an NTP timestamp, in the era that is nearest to ``near_unix_ns``."""
    seconds = (timestamp >> 32) - UNIX_EPOCH_IN_NTP
    ns = ((timestamp & 0xFFFFFFFF) * NS + (1 << 31)) >> 32
    return _in_era(seconds, near_unix_ns) * NS + ns


def ptp_from_unix_ns(unix_ns: int, utc_offset_s: int = 0) -> int:
    """PTPv2 truncated: seconds modulo 2^32 and ns (RFC 8186 section 2.3).

    ``utc_offset_s`` is TAI − UTC where the PTP clock runs on TAI; 0 where it runs on UTC.
    """
    seconds, ns = divmod(unix_ns, NS)
    return (seconds + utc_offset_s) % ERA << 32 | ns


def unix_ns_from_ptp(
    timestamp: int, near_unix_ns: int = PIVOT_UNIX_NS, utc_offset_s: int = 0
) -> int:
    """Unix time in ns of a truncated PTPv2 timestamp; more than 10^9 ns in it simply carry over."""
    seconds = (timestamp >> 32) - utc_offset_s
    return _in_era(seconds, near_unix_ns) * NS + (timestamp & 0xFFFFFFFF)


def _in_era(seconds: int, near_unix_ns: int) -> int:
    near = near_unix_ns // NS
    return seconds + (near - seconds + ERA // 2) // ERA * ERA


def interval_from_ns(ns: int) -> int:
    """A 32.32 interval such as Timeout; at most the longest that the field can hold."""
    return min(((ns << 32) + NS // 2) // NS, (1 << 64) - 1)


def ns_from_interval(interval: int) -> int:
    """A 32.32 interval in ns, to the nearest."""
    return (interval * NS + (1 << 31)) >> 32


def difference_ns(later: int, earlier: int) -> int:
    """``later − earlier`` of two NTP timestamps in ns; correct across eras if they are within 68 years."""
    difference = (later - earlier) & ((1 << 64) - 1)
    if difference >= 1 << 63:
        difference -= 1 << 64
    return (difference * NS + (1 << 31)) >> 32


class ErrorEstimate(NamedTuple):
    """The Error Estimate: 16 bits (RFC 4656 section 4.1.2, RFC 8186 section 2.3).

    ::

        |S|Z|   Scale   |   Multiplier  |

    The error is ``multiplier`` · 2^(``scale`` − 32) seconds.  A multiplier of 0 is corrupt.
    """

    synchronized: bool
    ptp_format: bool
    scale: int
    multiplier: int

    @classmethod
    def from_int(cls, value: int) -> Self:
        return cls(bool(value >> 15 & 1), bool(value >> 14 & 1), value >> 8 & 0x3F, value & 0xFF)

    def __int__(self) -> int:
        return self.synchronized << 15 | self.ptp_format << 14 | self.scale << 8 | self.multiplier

    @classmethod
    def covering(cls, error_ns: int, *, synchronized: bool, ptp_format: bool = False) -> Self:
        """The smallest estimate that is not less than ``error_ns``, and never 0."""
        units = max(1, -(-(error_ns << 32) // NS))
        scale = min(max(0, units.bit_length() - 8), 63)
        multiplier = -(-units >> scale)
        if multiplier > 255:  # rounding up has carried
            scale, multiplier = (scale + 1, 128) if scale < 63 else (63, 255)
        return cls(synchronized, ptp_format, scale, multiplier)

    @property
    def error_ns(self) -> int:
        """The error in ns, rounded up."""
        return -(-(self.multiplier << self.scale) * NS >> 32)
