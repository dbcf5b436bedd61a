"""The READMEs: short enough, true of the files they name, and of what the programs print."""

import re
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT
from tests.documents.examples import READMES, examples
from twamp.ping.__main__ import main as twping

README = ROOT / "README.md"
MOST_LINES, MOST_COLUMNS = 160, 100
RATIO = re.compile(r"[\d.]+ \([\d.]+–[\d.]+\)")


def test_the_readme_is_short() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    commands = {line for example in examples(README) for line in example.text.splitlines()}
    too_long = [line for line in lines if len(line) > MOST_COLUMNS and line not in commands]
    assert too_long == []


def test_only_the_two_commands_of_set_up_are_longer() -> None:
    long = [line for line in README.read_text().splitlines() if len(line) > MOST_COLUMNS]
    assert len(long) == 2
    assert all("python3 -m venv .venv" in line for line in long)


def test_the_test_command_is_marked() -> None:
    """.ci/run looks for it so."""
    text = README.read_text()
    [command] = re.findall(r"^<!-- test command -->\n```sh\n(.*)\n```$", text, re.MULTILINE)
    assert command.endswith(".venv/bin/python -m pytest")


def test_its_ratios_are_those_of_the_benchmarks() -> None:
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    told = RATIO.findall(README.read_text())
    assert len(told) >= 9
    assert [ratio for ratio in told if f" {ratio} |" not in measured] == []


def test_the_map_of_the_tests_names_every_folder() -> None:
    text = (ROOT / "tests" / "README.md").read_text()
    packages = {each.parent.name for each in (ROOT / "twamp").glob("*/__init__.py")}
    folders = {
        each.name
        for each in (ROOT / "tests").iterdir()
        if each.is_dir() and not each.name.startswith(("_", "."))
    }
    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == folders - packages


def skeletons(text: str) -> list[str]:
    """The lines without numbers and units, which each run has of its own."""
    return [
        re.sub(r"(?<![a-zA-Z])-?\d[\d.]*|\b[num]s\b", "#", re.sub(r"\s+", " ", line)).strip()
        for line in text.splitlines()
    ]


def test_its_output_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    [shown] = (example.text for example in examples(README) if example.kind == "text")
    assert twping(["--loopback", "-c", "10", "-i", "0.001f"]) == 0
    printed = skeletons(capsys.readouterr().out)
    places = [printed.index(line) for line in skeletons(shown)]
    assert places == sorted(places)


@pytest.mark.parametrize("page", READMES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, heading = target.partition("#")
        path = page if not name else (page.parent / name)
        assert path.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]
            assert heading in anchors


@pytest.mark.parametrize("page", READMES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"`((?:twamp|csrc|tests|benchmarks)/[\w./]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    for file, names in re.findall(r"`([\w/]+\.(?:py|c|h))`: ((?:`\w+`(?:, )?)+)", text):
        source = (ROOT / file if "/" in file else page.parent / file).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^\s*(?:(?:async )?def|class) {name}\b", source, re.MULTILINE) or (
                re.search(rf"^(?:\w.*?\b)?{name}(?:\(| \{{)", source, re.MULTILINE)
            ), f"{file}: {name}"
