"""The screens: units, names, tables; the golden texts of test_main are whole screens."""

from typing import Any

import pytest

from tests.ctl.test_main import STATE
from twamp.ctl.layout import SCREENS, dscp, duration, session_summary, show_sessions, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((None, "-"), (0.04, "0.0 s"), (9.96, "10.0 s"), (10, "10 s"), (59.9, "59 s")),
        *((60, "1 min 0 s"), (3600, "1 h 0 min"), (86400 * 400 + 7200, "400 d 2 h")),
    ],
)
def test_durations_have_two_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_dscp_has_its_name() -> None:
    assert [dscp(value) for value in (0, 46, 10, 3)] == ["0 BE", "46 EF", "10 AF11", "3"]


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    lines = list(table(("NAME", "COUNT"), [("a", 5), ("longer", 10), (None, 100)], "nothing"))
    assert lines == ["NAME    COUNT", "a           5", "longer     10", "-         100"]
    assert list(table(("NAME",), [], "nothing")) == ["nothing"]


@pytest.mark.parametrize("name", ["sessions", "connections"])
def test_an_empty_table_says_so(name: str) -> None:
    empty: Any = {**STATE, name: []}
    assert list(SCREENS[name](empty)) == [f"no {name}"]


def test_the_summary_has_a_line_for_each_client() -> None:
    clients = {row["client"] for row in STATE["sessions"]}
    assert len(list(session_summary(STATE))) == 1 + len(clients)


@pytest.mark.parametrize("width", [80, 100, 120, 150])
def test_sessions_fit_a_terminal_and_say_what_is_left_out(width: int) -> None:
    lines = list(show_sessions(STATE, width))
    assert max(map(len, lines)) <= width
    heads, last = lines[0].split(), lines[-1]
    assert {"SENDER", "REFLECTOR", "STATE", "RECEIVED", "DROPPED"} <= set(heads)
    assert last.endswith(" more columns do not fit; --json has all)")


def test_a_wide_terminal_has_every_column() -> None:
    assert list(show_sessions(STATE, 500)) == list(show_sessions(STATE))
