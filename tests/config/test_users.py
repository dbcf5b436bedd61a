"""Key files and user tables: what is read, what is refused and why; and the programs' options for them."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from twamp.config.users import Users, read_key_file, weaknesses
from twamp.errors import ConfigError
from twamp.ping.command_line import read_command_line
from twamp.reflector.__main__ import parser, settings_of


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_file_has_identities_and_hexadecimal_passphrases(tmp_path: Path) -> None:
    text = "# users\nalice 70617373\n\nbob\t78  # the other one\n"
    users = read_key_file(private(tmp_path / "keys", text))
    assert dict(users) == {"alice": b"pass", "bob": b"x"}
    assert "pass" not in repr(users)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("alice\n", "line 1: 1 words; write: identity hex-passphrase"),
        ("alice 70 71\n", "line 1: 3 words"),
        ("# ok\nalice xyz\n", "line 2: the passphrase of 'alice' is not hexadecimal"),
        ("alice 70\nalice 71\n", "line 2: 'alice' is defined twice"),
        ("alice 700a71\n", "line 1: user 'alice': the passphrase contains a line end"),
        ("alice 7000\n", "line 1: user 'alice': the passphrase contains a NUL"),
        (f"{'a' * 81} 70\n", "a name has 1 to 80 octets"),
        (f"alice {'70' * 1025}\n", "it takes 1 to 1024"),
    ],
)
def test_a_wrong_key_file_names_the_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        read_key_file(private(tmp_path / "keys", text))


def test_a_passphrase_that_is_short_or_odd_is_warned_of_and_taken() -> None:
    assert list(weaknesses(Users({"alice": b"long enough"}))) == []
    [short] = weaknesses(Users({"alice": b"short"}))
    assert short == "user 'alice': a passphrase of 5 octets can be guessed; give 8 or more"
    [odd] = weaknesses(Users({"alice": b"open\x1b[Asesame"}))
    assert "control characters" in odd


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=r"others can read or write these secrets .* chmod 600"):
        read_key_file(private(tmp_path / "keys", "alice 70\n", mode))


def test_every_wrong_line_of_a_key_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_key_file(private(tmp_path / "keys", "alice\nbob 70\ncarol xyz\n"))
    lines = str(caught.value).splitlines()
    assert [line.partition(", ")[2][:6] for line in lines] == ["line 1", "line 3"]


def test_octets_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "keys", "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_key_file(path)


CONFIG = """
port = 8620
mode = ["no-unauthenticated"]

[user.alice]
password = "pass phrase-42!"
"""


def test_a_toml_file_sets_options_and_users(tmp_path: Path) -> None:
    path = private(tmp_path / "twampd.toml", CONFIG)
    options = parser().parse_args(["--config", str(path), "--port", "8621"])
    settings = settings_of(options)
    config, users = settings.config, settings.users
    assert config.port == 8621  # the command line goes before the file
    assert config.mode == ("no-unauthenticated",)
    assert users == {"alice": b"pass phrase-42!"}


def test_users_of_file_and_key_file_are_joined_and_may_not_clash(tmp_path: Path) -> None:
    path = private(tmp_path / "twampd.toml", CONFIG)
    arguments = ["--config", str(path), "--key-file"]
    keys = private(tmp_path / "keys", "bob 70\n")
    users = settings_of(parser().parse_args([*arguments, str(keys)])).users
    assert set(users) == {"alice", "bob"}
    clash = private(tmp_path / "clash", "alice 70\n")
    with pytest.raises(ConfigError, match="'alice' is defined twice"):
        settings_of(parser().parse_args([*arguments, str(clash)]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("prot = 1", "'prot' is no option; did you mean 'port'"),
        ("port = ", "twampd.toml: "),
        ("port = 70000", "port: 70000 is out of range"),
        ("[user.alice]\npasword = 'x'", "line 2: user.alice: 'pasword' is no key; did you mean"),
        ("[user.alice]\nkey = 'x'", "line 2: user.alice: 'key' is no key; password is the only"),
        ("\n[user.alice]\n", "line 2: user.alice: the password is missing"),
        ("\n[user.alice]\npassword = ''", "line 3: user 'alice': the passphrase has 0 octets"),
        ("user.alice = 'x'", r"line 1: user.alice: write a table \[user.alice\]"),
        ("[user.alice]\npassword = 'ä'", "user.alice: the password is a string of ASCII"),
        ("user = 3", r"user: write a table \[user.NAME\]"),
        ("mode = ['encrypted', 'no-mixed']", "mode: encrypted, no-mixed mixes modes"),
        ("mode = ['open']", "mode: 'open' is not a mode"),
        ("pbkdf2-count = 3000", "pbkdf2-count: 3000 is not a power of two"),
        ("pbkdf2-count = 512", "pbkdf2-count: 512 is out of range"),
    ],
)
def test_a_wrong_toml_file_is_explained(tmp_path: Path, text: str, fault: str) -> None:
    path = private(tmp_path / "twampd.toml", text)
    with pytest.raises(ConfigError, match=fault):
        settings_of(parser().parse_args(["--config", str(path)]))


def test_passwords_in_a_file_that_others_can_read_are_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "twampd.toml", CONFIG, 0o644)
    with pytest.raises(ConfigError, match="others can read"):
        settings_of(parser().parse_args(["--config", str(path)]))


def test_the_same_name_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        Users({"a": b"1"}) | Users({"a": b"2"})


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["-A", "E", "::1"], "auth-mode: E needs a user"),
        (["-A", "X", "::1"], "auth-mode: 'X' is not letters of A"),
    ],
)
def test_options_of_twping_that_do_not_fit(arguments: list[str], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        read_command_line(arguments)


def twping(*arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "twamp.ping", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("letter", "AEM")
def test_twping_measures_itself_in_every_mode(tmp_path: Path, letter: str) -> None:
    keys = private(tmp_path / "keys", "alice 70617373\n")
    arguments = (
        "-u",
        "alice",
        "-k",
        str(keys),
        "-A",
        letter,
        "-c",
        "5",
        "-i",
        "0.01f",
        "-L",
        "0.2",
    )
    done = twping("--loopback", *arguments)
    assert done.returncode == 0, done.stderr
    assert "5 sent, 0 lost" in done.stdout


def test_twping_without_a_terminal_wants_a_key_file() -> None:
    done = twping("--loopback", "-u", "alice")
    assert done.returncode == 1
    assert done.stderr == (
        "twping: user: no terminal to ask for the passphrase on, nor one on standard input; "
        "give --key-file FILE\n"
    )


@pytest.mark.parametrize("end", ["", "\n"])
def test_twping_without_a_terminal_reads_a_line(end: str) -> None:
    """Vyatta's twamp-ping-rpc writes the passphrase to the standard input of twping."""
    done = twping("--loopback", "-u", "alice", "-c", "3", "-L", "0.2", text="a secret" + end)
    assert done.returncode == 0, done.stderr
    assert "3 sent, 0 lost" in done.stdout


def test_twping_asks_for_the_passphrase_on_a_terminal() -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "twamp.ping", "--loopback", "-u", "alice", "-c", "3", "-L", "0.2"],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    while b"passphrase of alice: " not in shown:
        shown += os.read(controller, 1024)
    os.write(controller, b"some passphrase\n")
    output, _ = process.communicate(timeout=60)
    os.close(controller)
    assert process.returncode == 0
    assert "3 sent, 0 lost" in output
    assert b"some passphrase" not in shown
