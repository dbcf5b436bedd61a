"""Interleaved rounds: every round runs every side once, so what disturbs the machine disturbs all.

A side is a function that runs once and returns its figures by name, the unit in the name.  Order
turns around from round to round; the first round only warms up.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Side = Callable[[], Mapping[str, float]]
ROUNDS = 7
LINES: list[str] = []  # printed at the end by conftest.py


@dataclass(frozen=True)
class Figure:
    """One number, once a round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Greatest less least, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def __truediv__(self, other: "Figure") -> "Figure":
        """Round by round, so that what both sides suffered cancels out; 0 / 0 is left out."""
        pairs = zip(self.values, other.values, strict=True)
        return Figure(tuple(a / b for a, b in pairs if b) or (float("nan"),))

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        return f"{self.median:,.4g} ({low:,.4g}–{high:,.4g})"

    def record(self) -> Mapping[str, Any]:
        return {"median": self.median, "spread": self.spread, "values": self.values}


@dataclass
class Rounds:
    """The figures of each side, by side and name."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, side: str, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.figures.setdefault(side, {}).setdefault(name, []).append(value)

    def figure(self, side: str, name: str) -> Figure:
        return Figure(tuple(self.figures[side][name]))


def interleave(
    benchmark: Any, sides: Mapping[str, Side], rounds: int = ROUNDS, warm_up: bool = True
) -> Rounds:
    """All sides, ``rounds`` times and one more to warm up; once in all with --benchmark-disable."""
    result = Rounds({side: {} for side in sides})
    turns = 0

    def turn() -> None:
        nonlocal turns
        order = list(sides)[:: -1 if turns % 2 else 1]
        for side in order:
            figures = sides[side]()
            if turns or not warm_up or benchmark.disabled:
                result.add(side, figures)
        turns += 1

    benchmark.pedantic(turn, rounds=rounds, warmup_rounds=int(warm_up), iterations=1)
    return result


def publish(
    benchmark: Any,
    question: str,
    rounds: Rounds,
    *ratios: tuple[str, str, str],
    headlines: int = 1,
) -> dict[str, Figure]:
    """Prints the figures and puts them into ``extra_info``; the first ``headlines`` ratios are for reports.

    A ratio is (figure, side, side): the first side's over the second's.
    """
    lines = [f"{question}   median (least–most) of {_count(rounds)} rounds"]
    computed = {}
    for name, side, other in ratios:
        ratio = rounds.figure(side, name) / rounds.figure(other, name)
        computed[f"{name}: {side} / {other}"] = ratio
        lines.append(f"  {ratio!s:>30}  = {name}: {side} / {other}")
    lines.extend(
        f"    {rounds.figure(side, name)!s:>28}  {name}: {side}"
        for side, figures in rounds.figures.items()
        for name in figures
    )
    if not benchmark.disabled:  # figures of one turn without a warm-up say nothing
        LINES.extend(lines)
    benchmark.extra_info["question"] = question
    benchmark.extra_info["ratios"] = {key: value.record() for key, value in computed.items()}
    benchmark.extra_info["figures"] = {
        side: {name: rounds.figure(side, name).record() for name in figures}
        for side, figures in rounds.figures.items()
    }
    benchmark.extra_info["headlines"] = list(computed)[:headlines]
    return computed


def _count(rounds: Rounds) -> int:
    return max(len(values) for side in rounds.figures.values() for values in side.values())


def percentile(values: list[int], percent: int) -> int:
    """Nearest rank."""
    return sorted(values)[max(-(-percent * len(values) // 100), 1) - 1]
