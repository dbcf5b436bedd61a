"""The manual pages: shown without a warning, whole, and installed."""

import argparse
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import NOT_TESTED
from tests.documents.blocks import MAN, ROOT
from twamp.ctl.__main__ import parser as twampctl
from twamp.engine.native import enum_names
from twamp.ping.command_line import parser as twping
from twamp.reflector.__main__ import parser as twampd

PAGES = sorted(MAN.iterdir())
NAMES = {
    *("twampd.8", "twping.1", "twampctl.1"),
    *("twampd.toml.5", "twping-targets.5", "twamp-timestamps.7"),
}

# Without LD_PRELOAD: man does not bear a sanitizer in it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | {
    "LC_ALL": "C.UTF-8",
    "MANWIDTH": "80",
}


def test_there_is_a_page_for_each_program_file_and_for_timestamps() -> None:
    assert {page.name for page in PAGES} == NAMES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize(
    "show",
    [
        ("mandoc", "-Tlint", "-W", "warning"),
        ("man", "--warnings", "-Tutf8", "-l"),
    ],
    ids=lambda show: show[0],
)
def test_a_page_is_shown_without_a_warning(
    page: Path, show: tuple[str, ...], tmp_path: Path
) -> None:
    if shutil.which(show[0]) is None:
        pytest.skip(f"{NOT_TESTED}: {show[0]} is not on PATH")
    assert complaints(show, page) == ""
    wrong = tmp_path / page.name
    wrong.write_text(page.read_text() + "\n.XY no such macro\n")
    assert "XY" in complaints(show, wrong)


def complaints(show: tuple[str, ...], page: Path) -> str:
    """What a program says of a page, beside the page."""
    words = [*show, str(page)]
    done = subprocess.run(
        words, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False
    )
    return done.stderr + (done.stdout if show[0] == "mandoc" else "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_can_be_copied_from_a_page(page: Path) -> None:
    """A hyphen without its escape may be shown as another character."""
    text = re.sub(r'^[.\']\\".*$', "", page.read_text(), flags=re.MULTILINE)
    assert re.findall(r"(?<![\w\\-])--?[a-zA-Z][\w-]*", text) == []


@pytest.mark.parametrize(
    ("name", "parser"),
    [("twampd.8", twampd), ("twping.1", twping), ("twampctl.1", twampctl)],
    ids=["twampd", "twping", "twampctl"],
)
def test_a_page_has_every_option(name: str, parser: Callable[[], argparse.ArgumentParser]) -> None:
    shown = (MAN / name).read_text().replace("\\-", "-")
    options = {
        option
        for action in parser()._actions
        if action.help != argparse.SUPPRESS
        for option in action.option_strings
    }
    assert [
        option
        for option in options
        if f"\n.B {option}" not in shown and f"\\fB{option}\\fR" not in shown
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_references_lead_to_pages(page: Path) -> None:
    known = NAMES | {"ptp4l.8", "phc2sys.8", "adjtimex.2"}
    for name, section in re.findall(r"^\.BR ([\w.\\-]+) \((\d)\)", page.read_text(), re.MULTILINE):
        assert f"{name.replace(chr(92), '')}.{section}" in known


def test_every_reason_of_a_drop_is_explained() -> None:
    text = (MAN / "twampd.8").read_text()
    [section] = re.findall(r'\.\\" names: drops\n(.*?)\.\\" end', text, re.DOTALL)
    assert set(re.findall(r"^\.TP\n\.B (\w+)$", section, re.MULTILINE)) == set(
        enum_names("tw_drop", "TW_DROP_")
    )


def test_pages_are_installed_where_man_looks() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    installed = setup["data-files"]
    for page in PAGES:
        assert f"twamp/data/man/*{page.suffix}" in installed[f"share/man/man{page.suffix[1:]}"]
