"""The send times of test packets, from the slots of twping's ``-i``.

A schedule is a circle of slots, and a slot is a wait: the Session-Sender waits, sends, and goes on to the
next slot (RFC 4656 section 3.6).  So the first packet, too, is sent one wait after the start.  Times are
integers, in nanoseconds.  Random draws come from the caller: a function that returns an exponentially
distributed number with mean 1, for example ``functools.partial(random.expovariate, 1.0)``.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import cycle, islice
from typing import NamedTuple

from twamp.errors import ConfigError
from twamp.protocol.timestamps import NS

LONGEST_WAIT_NS = 86400 * NS
# No draw is longer than this many means: one in 10^13 would be, and a wait must have an end.
LONGEST_DRAW_IN_MEANS = 30.0

# An e before digits is an exponent, as C has it: programs write 1e-05.
_SLOT = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)([efEF]?)", re.ASCII)
# Draws an exponentially distributed number with mean 1.
Draw = Callable[[], float]

_FORM = "VALUE[e|f],…: seconds, then e for exponential (the default) or f for fixed"


class Slot(NamedTuple):
    """One slot of a schedule: a fixed wait, or the mean of exponentially distributed waits."""

    wait_ns: int
    exponential: bool


def parse_intervals(text: str) -> tuple[Slot, ...]:
    """The slots of a comma separated list such as ``0.1e`` or ``1f,0.05f``.

    Raises :class:`~twamp.errors.ConfigError` for any other text.
    """
    return tuple(_parse_interval(slot, text) for slot in text.split(","))


def _parse_interval(slot: str, text: str) -> Slot:
    match = _SLOT.fullmatch(slot.strip())
    if match is None:
        raise ConfigError(
            f"interval {text!r}: {slot.strip()!r} is not of the form {_FORM}; for example 0.1e,2f"
        )
    wait_ns = round(Decimal(match[1]) * NS)
    if wait_ns > LONGEST_WAIT_NS:
        raise ConfigError(
            f"interval {text!r}: {slot.strip()!r} is more than "
            f"{LONGEST_WAIT_NS // NS} seconds; for example 60f"
        )
    return Slot(wait_ns, match[2].lower() != "f")


def make_schedule(slots: Sequence[Slot], count: int, draw: Draw) -> "array[int]":
    """The first ``count`` send times, in nanoseconds after the start, ascending."""
    schedule = array("Q", bytes(8 * count))
    for number, due_ns in enumerate(islice(send_times(slots, draw), count)):
        schedule[number] = due_ns
    return schedule


def send_times(slots: Sequence[Slot], draw: Draw) -> Iterator[int]:
    """Send times without an end, in nanoseconds after the start; the slots are cycled."""
    due_ns = 0
    for slot in cycle(slots):
        if slot.exponential:
            due_ns += round(slot.wait_ns * min(draw(), LONGEST_DRAW_IN_MEANS))
        else:
            due_ns += slot.wait_ns
        yield due_ns
