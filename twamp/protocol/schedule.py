"""When test packets go: twping's ``-i`` and the send times that come of it.

A schedule is a circle of slots, and a slot is a wait: the Session-Sender waits, sends, and goes on
to the next slot (RFC 4656 section 3.6).  So the first packet, too, goes one wait after the start,
be the slot fixed or exponential.  Randomness is an argument; times are integers, in nanoseconds.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import cycle, islice
from random import Random
from typing import NamedTuple

from twamp.errors import ConfigError

NANOSECONDS = 10**9
LONGEST_WAIT_NS = 86400 * NANOSECONDS
# No draw is longer than this many means: one in 10^13 would be, and a wait must have an end.
LONGEST_DRAW_IN_MEANS = 30.0

# An e before digits is an exponent, as C has it: programs write 1e-05.
_SLOT = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)([ef]?)", re.ASCII)
_FORM = "VALUE[e|f],…: seconds, then e for exponential (the default) or f for fixed"


class Slot(NamedTuple):
    """One slot of a schedule: a fixed wait, or the mean of exponentially distributed ones."""

    wait_ns: int
    exponential: bool


def parse_intervals(text: str) -> tuple[Slot, ...]:
    """The slots of a comma separated list such as ``0.1e`` or ``1f,0.05f``; else ConfigError."""
    return tuple(_parse_interval(slot, text) for slot in text.split(","))


def _parse_interval(slot: str, text: str) -> Slot:
    match = _SLOT.fullmatch(slot.strip())
    if match is None:
        raise ConfigError(
            f"interval {text!r}: {slot.strip()!r} is not of the form {_FORM}; for example 0.1e,2f"
        )
    wait_ns = round(Decimal(match[1]) * NANOSECONDS)
    if wait_ns > LONGEST_WAIT_NS:
        raise ConfigError(
            f"interval {text!r}: {slot.strip()!r} is more than "
            f"{LONGEST_WAIT_NS // NANOSECONDS} seconds; for example 60f"
        )
    return Slot(wait_ns, match[2] != "f")


def make_schedule(intervals: Sequence[Slot], count: int, random: Random) -> "array[int]":
    """``count`` send times, in nanoseconds after the start, ascending; the slots are cycled."""
    schedule = array("Q", bytes(8 * count))
    for number, due_ns in enumerate(islice(send_times(intervals, random), count)):
        schedule[number] = due_ns
    return schedule


def send_times(intervals: Sequence[Slot], random: Random) -> Iterator[int]:
    """The same without an end."""
    due_ns = 0
    for interval in cycle(intervals):
        if interval.exponential:
            waits = min(random.expovariate(1.0), LONGEST_DRAW_IN_MEANS)
            due_ns += round(interval.wait_ns * waits)
        else:
            due_ns += interval.wait_ns
        yield due_ns
