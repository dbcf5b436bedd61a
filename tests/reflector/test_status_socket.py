"""The UNIX socket: its requests, its mode, and what it does with a file that is in the way."""

import errno
import json
import socket
import stat
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.support.reflector_bench import os_error
from twamp.reflector.status_socket import open_status_socket, read_request


def encoded(request: Any) -> bytes:
    return json.dumps(request).encode()


def test_a_request_names_parts_and_a_client() -> None:
    assert read_request(encoded({"show": []})) == ([], None)
    parts, client = read_request(encoded({"show": ["sessions"], "client": "192.0.2.7/24"}))
    assert parts == ["sessions"]
    assert client == ip_network("192.0.2.0/24")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", "a request is one line of JSON"),
        (b"\xff", "a request is one line of JSON"),
        (b"[" * 100_000, "a request is one line of JSON"),
        (encoded([]), 'an object with a list "show"'),
        (encoded({"show": "status"}), 'an object with a list "show"'),
        (encoded({"show": ["secrets"]}), "there is no 'secrets' to show"),
        (encoded({"show": [[]]}), "there is no [] to show"),
        (encoded({"show": [], "client": "x"}), "client: 'x' is not a prefix"),
        (encoded({"show": [], "client": 5}), "client: 5 is not a prefix"),
    ],
)
def test_a_wrong_request_is_explained(line: bytes, fault: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_request(line)
    assert fault in str(caught.value)


def test_it_is_open_to_user_and_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    with open_status_socket(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_a_socket_that_nobody_answers_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    open_status_socket(str(path)).close()
    with open_status_socket(str(path)), os_error(errno.EADDRINUSE):
        open_status_socket(str(path))


def test_a_file_in_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with os_error(errno.EEXIST):
        open_status_socket(str(path))
    assert path.read_text() == "mine"


def test_a_directory_above_must_be_there(tmp_path: Path) -> None:
    with os_error(errno.ENOENT):
        open_status_socket(str(tmp_path / "no" / "such" / "control.sock"))


def test_it_is_a_unix_stream(tmp_path: Path) -> None:
    with open_status_socket(str(tmp_path / "control.sock")) as listener:
        assert listener.family is socket.AF_UNIX
        assert listener.type is socket.SOCK_STREAM
