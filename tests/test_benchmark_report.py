"""The table and the pictures that are made of a run of the benchmarks."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import BEGIN, END, README, ReportError, main, read_run, replace_table, table

PNG, SVG = b"\x89PNG", b"<?xml"


def figure(median: float) -> dict[str, Any]:
    return {"median": median, "spread": 0.1, "values": [median * 0.9, median, median * 1.1]}


def a_benchmark(name: str, **info: Any) -> dict[str, Any]:
    return {"fullname": name, "extra_info": info}


def a_run() -> dict[str, Any]:
    sessions = {
        side: {"packets_per_s": figure(rate)}
        for side, rate in [("1 session", 200e3), ("32 sessions", 190e3), ("bare", 210e3)]
    }
    errors = {"50": 2500.0, "90": 3000.0, "99": 4500.0, "99.9": 20000.0}
    return {
        "datetime": "2026-01-02T03:04:05+00:00",
        "machine_info": {
            "cpu": {"brand_raw": "Some CPU", "count": 2},
            "machine": "x86_64",
            "release": "6.1",
            "python_version": "3.11.7",
        },
        "benchmarks": [
            a_benchmark(
                "benchmarks/bench_t3_error.py::bench_t3_error",
                question="error of T3:",
                ratios={"p99: five / sixty": figure(0.02)},
                headlines=["p99: five / sixty"],
                figures={},
                distributions={"t3 error": {"unit": "ns", "five": errors, "sixty": errors}},
            ),
            a_benchmark(
                "benchmarks/bench_sessions.py::bench_sessions",
                question="sessions in turn:",
                ratios={"packets_per_s: 32 sessions / 1 session": figure(0.95), "b: c / d": 1},
                headlines=["packets_per_s: 32 sessions / 1 session"],
                figures=sessions,
            ),
            a_benchmark("benchmarks/bench_codec.py::bench_codec", figures={}),
        ],
    }


TABLE = """\
| what | ratio | median (least–most of the rounds) | `benchmarks/` |
| --- | --- | --- | --- |
| sessions in turn | packets_per_s of 32 sessions / 1 session | 0.95 (0.855–1.04) | `bench_sessions.py` |
| error of T3 | p99 of five / sixty | 0.02 (0.018–0.022) | `bench_t3_error.py` |

Measured on 2 cores of Some CPU, Linux 6.1, Python 3.11.7, 2026-01-02."""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(a_run()))
    return file


def test_the_table_has_a_row_for_each_headline() -> None:
    assert table(a_run()) == TABLE


def test_the_table_is_printed(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run_file)]) == 0
    assert capsys.readouterr().out == TABLE + "\n"


def test_the_table_takes_the_place_of_another(run_file: Path) -> None:
    readme = run_file.with_name("README.md")
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        assert main([str(run_file), "--readme", str(readme)]) == 0
        assert readme.read_text() == f"before\n{BEGIN}\n{TABLE}\n{END}\nafter\n"


def test_the_readme_of_the_benchmarks_has_a_place_for_it() -> None:
    assert replace_table(README.read_text(), TABLE).count(TABLE) == 1


def test_a_page_without_a_place_for_it_stays_as_it_is() -> None:
    with pytest.raises(ReportError, match="figures: begin"):
        replace_table("nothing here", TABLE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "no run of pytest-benchmark"),
        ('{"benchmarks": []}', "without --benchmark-disable"),
        ('{"benchmarks": [{"fullname": "a", "extra_info": {}}]}', "without --benchmark-disable"),
    ],
)
def test_what_is_no_run_is_refused(
    run_file: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    run_file.write_text(text)
    assert main([str(run_file)]) == 1
    error = capsys.readouterr().err
    assert str(run_file) in error
    assert reason in error


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file"):
        read_run(tmp_path / "none.json")


def test_pictures_are_drawn_of_what_there_is(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = run_file.with_name("plots")
    assert main([str(run_file), "--plots", str(directory)]) == 0
    printed = capsys.readouterr().out
    names = {"rate-by-sessions", "error-of-t3"}
    assert {file.stem for file in directory.iterdir()} == names
    for name in names:
        assert (directory / f"{name}.png").read_bytes().startswith(PNG)
        assert (directory / f"{name}.svg").read_bytes().startswith(SVG)
        assert f"{directory}/{name}.svg\n" in printed
    assert "five" in (directory / "error-of-t3.svg").read_text()
