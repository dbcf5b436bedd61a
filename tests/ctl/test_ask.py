"""Asking a responder: its answer is the state, anything else an error with a remedy."""

from pathlib import Path

import pytest

from tests.ctl.test_main import STATE, honest, responder
from twamp.ctl.__main__ import main
from twamp.ctl.ask import NoAnswer, ask


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "closed without an answer"),
        (b'{"status": {"version"', "not the answer of a responder"),
        (b"\xff\xfe\n", "not the answer of a responder"),
        (b"[1, 2]\n", "not the answer of a responder"),
        (b"{}\n", "not the answer of a responder"),
        (b"[" * 100_000, "not the answer of a responder"),
        (b'{"error": "client: \'x\' is not a prefix"}\n', "client: 'x' is not a prefix"),
    ],
)
def test_a_wrong_answer_is_an_error(answer: bytes, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with responder(path, lambda _: answer), pytest.raises(NoAnswer) as caught:
        ask(str(path), [])
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert fault in said
    assert len(said.splitlines()) == 1


def test_the_state_is_what_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with responder(path, honest) as requests:
        state = ask(str(path), ["sessions"], "192.0.2.0/24")
    assert state["sessions"] == STATE["sessions"]
    assert requests == [{"show": ["sessions"], "client": "192.0.2.0/24"}]


def test_no_responder_is_an_error_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--socket", str(tmp_path / "control.sock")]) == 1
    assert "is twampd running, with this --control-socket?" in capsys.readouterr().err
