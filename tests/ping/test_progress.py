"""How a long run is shown."""

import asyncio
import io
from typing import Any

import pytest

from twamp.engine.session_sender import SenderStats
from twamp.ping.progress import progress


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
