"""The exit codes: the numbers that other programs know, and what earns which."""

import pytest

from twamp.monitor.outcome import Outcome


def test_the_numbers_are_those_of_the_manual() -> None:
    assert [(each.name, each.value) for each in Outcome] == [
        ("MEASURED", 0),
        ("NO_SET_UP", 1),
        ("INTERRUPTED", 2),
        ("NOTHING_BACK", 3),
        ("CUT_SHORT", 4),
    ]


@pytest.mark.parametrize(
    ("received", "failed", "outcome"),
    [
        (True, False, Outcome.MEASURED),
        (True, True, Outcome.NOTHING_BACK),
        (False, False, Outcome.NOTHING_BACK),
        (False, True, Outcome.NOTHING_BACK),
    ],
)
def test_figures_are_judged(received: bool, failed: bool, outcome: Outcome) -> None:
    assert Outcome.of(received=received, failed=failed) is outcome
