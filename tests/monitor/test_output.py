"""Where the lines of a continuous measurement go."""

import io
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from twamp.monitor.output import RotatingFile, StreamOutput


def test_a_file_is_rotated_before_it_is_too_large_and_no_line_is_split(tmp_path: Path) -> None:
    path = tmp_path / "out"
    output = RotatingFile(str(path), size=30, count=2)
    for number in range(10):
        output.write(f"line {number:04d}\n")  # 10 octets
    output.write("x" * 50 + "\n")  # more than a file may have: one of its own
    output.close()
    texts = {each.name: each.read_text() for each in tmp_path.iterdir()}
    assert texts == {
        "out": "x" * 50 + "\n",
        "out.1": "line 0009\n",
        "out.2": "line 0006\nline 0007\nline 0008\n",
    }


def test_a_file_is_added_to_and_never_rotated_without_a_size(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("before\n")
    output = RotatingFile(str(path))
    output.write("é\n")
    output.close()
    assert path.read_text() == "before\né\n"
    assert list(tmp_path.iterdir()) == [path]


def test_without_old_files_it_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "out"
    output = RotatingFile(str(path), size=5, count=0)
    output.write("12345")
    output.write("67890")
    output.close()
    assert path.read_text() == "67890"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "out", tmp_path / "moved"
    output = RotatingFile(str(path))
    output.write("1\n")
    path.rename(moved)
    output.write("2\n")
    output.close()
    assert (moved.read_text(), path.read_text()) == ("1\n", "2\n")


def test_a_stream_stays_open() -> None:
    stream = io.StringIO()
    output = StreamOutput(stream)
    output.write("x\n")
    output.close()
    assert stream.getvalue() == "x\n"


def test_each_file_begins_with_the_head_and_is_never_of_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    output = RotatingFile(str(path), size=10, count=2, head="head\n")
    for line in ("1\n", "22\n", "333\n", "too long by itself\n"):
        output.write(line)
    output.close()
    texts = {each.name: each.read_text() for each in tmp_path.iterdir()}
    assert texts == {
        "out": "head\ntoo long by itself\n",
        "out.1": "head\n333\n",
        "out.2": "head\n1\n22\n",
    }


def test_a_file_that_is_added_to_has_its_head_already(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for line in ("1\n", "2\n"):
        output = RotatingFile(str(path), head="head\n")
        output.write(line)
        output.close()
    assert path.read_text() == "head\n1\n2\n"


def test_a_stream_has_the_head_once() -> None:
    stream = io.StringIO()
    output = StreamOutput(stream, "head\n")
    output.write("1\n")
    output.write("2\n")
    assert stream.getvalue() == "head\n1\n2\n"


@contextmanager
def room_for(octets: int) -> Iterator[None]:
    """A file takes so many octets at most, as on a disk that fills up: a write takes what has room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_half_a_line_is_cut_off_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "out"
    output = RotatingFile(str(path), head="head\n")
    output.write("line 1\n")
    with room_for(15):
        for _ in range(2):
            with pytest.raises(OSError, match="File too large"):
                output.write("line 2\n")
            assert path.read_text() == "head\nline 1\n"
    output.write("line 3\n")
    output.close()
    assert path.read_text() == "head\nline 1\nline 3\n"


def test_a_head_that_has_no_room_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "out"
    output = RotatingFile(str(path), head="head\n")
    with room_for(3), pytest.raises(OSError, match="File too large"):
        output.write("line 1\n")
    output.write("line 2\n")
    output.close()
    assert path.read_text() == "head\nline 2\n"


def test_a_line_is_not_glued_to_half_a_line_of_before(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("line 1\nlin")
    output = RotatingFile(str(path))
    output.write("line 2\n")
    output.write("line 3\n")
    output.close()
    assert path.read_text() == "line 1\nlin\nline 2\nline 3\n"


@pytest.mark.parametrize("mode", ["w", "a"])
def test_standard_output_into_a_file_has_whole_lines_too(
    tmp_path: Path, mode: Literal["w", "a"]
) -> None:
    path = tmp_path / "out"
    with open(path, mode) as stream:
        stream.write("before\n")
        output = StreamOutput(stream, "head\n")
        with room_for(9), pytest.raises(OSError, match="File too large"):
            output.write("line 1\n")
        assert path.read_text() == "before\n"
        output.write("line 2\n")
    assert path.read_text() == "before\nhead\nline 2\n"
