"""How text is written: the unit of times, and further choices of the reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from twamp.protocol.timestamps import NS


class Unit(NamedTuple):
    """A unit of time: its name and how many nanoseconds it has."""

    name: str
    ns: int

    def text(self, value_ns: int | None) -> str:
        """Three significant digits, as the reference writes times."""
        return "nan" if value_ns is None else f"{value_ns / self.ns:.3g}"


UNITS: Mapping[str, Unit] = {
    "n": Unit("ns", 1),
    "u": Unit("us", 1_000),
    "m": Unit("ms", 1_000_000),
    "s": Unit("s", NS),
}


@dataclass(frozen=True, kw_only=True)
class Style:
    """How text is written: the unit of times, percentiles to add, Unix times beside packets.

    ``trust_clocks``: one-way delays are shown as they are, though the clocks are not known to agree.
    """

    unit: Unit = UNITS["m"]
    percentiles: tuple[Decimal, ...] = ()
    unix_time: bool = False
    trust_clocks: bool = False


def percent_text(part: int, whole: int) -> str:
    """A share in per cent to three decimals, as the reference writes losses."""
    return f"{100 * part / whole if whole else 0.0:.3f}%"
