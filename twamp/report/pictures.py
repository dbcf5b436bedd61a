"""Plots of a run (``--plot``): delay over time, its distribution, losses and duplicates.

In the terminal by plotext (``pip install 'twamp[ui]'``), or to a PNG or SVG file by matplotlib
(``pip install 'twamp[plot]'``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from twamp.errors import ConfigError
from twamp.metrics.measure import Results
from twamp.metrics.sample import Delays, delays, is_late, is_stamped
from twamp.metrics.validity import Validity
from twamp.protocol.timestamps import NS, difference_ns

TERMINAL = "terminal"
SUFFIXES = (".png", ".svg")
ROUND_TRIP = "round trip"
KINDS = ((ROUND_TRIP, "round_trip"), ("forward", "send"), ("reverse", "reflect"))
ONE_WAY = ("send", "reflect")
UNITS = (("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", NS))
STEPS = 200  # of a distribution
TERMINAL_SIZE = (100, 24)  # columns and rows of one picture


@dataclass(frozen=True)
class Series:
    """One session: seconds since the first departure, and ns of delay by kind as it is drawn."""

    name: str
    seconds: Sequence[float]
    delays_ns: dict[str, Sequence[int]]
    lost_seconds: Sequence[float]
    duplicate_seconds: Sequence[float]


def require_plot(where: str) -> None:
    """Raises ConfigError where a plot could not be drawn; called before anything is measured."""
    package, extra = ("plotext", "ui") if where == TERMINAL else ("matplotlib", "plot")
    try:
        distribution(package)
    except PackageNotFoundError:
        raise ConfigError(
            f"plot: {package} is not installed; pip install 'twamp[{extra}]'"
            + ("" if where != TERMINAL else ", or give a file, --plot=FILE.png")
        ) from None
    directory = Path(where).resolve().parent
    if where != TERMINAL and not directory.is_dir():
        raise ConfigError(f"plot: there is no directory {directory}")


def series_of(results: Results, *, trust_clocks: bool = False) -> list[Series]:
    """The points to draw of each session; times are from the first departure of all.

    One-way delays that cannot be known are drawn above their least, and their kind says so.
    """
    measurements = results.measurements
    doubted = () if trust_clocks or not Validity.of(results.total).one_way else ONE_WAY
    first = [sample.t1 for one in measurements for sample in one.samples if sample.t1_source]
    origin = first[0] if first else 0
    origin += min((difference_ns(t1, origin) for t1 in first), default=0) * (1 << 32) // NS

    def seconds(t1: int) -> float:
        return difference_ns(t1, origin) / NS

    result = []
    for number, one in enumerate(measurements):
        sent = [sample for sample in one.samples if sample.t1_source]
        received = [
            sample for sample in sent if sample.rank and not is_late(sample, one.loss_timeout_ns)
        ]
        kept = {sample.sequence_number for sample in received}
        timed = [*filter(is_stamped, received)]
        values = [delays(sample) for sample in timed]
        result.append(
            Series(
                name=f"session {number}" if len(measurements) > 1 else "",
                seconds=[seconds(sample.t1) for sample in timed],
                delays_ns={
                    _label(name, field in doubted): _of_kind(values, field, field in doubted)
                    for name, field in KINDS
                },
                lost_seconds=[seconds(s.t1) for s in sent if s.sequence_number not in kept],
                duplicate_seconds=[seconds(sample.t1) for sample in one.duplicates],
            )
        )
    return result


def _label(name: str, is_doubted: bool) -> str:
    return f"{name} above its least" if is_doubted else name


def _of_kind(values: Sequence[Delays], field: str, is_doubted: bool) -> list[int]:
    column = [getattr(each, field) for each in values]
    least = min(column, default=0) if is_doubted else 0
    return [value - least for value in column]


def unit_for(series: Sequence[Series]) -> tuple[str, int]:
    """Name and ns of the unit in which most delays have few digits."""
    longest = sorted(
        abs(value) for one in series for values in one.delays_ns.values() for value in values
    )
    middle = longest[len(longest) // 2] if longest else 1
    return max((unit for unit in UNITS if unit[1] <= max(middle, 1)), key=lambda unit: unit[1])


def shares(values: Sequence[int]) -> tuple[list[int], list[float]]:
    """Delays, ascending, and the share of the packets that had that or less."""
    ordered = sorted(values)
    places = sorted({step * (len(ordered) - 1) // STEPS for step in range(STEPS + 1)})
    if not ordered:
        return [], []
    return [ordered[i] for i in places], [(i + 1) / len(ordered) for i in places]


def title_of(results: Results) -> str:
    """The ends of the sessions, where they are known, and how many packets were lost."""
    ends = {(one.source.address, one.destination.address) for one in results.measurements}
    (source, destination), *more = sorted(ends, key=str)
    counts = f"{results.total.sent} sent, {results.total.lost} lost"
    if source.is_unspecified:  # rows do not say
        return counts
    return f"{source} to {destination}{' and others' if more else ''}: {counts}"


# ---- to a file -----------------------------------------------------------------------------------


def draw(results: Results, path: str, *, trust_clocks: bool = False) -> None:
    """Writes the picture; OSError when the file cannot be written."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    series = series_of(results, trust_clocks=trust_clocks)
    name, ns = unit_for(series)
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure, (over_time, distribution) = pyplot.subplots(
            2, 1, figsize=(12, 9), height_ratios=(3, 2), layout="constrained"
        )
        figure.suptitle(title_of(results))
        _draw_times(over_time, series, ns)
        over_time.set(xlabel="time since the first packet (s)", ylabel=f"delay ({name})")
        _draw_shares(distribution, series, ns)
        distribution.set(xlabel=f"delay ({name})", ylabel="share of the replies")
        for axes in (over_time, distribution):
            axes.grid(alpha=0.3)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="best")
        figure.savefig(path, dpi=100)
        pyplot.close(figure)


MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


def _draw_times(axes: Any, series: Sequence[Series], ns: int) -> None:
    for place, one in enumerate(series):
        for colour, (kind, delays_ns) in enumerate(one.delays_ns.items()):
            values = [value / ns for value in delays_ns]
            label = f"{kind} {one.name}".strip()
            mark = MARKS[place % len(MARKS)]
            axes.plot(one.seconds, values, mark, ms=2.5, color=f"C{colour}", alpha=0.6, label=label)
    # At the lower edge, whatever the delays are.
    floor = axes.get_xaxis_transform()
    for what, tint, times in (
        ("lost", "red", [at for one in series for at in one.lost_seconds]),
        ("duplicate", "black", [at for one in series for at in one.duplicate_seconds]),
    ):
        if times:
            label = f"{what} ({len(times)})"
            axes.plot(
                times, [0.02] * len(times), "|", ms=14, color=tint, label=label, transform=floor
            )


def _draw_shares(axes: Any, series: Sequence[Series], ns: int) -> None:
    styles = ("-", "--", "-.", ":")
    for place, one in enumerate(series):
        for colour, (kind, delays_ns) in enumerate(one.delays_ns.items()):
            values, share = shares(delays_ns)
            label = f"{kind} {one.name}".strip()
            style = styles[place % len(styles)]
            axes.plot([v / ns for v in values], share, style, color=f"C{colour}", label=label)
    axes.set_ylim(0, 1.02)


# ---- in the terminal -----------------------------------------------------------------------------


def terminal_text(results: Results, *, colour: bool, trust_clocks: bool = False) -> str:
    """The pictures as text: round trips over time with losses, and the distributions."""
    import plotext

    series = series_of(results, trust_clocks=trust_clocks)
    name, ns = unit_for(series)
    plotext.clear_figure()
    plotext.plotsize(*TERMINAL_SIZE)
    plotext.title(title_of(results))
    plotext.xlabel("time since the first packet (s)")
    plotext.ylabel(f"round trip ({name})")
    for one in series:
        if not one.seconds:  # plotext cannot tell of nothing
            continue
        round_trips = [value / ns for value in one.delays_ns[ROUND_TRIP]]
        plotext.scatter(one.seconds, round_trips, label=one.name or ROUND_TRIP)
    lost = [at for one in series for at in one.lost_seconds]
    if lost:
        plotext.scatter(lost, [0.0] * len(lost), marker="x", color="red", label="lost")
    over_time = plotext.build()
    plotext.clear_figure()
    plotext.plotsize(*TERMINAL_SIZE)
    plotext.xlabel(f"delay ({name})")
    plotext.ylabel("share of the replies")
    for kind in series[0].delays_ns if series else ():
        values, share = shares([value for one in series for value in one.delays_ns[kind]])
        if values:
            plotext.plot([value / ns for value in values], share, label=kind)
    distribution = plotext.build()
    text = f"{over_time}\n\n{distribution}\n"
    return text if colour else plotext.uncolorize(text)
