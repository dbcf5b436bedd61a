"""The settings: what is read from where, which errors are told, and what a reload changes."""

import os
from pathlib import Path

import pytest

from tests.support.settings import settings
from twamp.config.row import Given
from twamp.errors import ConfigError
from twamp.reflector.settings import plan_change, read_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "twampd.toml"


def lines_of(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_settings(str(file), {})
    return [line.removeprefix(f"{file}, ") for line in str(caught.value).splitlines()]


def test_all_errors_of_all_files_are_told_with_their_lines(file: Path) -> None:
    file.write_text("prot = 1\nport = 70000\n\nworkers = 0\n")
    drop_ins = Path(f"{file}.d")
    drop_ins.mkdir()
    (drop_ins / "1.toml").write_text("port =\n")
    (drop_ins / "2.toml").write_text("dscp-value = 'gold'\n")
    unknown, no_toml, port, dscp, workers = lines_of(file)
    assert unknown == "line 1: 'prot' is no option; did you mean 'port'?"
    assert no_toml.startswith(f"{drop_ins}/1.toml: Invalid value")
    assert port.startswith("line 2: port: 70000 is out of range; it goes from 0 to 65535")
    assert dscp.startswith(f"{drop_ins}/2.toml, line 1: dscp-value: 'gold' is not a number")
    assert workers.startswith("line 4: workers: 0 is out of range; it goes from 1 to 64")


def test_all_contradictions_are_told_with_their_lines(file: Path) -> None:
    file.write_text("workers = 2\ncpu = [0, 0, 0]\nhwtstamp = 'yes'\n")
    hwtstamp, cpu = lines_of(file)
    assert hwtstamp.startswith("line 3: hwtstamp: hardware timestamps need")
    assert cpu.startswith("line 2: cpu: 3 processors for 2 workers")


def test_the_command_line_overrides_the_file(file: Path) -> None:
    file.write_text("port = 8620\nworkers = 2\n")
    read = read_settings(str(file), {"port": Given("8621", "command line")})
    assert (read.config.port, read.config.workers) == (8621, 2)
    assert read.given["port"].origin == "command line"
    assert read.given["workers"].origin == f"{file}, line 2"


@pytest.mark.parametrize(
    ("mode", "content", "fault"),
    [
        (0o600, "alice", "line 1: 1 words"),
        (0o644, "alice 70", "others can read or write these secrets"),
        (0o602, "alice 70", "others can read or write these secrets"),
    ],
)
def test_a_wrong_key_file_is_refused(tmp_path: Path, mode: int, content: str, fault: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text(content)
    keys.chmod(mode)
    with pytest.raises(ConfigError, match=fault):
        read_settings(None, {"key_file": Given(str(keys), "command line")})


def test_a_key_file_that_is_missing_or_unreadable_is_an_error_with_its_name(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    spoken = {"key_file": Given(str(keys), "a file, line 1")}
    with pytest.raises(ConfigError, match=f"a file, line 1: key-file: {keys}: No such file"):
        read_settings(None, spoken)
    if os.geteuid() == 0:
        return  # root may read everything
    keys.write_text("alice 70\n")
    keys.chmod(0o000)
    with pytest.raises(ConfigError, match=f"a file, line 1: key-file: {keys}: Permission denied"):
        read_settings(None, spoken)


# ---- a reload ------------------------------------------------------------------------------------


def test_a_change_keeps_what_needs_a_restart() -> None:
    before = settings(workers=2, rate_limit=10)
    wanted = settings(workers=3, tx_batch=7, rate_limit=20)
    change = plan_change(before, wanted)
    assert change.settings.config == settings(workers=2, rate_limit=20).config
    assert change.changed == ("rate-limit",)
    assert set(change.restart_needed) == {"workers", "tx-batch"}
    assert change.settings.given["workers"].value == 2
    assert "tx_batch" not in change.settings.given


def test_an_option_that_is_taken_out_is_the_default_again() -> None:
    change = plan_change(settings(rate_limit=10), settings())
    assert change.settings.config == settings().config
    assert change.changed == ("rate-limit",)
    assert "rate_limit" not in change.settings.given


def test_new_values_that_need_others_to_be_restarted_are_refused() -> None:
    before = settings(maximum_sessions=100, maximum_sessions_per_connection=1)
    wanted = settings(maximum_sessions=320, maximum_sessions_per_connection=20)
    with pytest.raises(ConfigError, match=r"^maximum-sessions: .*only a restart changes maximum-s"):
        plan_change(before, wanted)
