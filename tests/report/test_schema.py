"""The JSON of ``twping --json`` is what its schema, which is shipped, says."""

import copy
import json
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from twamp.ping.__main__ import main
from twamp.protocol.timestamps import unix_ns_from_ntp

SCHEMA = json.loads(files("twamp").joinpath("data/schema/twping.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
GOLDEN = Path(__file__).parent.parent / "golden" / "report.json"


def a_tree() -> Any:
    tree = json.loads(GOLDEN.read_text())
    return tree | {"failed": [], "failed-because": [], "results": tree["results"][:1]}


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "options",
    [
        ("-c", "20"),
        ("-c", "5", "--session-count", "3", "--fail", "rtt.max>1ns", "-a", "12.5,99.99"),
        ("-c", "3", "-D", "EF", "--zero-padding"),
        ("-c", "5", "--samples"),
    ],
)
def test_a_run_follows_it(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    main(["--loopback", "-i", "0.001f", "-L", "0.2", "--json", *options])
    VALIDATOR.validate(json.loads(capsys.readouterr().out))


def test_an_eventful_run_follows_it() -> None:
    VALIDATOR.validate(a_tree())


def test_samples_say_how_their_timestamps_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--loopback", "-c", "2", "-i", "0.001f", "-L", "0.2", "--json", "--samples"])
    tree = json.loads(capsys.readouterr().out)
    [result] = tree["results"]
    assert result["samples"]["timestamps"] == "ntp64"
    first = result["samples"]["rows"][0][0]
    assert unix_ns_from_ntp(first) == result["packets"]["time-of-first"]
    result["samples"]["rows"][0].append(0)
    assert not VALIDATOR.is_valid(tree)


def paths(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of every key of every object, but for those that may be of any name."""
    if not isinstance(tree, dict) or above[-1:] in (("definitions",), ("configuration",)):
        items = enumerate(tree) if isinstance(tree, list) else ()
        return [path for key, value in items for path in paths(value, (*above, key))]
    here = [(*above, key) for key in tree]
    return here + [path for path in here for path in paths(tree[path[-1]], path)]


OPEN = {"dropped", "reflect-dscp", "reflect-ecn", "t1", "t4", "percentiles"}


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def test_whatever_is_left_out_added_or_of_another_kind_does_not() -> None:
    """Key by key; so the schema names every one of them."""
    tree = a_tree()
    closed = [path for path in paths(tree) if not (path[-2:-1] and path[-2] in OPEN)]
    assert len(closed) > 100
    for path, change in zip(
        closed, cycle(("left out", "renamed", "of another kind")), strict=False
    ):
        other = copy.deepcopy(tree)
        parent = at(other, path[:-1])
        if change == "of another kind":
            parent[path[-1]] = 0.5
        else:
            value = parent.pop(path[-1])
            if change == "renamed":
                parent[f"{path[-1]}-"] = value
        assert not VALIDATOR.is_valid(other), (path, change)
