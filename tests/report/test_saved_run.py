"""A run that is read again says what it said; what is no run is refused with its line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.conftest import Run
from tests.support.sessions import Fate, a_measurement, a_sample, any_fate, carry, eventful
from twamp.errors import ConfigError
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import Results, measure
from twamp.metrics.sample import Measurement
from twamp.protocol.timestamps import ErrorEstimate
from twamp.report.json_tree import json_tree
from twamp.report.packets import raw_rows
from twamp.report.saved_run import read_saved_run


def as_json(measurements: list[Measurement]) -> str:
    return json.dumps(
        json_tree(
            Results.of(measurements), version="1", configuration={"count": 10}, with_samples=True
        )
    )


def as_rows(measurements: list[Measurement]) -> str:
    return "\n\n".join("\n".join(raw_rows(one)) for one in measurements) + "\n"


@given(st.lists(st.lists(any_fate, max_size=10), min_size=1, max_size=3))
def test_json_with_samples_holds_everything(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[Fate]]
) -> None:
    some = replace(eventful(), drops={"foreign": 3})
    measurements = [a_measurement(*carry(fates)) for fates in runs] + [some]
    path = tmp_path_factory.getbasetemp() / "run.json"
    path.write_text(as_json(measurements))
    run = read_saved_run(str(path))
    assert list(run.measurements) == measurements
    assert run.configuration == {"count": 10}


def of_rows(metrics: Metrics) -> tuple[object, ...]:
    """What rows can tell."""
    return (
        metrics.sent,
        metrics.received,
        metrics.lost,
        metrics.send_duplicates,
        metrics.reflect_duplicates,
        metrics.reordering,
        metrics.round_trip.delay,
        metrics.send.ipdv,
        metrics.reflect.pdv,
        metrics.processing,
        metrics.send_hops,
        metrics.reflect_hops,
        metrics.synchronized,
        metrics.first,
        metrics.last,
    )


@given(st.lists(any_fate, min_size=1, max_size=12))
def test_rows_hold_what_became_of_the_packets(
    tmp_path_factory: pytest.TempPathFactory, fates: list[Fate]
) -> None:
    measurement = a_measurement(*carry(fates))
    path = tmp_path_factory.getbasetemp() / "run.txt"
    path.write_text(as_rows([measurement]))
    (read,) = read_saved_run(str(path)).measurements
    assert of_rows(measure(read)) == of_rows(measure(measurement))
    assert "\n".join(raw_rows(read)).count("\n") == "\n".join(raw_rows(measurement)).count("\n")


def test_rows_of_several_sessions_stay_apart(tmp_path: Path) -> None:
    lost = a_measurement([a_sample(number) for number in range(3)])
    path = tmp_path / "run.txt"
    path.write_text("# a comment\n" + as_rows([eventful(), lost]) + "\n\n\n")
    first, second = read_saved_run(str(path)).measurements
    assert (measure(first).sent, measure(second).sent, measure(second).received) == (10, 3, 0)


@given(multiplier=st.integers(1, 255), scale=st.integers(0, 40), synchronized=st.booleans())
def test_the_error_of_a_row_is_read_back(multiplier: int, scale: int, synchronized: bool) -> None:
    from twamp.report.saved_run import _estimate

    printed = f"{multiplier * 2.0 ** (scale - 32):g}"
    found = ErrorEstimate.from_int(_estimate(str(int(synchronized)), printed))
    assert found.synchronized is synchronized
    true = multiplier * 2.0 ** (scale - 32)
    assert abs(found.multiplier * 2.0 ** (found.scale - 32) - true) <= true * 0.004


ROW = next(raw_rows(eventful()))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "there is no row in it"),
        ("hello\n", "line 1: 1 columns; a row of twping -R has 16"),
        (f"{ROW}\n{ROW} 7\n", "line 2: 17 columns"),
        (ROW.replace(ROW.split()[1], "x"), "line 1: 'x' is no whole number"),
        (" ".join(["-1", *ROW.split()[1:]]), "line 1: '-1' is no whole number"),
        (" ".join([*ROW.split()[:2], "2", *ROW.split()[3:]]), "'2' is no synchronised bit"),
        (" ".join([*ROW.split()[:3], "big", *ROW.split()[4:]]), "'big' is no error in seconds"),
        (" ".join([*ROW.split()[:15], "256"]), "'256' is no whole number below 256"),
        (f"{ROW}\n" + " ".join([*ROW.split()[:4], *["0"] * 12]), "line 2: packet 0 is lost, and"),
        ("{", "is the file whole?"),
        ('{"a":' + 200_000 * "[", "is the file whole?"),
        ("{}", "this JSON is no report of twping"),
        ('{"program": "twping", "results": [{}]}', "save with twping --json --samples"),
        ('{"program": "twping", "results": [{"samples": 1}]}', "no whole report of twping"),
        ('{"program": "twping", "results": 7}', "no whole report of twping"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_saved_run(str(path))
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value) or "columns" in complaint


@given(st.binary(max_size=300))
def test_any_octets_are_a_run_or_refused(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "octets"
    path.write_bytes(octets)
    with pytest.raises(ConfigError):
        read_saved_run(str(path))


MEASURE = ("--loopback", "-c", "20", "-i", "0.001f", "-L", "0.2", "--session-count", "2")


def test_a_report_of_saved_json_is_that_of_the_run(twping: Run, tmp_path: Path) -> None:
    _, text, _ = twping(*MEASURE, "--json", "--samples")
    path = tmp_path / "run.json"
    path.write_text(text)
    assert twping("report", str(path), "--json", "--samples") == (0, text, "")
    without = json.loads(twping("report", str(path), "--json")[1])
    assert all("samples" not in result for result in without["results"])
    for form in (("--csv",), ("--influx",), ("-R",), ("-M",), ("-v3", "-n", "u"), ()):
        code, out, err = twping("report", str(path), *form)
        assert (code, bool(out), err) == (0, True, "")
    code, out, err = twping("report", str(path), "-Q", "--fail", "rtt.min>0ns")
    assert (code, out) == (3, "")
    assert err.startswith("twping: failed: rtt.min>0ns: it is ")


def test_a_report_of_rows_is_that_of_the_run(twping: Run, tmp_path: Path) -> None:
    _, rows, _ = twping(*MEASURE, "-R")
    path = tmp_path / "run.txt"
    path.write_text(rows)
    code, again, err = twping("report", str(path), "-R")
    assert (code, again) == (0, rows)
    assert "rows do not say" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "takes one file"),
        (("a", "b"), "takes one file"),
        (("nosuchfile",), "No such file"),
        (("run", "-c", "5"), "count: twping report measures nothing"),
        (("run", "--hwtstamp"), "hwtstamp: twping report measures nothing"),
    ],
)
def test_what_report_cannot_do_is_refused(
    twping: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    code, out, err = twping("report", *arguments)
    assert (code, out) == (1, "")
    assert complaint in err


def test_samples_need_json(twping: Run) -> None:
    assert "samples: only --json has samples" in twping("--loopback", "--samples")[2]
