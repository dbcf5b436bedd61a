"""Plots: to files and to the terminal, and refused before anything is measured."""

import json
import struct
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tests.report.conftest import Run
from tests.support.sessions import a_measurement, a_sample, eventful
from twamp.metrics.measure import Results
from twamp.metrics.sample import Measurement
from twamp.report.json_tree import json_tree

MEASURE = ("--loopback", "-c", "20", "-i", "0.001f", "-L", "0.2", "--session-count", "2")


def as_json(measurements: list[Measurement]) -> str:
    return json.dumps(
        json_tree(
            Results.of(measurements), version="1", configuration={"count": 10}, with_samples=True
        )
    )


def png_size(path: Path) -> tuple[int, int]:
    octets = path.read_bytes()
    assert octets.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", octets[16:24])
    return width, height


def test_pictures_are_drawn_to_files(twping: Run, tmp_path: Path) -> None:
    run = tmp_path / "run.json"
    run.write_text(as_json([eventful(), eventful()]))
    png, svg = tmp_path / "run.png", tmp_path / "run.svg"
    assert twping("report", str(run), "-Q", f"--plot={png}") == (0, "", "")
    assert twping("report", str(run), "-Q", f"--plot={svg}") == (0, "", "")
    assert png_size(png) == (1200, 900)
    text = svg.read_text()
    for label in (
        "time since the first packet (s)",
        "delay (ms)",
        "share of the replies",
        "192.0.2.1 to 192.0.2.2: 20 sent, 8 lost",
        "round trip session 0",
        "reverse session 1",
        "lost (8)",
        "duplicate (4)",
    ):
        assert label in text, label


def test_a_picture_in_the_terminal_is_plain_where_that_is_none(twping: Run) -> None:
    code, out, err = twping(*MEASURE, "-Q", "--plot")
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    for label in ("time since the first packet (s)", "share of the replies", "127.0.0.1: 40 sent"):
        assert label in out


def test_when_all_is_lost_there_is_a_picture_all_the_same(twping: Run, tmp_path: Path) -> None:
    run = tmp_path / "run.json"
    run.write_text(as_json([a_measurement([a_sample(number) for number in range(3)])]))
    assert twping("report", str(run), "-Q", f"--plot={tmp_path / 'lost.png'}")[0] == 3
    assert png_size(tmp_path / "lost.png") == (1200, 900)
    code, out, _ = twping("report", str(run), "-Q", "--plot")
    assert code == 3
    assert "3 sent, 3 lost" in out


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("run.pdf", "'run.pdf' is not the name of a .png or .svg file"),
        ("/nosuch/run.png", "plot: there is no directory /nosuch"),
    ],
)
def test_where_no_picture_can_be_nothing_is_measured(
    twping: Run, where: str, complaint: str
) -> None:
    code, out, err = twping(*MEASURE, f"--plot={where}")
    assert (code, out) == (1, "")
    assert complaint in err


@pytest.mark.parametrize(
    ("where", "module", "extra"), [("terminal", "plotext", "ui"), ("a.png", "matplotlib", "plot")]
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, twping: Run, where: str, module: str, extra: str
) -> None:
    def is_missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("twamp.report.pictures.distribution", is_missing)
    code, _, err = twping(*MEASURE, f"--plot={where}")
    assert code == 1
    assert f"plot: {module} is not installed; pip install 'twamp[{extra}]'" in err
