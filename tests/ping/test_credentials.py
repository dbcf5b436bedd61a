"""Where the passphrase comes from, and which modes the letters name."""

import io
from pathlib import Path

import pytest

from twamp.config.ping import PingConfig
from twamp.control.client import Credentials
from twamp.errors import ConfigError
from twamp.ping.credentials import credentials_in_key_file, credentials_of, modes_of
from twamp.protocol.registries import Modes


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "keys"
    path.write_text(f"alice {b'secret'.hex()}\n")
    path.chmod(0o600)
    return str(path)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_letters_are_modes() -> None:
    assert modes_of(None) is None
    assert modes_of("O") == Modes.UNAUTHENTICATED
    assert modes_of("AEM") == Modes.AUTHENTICATED | Modes.ENCRYPTED | Modes.MIXED


def test_the_key_file_has_the_passphrase(key_file: str) -> None:
    config = PingConfig(user="alice", key_file=key_file)
    assert credentials_of(config) == Credentials("alice", b"secret")
    assert credentials_in_key_file(config) == Credentials("alice", b"secret")
    with pytest.raises(ConfigError, match="has no user 'bob'"):
        credentials_of(PingConfig(user="bob", key_file=key_file))


def test_without_a_user_there_are_none() -> None:
    assert credentials_of(PingConfig()) is None
    assert credentials_in_key_file(PingConfig()) is None


def test_a_passphrase_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PingConfig(user="alice")
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\nmore\n"))
    assert credentials_of(config) == Credentials("alice", b"secret")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(ConfigError, match="give --key-file FILE"):
        credentials_of(config)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "iso-8859-1"])
def test_the_octets_of_standard_input_are_the_passphrase(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    octets = io.BytesIO(b"p\xe4ss \xc3\xa4\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(octets, encoding=encoding))
    credentials = credentials_of(PingConfig(user="alice"))
    assert credentials == Credentials("alice", b"p\xe4ss \xc3\xa4")


def test_a_passphrase_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "secret"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", answer)
    assert credentials_of(PingConfig(user="alice")) == Credentials("alice", b"secret")
    assert asked == ["passphrase of alice: "]


@pytest.mark.parametrize(
    ("typed", "fault"), [("sec\x1b[Aret", "control characters"), ("sec\0ret", "contains a NUL")]
)
def test_a_passphrase_with_control_characters_is_refused(
    monkeypatch: pytest.MonkeyPatch, typed: str, fault: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
    with pytest.raises(ConfigError, match=fault):
        credentials_of(PingConfig(user="alice"))


def test_a_key_file_alone_never_asks() -> None:
    assert credentials_in_key_file(PingConfig(user="alice")) is None


def test_the_open_mode_has_no_use_for_a_user(key_file: str) -> None:
    assert credentials_of(PingConfig(user="alice", key_file=key_file, auth_mode="O")) is None


@pytest.mark.parametrize("auth_mode", ["AEO", "AEMO"])
def test_without_a_user_the_open_one_of_several_modes_is_left(auth_mode: str) -> None:
    assert credentials_of(PingConfig(auth_mode=auth_mode)) is None
    assert credentials_of(PingConfig(auth_mode=auth_mode, key_file="/nonexistent")) is None
