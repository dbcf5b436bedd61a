"""twamp/metrics/README.md defines every figure that is reported, and names code that exists."""

import re
from pathlib import Path

import pytest

from tests.support.sessions import eventful
from twamp.metrics.measure import measure
from twamp.metrics.threshold import COUNTS, DELAYS, DISTRIBUTIONS, STATISTICS
from twamp.report.json_tree import metrics_tree

ROOM = Path(__file__).resolve().parents[2] / "twamp" / "metrics"
README = (ROOM / "README.md").read_text()
PLACES = re.findall(r"`twamp/metrics/(\w+\.py)`: `(\w+)`", README)
# The ends of values need no definition; "lost" of a session and "packets" are headings.
PLAIN = {"packets", "time-of-first", "time-of-last"}


def test_every_figure_of_the_json_is_defined() -> None:
    tree = metrics_tree(measure(eventful()), ())
    keys = {*tree, *tree["packets"], *tree["packets"]["lost"], *tree["round-trip-time"]}
    keys -= PLAIN | {"min", "max"}
    assert len(keys) > 25
    assert [key for key in sorted(keys) if f"`{key}`" not in README] == []


def test_every_figure_of_a_threshold_is_defined() -> None:
    names = {*COUNTS, *DELAYS, *DISTRIBUTIONS, *STATISTICS} - {"", "min", "max"}
    assert [name for name in sorted(names) if f"`{name}`" not in README] == []


def test_places_are_named() -> None:
    assert len(PLACES) > 6


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_each_place_is_there(file: str, name: str) -> None:
    assert re.search(rf"\b(?:def|class) {name}\b", (ROOM / file).read_text())
