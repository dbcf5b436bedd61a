"""twampctl: what it asks, what it prints, and what it says when there is no answer.

``python tests/ctl/test_main.py`` writes the golden texts anew.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from twamp.ctl.__main__ import COMMANDS, main, parser, screen
from twamp.reflector.state import PacketCounters, ResponderState
from twamp.version import version

GOLDEN = Path(__file__).parent.parent / "golden"
PACKETS = cast(
    "PacketCounters",
    {
        "received": 3000,
        "reflected": 2997,
        "dropped": {"short": 1, "hmac": 0, "no_session": 2},
        "overflows": 5,
        "truncated_control": 0,
        "refused_stamps": 0,
        "segmented": 141,
        "segments_refused": 142,
        "turns": 147,
        "timestamp_sources": {"T2": {"kernel": 2999, "user": 1}},
        "sockets": 3,
        "receive_buffer": 143,
        "t3_chunk": 1.25,
    },
)
STATE: ResponderState = {
    "status": {
        "version": "1.2.3",
        "pid": 4711,
        "state": "serving",
        "started": "2026-03-01T12:00:00.000+00:00",
        "uptime": 3 * 86400 + 4 * 3600 + 59.0,
        "listening": ["[::]:862"],
        "light": ["[0.0.0.0]:862", "[::]:862"],
        "port": 862,
        "test_ports": "18760-19960",
        "modes": ["unauthenticated", "encrypted"],
        "mode_bits": 5,
        "count": 32768,
        "dscp": 0,
        "server_inactivity_timeout": 900,
        "test_inactivity_timeout": 900,
        "clock_synchronized": True,
        "connections": {"current": 2, "maximum": 16},
        "handshaking": 1,
        "sessions": {"current": 3, "maximum": 4096},
        "reloads": 1,
        "last_reload": "2026-03-02T00:00:00.000+00:00",
        "restart_needed": ["port", "tx-batch"],
    },
    "connections": [
        {
            "id": 7,
            "client": "192.0.2.7",
            "client_port": 40000,
            "server": "192.0.2.1",
            "server_port": 862,
            "state": "test",
            "mode": "unauthenticated",
            "mode_bits": 1,
            "user": None,
            "count": 32768,
            "since": "2026-03-01T12:00:01.000+00:00",
            "age": 3601.5,
            "idle": 12.25,
            "sessions": 2,
        },
        {
            "id": 12,
            "client": "2001:db8::7",
            "client_port": 50000,
            "server": "2001:db8::1",
            "server_port": 862,
            "state": "set_up",
            "mode": None,
            "mode_bits": 0,
            "user": "alice",
            "count": 32768,
            "since": "2026-03-04T16:00:58.000+00:00",
            "age": 0.75,
            "idle": 0.75,
            "sessions": 0,
        },
    ],
    "sessions": [
        {
            "sid": f"c0000201eeaecfd2b0254ea54422d4{number:02x}",
            "connection": 7,
            "client": client,
            "client_port": 40000,
            "server": "192.0.2.1",
            "server_port": 862,
            "sender": client,
            "sender_port": 8760 + number,
            "reflector": "192.0.2.1",
            "reflector_port": 18760 + number,
            "mode": "unauthenticated",
            "dscp": (0, 46, 3)[number],
            "padding": 27,
            "state": state,
            "since": "2026-03-01T12:00:02.000+00:00",
            "received": 1000 * number,
            "reflected": 999 * number,
            "dropped": number,
            "last_packet": (None, 0.04, 86400.0)[number],
            "last_received_sequence": None,
            "last_sent_sequence": None,
            "timestamp_source": (None, "kernel", "user")[number],
            "offload": "none",
        }
        for number, (client, state) in enumerate(
            [("192.0.2.7", "accepted"), ("192.0.2.7", "started"), ("198.51.100.1", "stopped")]
        )
    ],
    "counters": {
        "connections": {
            "accepted": 12,
            "established": 10,
            "ended": 9,
            "rejected": {"client_list": 1, "maximum_connections": 2},
            "handshake_timeout": 3,
            "tokens": 7,
            "token_wait_seconds": 0.25,
        },
        "sessions": {
            "accepted": 5,
            "completed": 1,
            "aborted": 1,
            "rejected": {"no_port": 4, "not_supported": 0},
        },
        "packets": PACKETS,
        "t3_error": {
            "source": "kernel",
            "samples": 144,
            "missed": 145,
            "early": 146,
            "correction_ns": 1470,
            "p50_ns": 1480,
            "p99_ns": 1490,
            "max_ns": 15000,
        },
        "receive_lag": {
            "samples": 151,
            "p50_ns": 1520,
            "p99_ns": 1530,
            "max_ns": 15400,
            "histogram": {"2047": 150, "16383": 1},
        },
        "clocks": {
            "/dev/ptp0": {
                "readable": 1,
                "timescale": "TAI",
                "offset_ns": -37_000_000_155,
                "drift_ppb": 1.5,
                "error_ns": 156,
                "readings": 157,
                "outliers": 158,
                "steps": 159,
            }
        },
        "events": {"hmac_failed": 0, "reload_failed": 1},
    },
    "config": [
        {"option": "port", "value": "862", "origin": "default"},
        {"option": "rate-limit", "value": "100", "origin": "/etc/twamp/twampd.toml, line 3"},
        {"option": "vrf", "value": "", "origin": "default"},
    ],
}
LINES = {
    "status": "status",
    "connections": "connections",
    "sessions": "sessions",
    "summary": "sessions --summary",
    "counters": "counters",
    "drops": "drops",
    "config": "config",
}


@contextmanager
def responder(path: Path, answer: Callable[[bytes], bytes]) -> Iterator[list[dict[str, Any]]]:
    """Answers each request as it is told; the requests that came."""
    requests: list[dict[str, Any]] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                line = client.makefile("rb").readline()
                if not line:
                    return  # the end
                requests.append(json.loads(line))
                client.sendall(answer(line))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield requests
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
            thread.join()


def honest(_: bytes) -> bytes:
    return json.dumps(STATE).encode() + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.mark.parametrize("name", LINES)
def test_what_is_printed(name: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with responder(path, honest) as requests:
        assert main(["--socket", str(path), *LINES[name].split()]) == 0
    assert capsys.readouterr().out == (GOLDEN / f"show_{name}.txt").read_text()
    [request] = requests
    assert request == {"show": list(COMMANDS[LINES[name].split()[0]][0])}


def test_status_is_what_is_shown_without_a_command(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with responder(path, honest):
        assert main(["--socket", str(path)]) == 0
    assert capsys.readouterr().out == (GOLDEN / "show_status.txt").read_text()


@pytest.mark.parametrize("option", ["--socket", "--control-socket"])
def test_the_socket_may_be_named_after_the_command(
    option: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with responder(path, honest):
        assert main(["status", option, str(path)]) == 0
    assert capsys.readouterr().out == (GOLDEN / "show_status.txt").read_text()


@pytest.mark.parametrize("line", ["--json sessions", "sessions --json"])
def test_json_is_the_state_itself(
    line: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with responder(path, honest):
        assert main(["--socket", str(path), *line.split()]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"status": STATE["status"], "sessions": STATE["sessions"]}


def test_yang_is_what_the_model_makes_of_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with responder(path, honest) as requests:
        assert main(["--socket", str(path), "yang"]) == 0
    server = json.loads(capsys.readouterr().out)["ietf-twamp:twamp"]["server"]
    assert len(server["ctrl-connection"]) == 2
    assert requests == [{"show": ["connections", "sessions", "counters"]}]


def test_the_client_is_the_responders_to_look_for(path: Path) -> None:
    with responder(path, honest) as requests:
        assert main(["--socket", str(path), "sessions", "--client", "192.0.2.0/24"]) == 0
    assert requests == [{"show": ["sessions"], "client": "192.0.2.0/24"}]


def test_nothing_is_said_in_words() -> None:
    empty: Any = {**STATE, "sessions": [], "connections": []}
    for line, words in (
        ("sessions", "no sessions"),
        ("sessions --summary", "no sessions"),
        ("connections", "no connections"),
    ):
        assert screen(parser().parse_args(line.split()), empty) == words


def test_watch_shows_again_and_again_until_interrupted(path: Path) -> None:
    with responder(path, honest) as requests:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "twamp.ctl", "--socket", str(path)),
                *("drops", "--watch", "0.1"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            drops = (GOLDEN / "show_drops.txt").read_text()
            for _ in range(3):
                assert "".join(process.stdout.readline() for _ in drops.splitlines()) == drops
                assert process.stdout.readline() == "\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.communicate()
    assert len(requests) >= 3


@pytest.mark.parametrize("line", ["--watch 0", "--watch often", "secrets", "drops --client ::1"])
def test_a_wrong_command_line_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2
    assert "usage: twampctl" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"twampctl {version()}\n"


@pytest.mark.parametrize("seconds", ["0.9", "61", "many"])
def test_hwtstamp_takes_a_minute_at_most(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["hwtstamp", "lo", "--seconds", seconds])
    assert f"{seconds!r} is not a number of seconds from 1 to 60" in capsys.readouterr().err


def write_golden() -> None:
    for name, line in LINES.items():
        text = screen(parser().parse_args(line.split()), STATE)
        (GOLDEN / f"show_{name}.txt").write_text(text + "\n")


if __name__ == "__main__":
    os.umask(0o022)
    write_golden()
