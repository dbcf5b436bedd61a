"""A table and pictures of a run: ``python -m benchmarks.report RUN.json [--readme] [--plots DIRECTORY]``.

RUN.json is what ``python -m pytest benchmarks --benchmark-json=RUN.json`` wrote.  The table has a row for each
benchmark, with its headlines; ``--readme`` puts it between the marks in the README of the benchmarks, or in
FILE; without, it is printed.
``--plots`` draws what the run has figures for, as SVG and PNG, and needs matplotlib (the ``plot`` extra).
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
README = Path(__file__).with_name("README.md")
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")


class ReportError(Exception):
    """What keeps the report from being made, and the remedy."""


# ---- the table -----------------------------------------------------------------------------------


def read_run(path: Path) -> Mapping[str, Any]:
    """A run's JSON; :class:`ReportError` when it is none, or has no figures."""
    try:
        run = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: {error}; give what --benchmark-json wrote") from None
    if not isinstance(run, dict) or "benchmarks" not in run:
        raise ReportError(f"{path}: no run of pytest-benchmark; give what --benchmark-json wrote")
    if not any(one["extra_info"].get("ratios") for one in run["benchmarks"]):
        raise ReportError(f"{path}: no figures in it; run without --benchmark-disable")
    return run


def rows(run: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(file, question, what over what, the ratio) of every headline, by file."""
    for one in sorted(run["benchmarks"], key=lambda one: str(one["fullname"])):
        info = one["extra_info"]
        file = one["fullname"].partition("::")[0].rpartition("/")[2]
        for name in info.get("headlines", ()):
            ratio = info["ratios"][name]
            values = ratio["values"]
            text = f"{ratio['median']:.3g} ({min(values):.3g}–{max(values):.3g})"
            yield file, info["question"].rstrip(":"), name.replace(": ", " of ", 1), text


def table(run: Mapping[str, Any]) -> str:
    """The run as Markdown, with the machine that it ran on."""
    lines = ["| what | ratio | median (least–most of the rounds) | `benchmarks/` |"]
    lines += ["| --- | --- | --- | --- |"]
    lines += [
        f"| {question} | {ratio} | {text} | `{file}` |" for file, question, ratio, text in rows(run)
    ]
    machine = run["machine_info"]
    cpu = machine.get("cpu", {})
    where = f"{cpu.get('count', '?')} cores of {cpu.get('brand_raw', machine['machine'])}"
    software = f"Linux {machine['release']}, Python {machine['python_version']}"
    return "\n".join([*lines, "", f"Measured on {where}, {software}, {run['datetime'][:10]}."])


def replace_table(text: str, made: str) -> str:
    """``text`` with the table between its marks replaced."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(text):
        raise ReportError(f"there is no place for the table; add a line {BEGIN} and a line {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{made}\n{END}", text)


# ---- the pictures --------------------------------------------------------------------------------


def rates(run: Mapping[str, Any]) -> dict[int, float]:
    """Packets a second by sessions, of ``bench_sessions``."""
    found = {}
    for one in run["benchmarks"]:
        for side, figures in one["extra_info"].get("figures", {}).items():
            if match := re.fullmatch(r"(\d+) sessions?", side):
                found[int(match[1])] = float(figures["packets_per_s"]["median"])
    return dict(sorted(found.items()))


def distributions(
    run: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Mapping[str, float]]]]:
    """(title, side -> percentile -> ns) of what has a distribution."""
    for one in run["benchmarks"]:
        for sides in one["extra_info"].get("distributions", {}).values():
            plain = {side: values for side, values in sides.items() if side != "unit"}
            yield one["extra_info"]["question"].rstrip(":"), plain


def file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def draw(run: Mapping[str, Any], directory: Path) -> list[Path]:
    """Draws all that there is; :class:`ReportError` without matplotlib."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise ReportError("--plots needs matplotlib: pip install 'twamp[plot]'") from None
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    by_sessions = rates(run)
    if len(by_sessions) > 1:
        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        axes.plot(list(by_sessions), list(by_sessions.values()), "-o", color="black")
        axes.set(xscale="log", xlabel="test sessions", ylabel="packets reflected per second")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        made += _save(figure, directory / "rate-by-sessions")
    for title, sides in distributions(run):
        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        for number, (side, values) in enumerate(sides.items()):
            # As far apart as they are rare: 99.9 is as far from 99 as that from 90.
            style, marker = LINE_STYLES[number % 4], MARKERS[number % 4]
            rarity = [1 / (1 - float(percentile) / 100) for percentile in values]
            micros = [nanoseconds / 1000 for nanoseconds in values.values()]
            axes.plot(rarity, micros, style, marker=marker, label=side)
        axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="µs", title=title)
        axes.set_xticks(rarity, list(values))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
        made += _save(figure, directory / file_name(title))
    pyplot.close("all")
    return made


def _save(figure: Any, path: Path) -> list[Path]:
    files = [path.with_suffix(".svg"), path.with_suffix(".png")]
    for file in files:
        figure.savefig(file, dpi=150)
    return files


# ---- the program ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A table and pictures of a run of the benchmarks.")
    parser.add_argument("run", type=Path, metavar="RUN.json")
    parser.add_argument(
        "--readme",
        nargs="?",
        type=Path,
        const=README,
        metavar="FILE",
        help="put the table into the README of the benchmarks, or into FILE",
    )
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="draw into it")
    options = parser.parse_args(arguments)
    try:
        run = read_run(options.run)
        if options.readme is None:
            print(table(run))
        else:
            options.readme.write_text(replace_table(options.readme.read_text(), table(run)))
        if options.plots is not None:
            for file in draw(run, options.plots):
                print(file)
    except ReportError as error:
        print(f"benchmarks.report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
