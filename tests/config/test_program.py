"""How the programs start and end, whatever their streams and signals are."""

import codecs
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from twamp.config import program

LOADS = (  # a program whose import is a line of Python
    "import importlib, os, signal, sys, types\n"
    "from twamp.config import program\n"
    "real = importlib.import_module\n"
    "def load(name):\n"
    "    {}\n"
    "    return real(name)\n"
    "importlib.import_module = load\n"
    "sys.exit(program.{}())\n"
)
ONCE = ("--loopback", "-c", "2", "-i", "0.01f", "-L", "0.1")
NO_BUFFER = "PYTHONUNBUFFERED"


def run(
    command: str, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """A command of the shell; ``PY`` stands for this Python."""
    inherited = {name: value for name, value in os.environ.items() if name != NO_BUFFER}
    return subprocess.run(
        ["sh", "-c", command.replace("PY", sys.executable)],
        env=inherited | (environment or {}),
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "command",
    [
        f"PY -m twamp.ping {' '.join(ONCE)}",
        "PY -m twamp.ctl --socket /nonexistent --version",
        "PY -m twamp.reflector --listen-address 127.0.0.1 --check-config",
    ],
)
def test_a_closed_stream_is_dev_null(command: str, closed: str) -> None:
    done = run(f"{command} {closed}")
    assert done.returncode == 0
    assert done.stderr == b""
    assert (done.stdout == b"") == (">&-" in closed.split())


def test_twampd_serves_and_ends_without_streams(tmp_path: Path) -> None:
    """Its loop would abort when it closes a number below 3."""
    done = run(
        f"PY -m twamp.reflector --listen-address 127.0.0.1 --port 0 --control-socket {tmp_path}/s "
        f"<&- >&- 2>&- & P=$!; until [ -S {tmp_path}/s ]; do :; done; "
        "until PY -m twamp.ctl --socket " + f"{tmp_path}/s; do :; done; kill -TERM $P; wait $P"
    )
    assert done.returncode == 0
    assert b"serving" in done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "iso-8859-1"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "latin 1", "POSIX"],
)
def test_a_terminal_that_is_not_utf_8_is_written_to(environment: dict[str, str]) -> None:
    for name in ("ping", "reflector", "ctl"):
        done = run(f"PY -m twamp.{name} --help", environment)
        assert done.returncode == 0, done.stderr
    done = run(
        "PY -m twamp.ping --loopback --continuous --report-interval 0.2 -i 0.05f -L 0.1 --deadline 1",
        environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    first = done.stdout.splitlines()[0].decode("ascii")
    assert " sent, " in first


def test_characters_are_spelled_out_as_json_has_them() -> None:
    codecs.register_error("twamp.plain", program._plain)
    text = "10–20 … é \N{GRINNING FACE} \udcff"
    plain = text.encode("ascii", "twamp.plain")
    assert plain == rb"10-20 ... \u00e9 \ud83d\ude00 \udcff"
    assert "é\udcff".encode("utf-8", "twamp.plain") == b"\xc3\xa9\\udcff"


def test_a_name_that_is_no_text_makes_no_traceback() -> None:
    done = run("PY -m twamp.ping --output $(printf '/nonexistent/\\377') --continuous ::1")
    assert done.returncode == 1
    assert done.stderr == b"twping: /nonexistent/\\udcff: No such file or directory\n"


@pytest.mark.parametrize(
    "command",
    [
        "PY -m twamp.ctl --help",
        "PY -m twamp.ping --help",
        f"PY -m twamp.ping {' '.join(ONCE)}",
        "PY -m twamp.reflector --print-unit",
    ],
)
@pytest.mark.parametrize("environment", [{}, {NO_BUFFER: "1"}], ids=["buffered", "unbuffered"])
def test_a_full_disk_is_a_line_and_an_exit_code(command: str, environment: dict[str, str]) -> None:
    done = run(f"{command} > /dev/full", environment)
    assert done.returncode == 1
    assert b"No space left on device\n" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    done = run("PY -m twamp.ctl --help | true; PY -m twamp.reflector --print-config | head -1")
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize("name", ["twampd", "twping", "twampctl"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_loads_ends_a_program_without_a_word(
    name: str, number: signal.Signals
) -> None:
    script = LOADS.format(f"os.kill(os.getpid(), {int(number)})", name)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-number, b"", b"")


@pytest.mark.parametrize(("name", "code"), [("twampd", 130), ("twping", 2), ("twampctl", 0)])
def test_ctrl_c_in_a_program_is_an_exit_code(name: str, code: int) -> None:
    main = "lambda: os.kill(os.getpid(), signal.SIGINT)"
    script = LOADS.format(f"return types.SimpleNamespace(main={main})", name)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    """As of a job in the background of a script."""
    main = "lambda: os.kill(os.getpid(), signal.SIGINT)"
    script = LOADS.format(f"return types.SimpleNamespace(main={main} or 7)", "twampctl")
    ignoring = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + script
    done = subprocess.run(
        [sys.executable, "-c", ignoring], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (7, b"")


def test_a_reload_that_is_asked_for_while_twampd_loads_comes_when_it_serves() -> None:
    script = LOADS.format("os.kill(os.getpid(), signal.SIGHUP)", "twampd")
    options = ("--listen-address", "127.0.0.1", "--port", "0", "--control-socket", "none")
    process = subprocess.Popen(
        [sys.executable, "-c", script, *options], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any("reloaded; changed: no option" in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
