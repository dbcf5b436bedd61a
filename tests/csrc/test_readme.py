"""csrc/README.md names files and functions that exist."""

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
README = (CSRC / "README.md").read_text()
STEPS = re.findall(r"^\| \d+\. .*\| `(\S+\.c)` \| (.*?) \|", README, re.MULTILINE)
FILES = re.findall(r"`((?:api|packet|kernel|reflector|sender|metrics)/\w+\.[ch])`", README)


def test_the_walk_has_its_steps() -> None:
    assert len(STEPS) == 13


@pytest.mark.parametrize(("file", "functions"), STEPS)
def test_each_step_is_where_it_is_said_to_be(file: str, functions: str) -> None:
    source = (CSRC / file).read_text()
    for name in re.findall(r"`(\w+)`", functions):
        assert re.search(rf"^[a-z].*\b{name}\(", source, re.MULTILINE), name


@pytest.mark.parametrize("file", sorted(set(FILES)))
def test_each_file_exists(file: str) -> None:
    assert (CSRC / file).is_file()


def test_every_name_of_the_engine_stands_in_it() -> None:
    text = "".join(path.read_text() for path in CSRC.glob("*/*.[ch]"))
    named = set(re.findall(r"`(?:struct |enum )?(tw_\w+)`", README))
    assert len(named) > 10
    assert [name for name in sorted(named) if not re.search(rf"\b{name}\b", text)] == []


def test_every_folder_is_explained() -> None:
    folders = {path.name for path in CSRC.iterdir() if path.is_dir()} - {"__pycache__"}
    assert {folder for folder in folders if f"[`{folder}/`]({folder})" not in README} == set()
