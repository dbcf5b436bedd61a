"""Where the lines of a continuous measurement go."""

import io
from pathlib import Path

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
