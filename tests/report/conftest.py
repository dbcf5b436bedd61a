"""What the tests of reports share."""

import time
from collections.abc import Callable, Iterator

import pytest

from twamp.ping.__main__ import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is in the text: make it the same everywhere."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def twping(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program; gives its exit code, output and complaints."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run
