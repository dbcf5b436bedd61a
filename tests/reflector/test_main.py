"""twampd's command line: help, version, and what --check-config refuses."""

import os
from pathlib import Path
from typing import Any

import pytest

from twamp.config.arguments import WIDTH
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import rows
from twamp.reflector.__main__ import main, parser
from twamp.version import version

LOOPBACK = ["--listen-address", "127.0.0.1"]


def check(*arguments: str) -> int:
    return main([*LOOPBACK, *arguments, "--check-config"])


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"twampd {version()}\n"


def test_help_has_a_heading_for_each_group_and_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = parser().format_help().splitlines()
    assert max(map(len, lines)) <= WIDTH
    groups = [row.group for _, row in rows(ReflectorConfig)]
    headings = [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["options", "configuration", *dict.fromkeys(groups), "examples"]
    examples = lines[lines.index("examples:") :]
    assert len([line for line in examples if line.startswith("  twampd")]) == 3


def test_a_good_configuration_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--client-list", "192.0.2.0/24") == 0
    assert capsys.readouterr().out == "the configuration is right\n"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--client-list", "192.0.2.0/24"] * 1025, "1025 values are too many; give at most 1024"),
        (["--cpu", "4095"], "cpu: this process may not run on processor 4095"),
        (["--user", "nosuchuser"], "user: no such user"),
        (["--iface", "nosuch0"], "is 'nosuch0' the name of an interface?"),
        (["--control-socket", "/" + 107 * "a"], "a path of at most 107 octets"),
        (["--light", "--maximum-sessions", "1"], "maximum-sessions: light takes 1 of 1"),
        (["--key-file", "/nosuchfile"], "/nosuchfile: No such file or directory"),
        (["--mode", "encrypted"], "command line: mode: encrypted needs users"),
    ],
)
def test_check_config_refuses_what_a_start_would_refuse(
    arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*arguments) == 1
    told = capsys.readouterr()
    assert told.out == ""
    [line] = told.err.splitlines()
    assert line.startswith("twampd: ")
    assert fault in line


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_check_config_refuses_secrets_that_others_can_read(
    tmp_path: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("alice 70\n")
    keys.chmod(mode)
    assert check("--key-file", str(keys)) == 1
    assert f"(mode {mode:04o}); chmod 600 {keys}" in capsys.readouterr().err
    keys.chmod(0o600)
    assert check("--key-file", str(keys)) == 0


def test_a_key_file_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("alice 70\n")
    keys.chmod(0o000)
    if os.geteuid() == 0:  # root may read everything

        def refuse(path: Any, *_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("twamp.config.users.read_text", refuse)
    assert check("--key-file", str(keys)) == 1
    err = capsys.readouterr().err
    assert err == f"twampd: command line: key-file: {keys}: Permission denied\n"


def test_each_error_is_a_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "twampd.toml"
    file.write_text("prot = 1\nworkers = 100\n")
    assert check("--config", str(file), "--port", "x") == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        f"{file}, line 1",
        "command line",
        f"{file}, line 2",
    ]


def test_every_kind_of_error_is_told_at_once_in_the_words_of_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("bob\n")
    keys.chmod(0o600)
    file = tmp_path / "twampd.toml"
    file.write_text(
        f"hwtstamp = 'yes'\nkey-file = '{keys}'\nport = 70000\nmaximum-connections = 65\n"
        "[user.a]\npasword = 'x'\n[user.b]\npassword = ''\n"
    )
    file.chmod(0o600)
    assert check("--config", str(file), "--workers", "x") == 1
    err = capsys.readouterr().err
    assert [line.partition(f"{tmp_path}/")[2].partition(":")[0] for line in err.splitlines()] == [
        "twampd.toml, line 6",
        "twampd.toml, line 8",
        "keys, line 1",
        "twampd.toml, line 3",
        "",  # of the command line
        "twampd.toml, line 1",
        "twampd.toml, line 4",
    ]
    assert "it goes from 0 to 65535; for example port = 862\n" in err
    assert "from 1 to 64; for example --workers 1\n" in err
    assert "hwtstamp: hardware timestamps need to know the network card; give iface, too\n" in err
    assert "give a client-list, or mode no-unauthenticated\n" in err


def test_what_the_host_lacks_is_told_for_each_address_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "twampd.toml"
    file.write_text("\nlisten-address = ['192.0.2.1', '127.0.0.1', '198.51.100.2']\ncpu = [4095]\n")
    assert main(["--config", str(file), "--check-config"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line[: len(f"twampd: {file}, line 3")] for line in lines] == [
        f"twampd: {file}, line 3",
        f"twampd: {file}, line 2",
        f"twampd: {file}, line 2",
    ]
    assert "listen-address: cannot listen on 192.0.2.1, port 862" in lines[1]
    assert "198.51.100.2, port 862" in lines[2]
