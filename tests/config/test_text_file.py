"""Files that are read in a bounded time and size."""

import os
import socket
from pathlib import Path

import pytest

from twamp.config.text_file import LONGEST, read_text
from twamp.errors import ConfigError


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(b"\xef\xbb\xbfa = '\xc3\xa4'\n")
    assert read_text(file) == "a = '\u00e4'\n"


def test_a_fifo_that_nobody_writes_to_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="fifo: not a regular file"):
        read_text(tmp_path / "fifo")


def test_a_pipe_is_read_where_waiting_does_not_matter() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"alice 70\n")
    os.close(writer)
    assert read_text(f"/dev/fd/{reader}", private=True, pipes=True) == "alice 70\n"
    os.close(reader)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "/"])
def test_devices_and_directories_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        read_text(path, pipes=True)


def test_a_socket_cannot_be_read(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="No such device or address") as caught:
            read_text(tmp_path / "socket")
    assert caught.value.filename == str(tmp_path / "socket")


def test_a_file_without_an_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "long"
    with open(file, "wb") as sparse:
        sparse.truncate(LONGEST + 1)
    with pytest.raises(ConfigError, match="longer than 4 MiB"):
        read_text(file)


@pytest.mark.parametrize("octets", [b"\xff\xfea\0", b"\xe4"])
def test_what_is_not_utf_8_is_refused(tmp_path: Path, octets: bytes) -> None:
    file = tmp_path / "text"
    file.write_bytes(octets)
    with pytest.raises(ConfigError, match="not a text file; it has to be UTF-8"):
        read_text(file)
