"""The examples of the documents: commands and programs run, configurations are accepted."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.documents.blocks import MAN, ROOT
from tests.documents.examples import READMES, Example, examples
from tests.documents.stand_in import MODULES, replaced
from tests.support.twampd import Twampd
from twamp.config.toml_file import read_config_files
from twamp.monitor.targets import read_targets
from twamp.reflector.__main__ import main as twampd

PAGES = [*READMES, *sorted(MAN.iterdir())]
EXAMPLES = [example for page in PAGES for example in examples(page)]
KEY_FILE = f"alice {16 * 'a1'}\n"
CONFIGURATIONS = ("twampd.toml", "targets.toml")
# Shown for a program that is not ours, or as the output of one of ours.
NOT_OURS = ("unit", "udev", "yaml", "text", "mermaid")


def of_kind(*kinds: str) -> list[Example]:
    return [each for each in EXAMPLES if each.kind in kinds and each.is_run]


@pytest.fixture(scope="module")
def responder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of the stand-ins, and the responder that is in it."""
    directory = tmp_path_factory.mktemp("responder")
    keys = directory / "twamp.pfs"
    keys.write_text(KEY_FILE)
    keys.chmod(0o600)
    listen = ("--listen-address", "127.0.0.1", "--listen-address", "::1")
    rest = ("--key-file", str(keys), "--maximum-sessions-per-connection", "16")
    with Twampd.running(directory, *listen, *rest) as running:
        [(port, port_ipv6)] = re.findall(
            r"listening on \[127\.0\.0\.1\]:(\d+), \[::1\]:(\d+),", running.log
        )
        yield {
            "TWAMP_PORT": port,
            "TWAMP_PORT_IPV6": port_ipv6,
            "TWAMP_SOCKET": str(running.control_socket),
            "TWAMP_KEYS": str(keys),
            "PYTHONPATH": str(ROOT),
        }


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where examples run: their programs are on the PATH, their files are there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in MODULES:
        script = f'#!/bin/sh\nexec {sys.executable} -m tests.documents.stand_in {name} "$@"\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    here = tmp_path / "here"
    here.mkdir()
    return here


def write_configurations(directory: Path, environment: Mapping[str, str]) -> None:
    for kind in CONFIGURATIONS:
        first = of_kind(kind)[0].text
        port = environment["TWAMP_PORT"]
        text = first.replace('"192.0.2.1"', f'"127.0.0.1:{port}"').replace(":9862", ":0")
        text = text.replace("report-interval = 10", "report-interval = 0.2")
        (directory / kind).write_text(text)
        (directory / kind).chmod(0o600)


@pytest.mark.parametrize("example", of_kind("shell"), ids=str)
def test_commands_run(example: Example, directory: Path, responder: Mapping[str, str]) -> None:
    write_configurations(directory, responder)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.text],
        cwd=directory,
        env={**os.environ, **responder},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("example", of_kind("python"), ids=str)
def test_programs_run(
    example: Example, responder: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in responder.items():
        monkeypatch.setenv(name, value)
    program = re.sub(r'"([^"]*)"', lambda match: f'"{replaced(match[1])}"', example.text)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("example", of_kind("twampd.toml", "toml"), ids=str)
def test_configurations_of_twampd_are_accepted(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, file = tmp_path / "twamp.pfs", tmp_path / "twampd.toml"
    keys.write_text(KEY_FILE)
    file.write_text(example.text.replace('"twamp.pfs"', f'"{keys}"'))
    for each in (keys, file):
        each.chmod(0o600)
    assert read_config_files(str(file)).given
    # --check-config would look for its addresses and its network card on this host, too.
    assert twampd(["--config", str(file), "--print-config"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("example", of_kind("targets.toml"), ids=str)
def test_configurations_of_targets_are_accepted(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(example.text)
    found = read_targets(str(file), {})
    assert found.targets or found.modules


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_example_is_of_a_known_kind(example: Example) -> None:
    assert example.kind in ("shell", "python", "toml", *CONFIGURATIONS, *NOT_OURS)
