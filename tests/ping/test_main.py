"""twping from its command line to its exit code."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ping.test_run import first_packet
from twamp.ping.__main__ import main
from twamp.ping.run import Run
from twamp.ping.sessions import TwampSessions
from twamp.version import version

ROOT = Path(__file__).parent.parent.parent
QUICK = ["-i", "0.002f", "-L", "0.5"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "HOST is missing"),
        (["a", "b", "c"], "unrecognized arguments: c"),
        (["--count"], "expected one argument"),
        (["--loopback", "h"], "give HOST or --loopback"),
        (["h", "-c", "0"], "count: '0' is out of range"),
        (["h", "-4", "-6"], "--ipv4 and --ipv6"),
        (["h:99999"], "out of range"),
    ],
)
def test_wrong_command_lines_are_one_line_and_exit_code_1(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert said in output.err
    assert re.fullmatch(r"twping: .+\n", output.err)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"twping {version()}\n"


def test_help_ends_with_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "3 a threshold of --fail was crossed, or nothing came back" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(("version", "address"), [("-4", "127.0.0.1"), ("-6", "::1")])
def test_loopback_measures_itself(
    version: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--loopback", version, "-c", "20", *QUICK]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert f"--- twping statistics from [{address}]:" in output.out
    assert "\n20 sent, 0 lost (0.000%), 0 send duplicates, 0 reflect duplicates\n" in output.out
    assert "send hops = 0 (consistently)\n" in output.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_with_2_and_a_report(
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    send = Run._send

    async def signal_in_the_middle(self: Run) -> None:
        async def kill() -> None:
            await first_packet(self)
            os.kill(os.getpid(), number)

        await asyncio.gather(send(self), kill())

    monkeypatch.setattr(Run, "_send", signal_in_the_middle)
    assert main(["--loopback", "-c", "100000", "-i", "0.001f", "-L", "0.2"]) == 2
    assert re.search(r"\n\d+ sent, 0 lost", capsys.readouterr().out)


def test_signal_during_set_up_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def never(self: TwampSessions) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    monkeypatch.setattr(TwampSessions, "_connect", never)
    assert main(["--loopback"]) == 2
    assert capsys.readouterr() == ("", "twping: interrupted before anything was measured\n")


def test_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "twamp.ping", "--loopback", "-c", "2", *QUICK],
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")
