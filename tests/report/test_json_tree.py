"""The JSON tree: a golden file, and that its numbers are those of the metrics."""

import json
from collections.abc import Iterator
from decimal import Decimal

from tests.support.golden import compare
from tests.support.sessions import eventful, lost
from twamp.metrics.measure import Results, measure
from twamp.report.json_tree import json_tree


def test_json() -> None:
    tree = json_tree(
        Results.of([eventful(), lost()]),
        version="0",
        configuration={"count": 10},
        percentiles=[Decimal(75), Decimal("99.90")],
    )
    compare("report.json", json.dumps(tree, indent=2) + "\n")


def test_json_numbers_are_integers_or_null_and_those_of_the_metrics() -> None:
    measurement = eventful()
    metrics = measure(measurement)
    tree = json_tree(Results.of([measurement]), version="0", configuration={})
    result = tree["results"][0]
    assert result["round-trip-time"]["min"] == metrics.round_trip.delay.minimum
    assert result["send-time"]["max"] == metrics.send.delay.maximum
    assert result["reflect-time"]["pdv"] == metrics.reflect.delay.p95_p50
    assert result["packets"]["num-pkts-lost"] == 4 == sum(result["packets"]["lost"].values())
    assert tree["total"]["packets"] == result["packets"]

    def leaves(node: object) -> Iterator[object]:
        if isinstance(node, dict):
            for child in node.values():
                yield from leaves(child)
        else:
            yield node

    assert {type(leaf) for leaf in leaves(tree["total"])} <= {int, bool, type(None)}
