"""Where the lines of an endless measurement go, and how a long run is shown."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest

from twamp.engine.session_sender import SenderStats
from twamp.monitor.output import RotatingFile, StreamOutput
from twamp.ping.progress import progress


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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Sender:
    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def stats(self) -> SenderStats:
        self.asked.set()
        return SenderStats(sent=7, received=5)


def shown(stream: io.StringIO, wanted: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is written of a run of 50 packets that lasts until it has been asked once."""
    monkeypatch.setattr("twamp.ping.progress.FIRST_AFTER", 0.0)

    async def run() -> None:
        sender: Any = Sender()
        async with progress([sender, sender], 50, stream, wanted):
            if wanted == "on" or (wanted == "auto" and stream.isatty()):
                await asyncio.wait_for(sender.asked.wait(), 10)
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(0)
                assert not sender.asked.is_set()

    asyncio.run(run())
    return stream.getvalue()


@pytest.fixture
def no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)


@pytest.mark.usefixtures("no_rich")
def test_plain_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(io.StringIO(), "on", monkeypatch) == "14 of 50 sent, 10 answered, 0 s\n"
    text = shown(Terminal(), "auto", monkeypatch)
    assert text == "\r\x1b[K14 of 50 sent, 10 answered, 0 s\r\x1b[K"


def test_rich_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    assert "14 of 50 sent, 10 answered" in shown(Terminal(), "auto", monkeypatch)


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_no_progress_where_it_is_off(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(stream, "off", monkeypatch) == ""


def test_no_progress_by_itself_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(io.StringIO(), "auto", monkeypatch) == ""
