"""What is said to systemd, and what it says; a socket of the test stands for systemd."""

import json
import logging
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twamp.config.classes import read_class_tables
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import field_of, key_of, rows
from twamp.config.users import read_user_tables
from twamp.errors import ConfigError
from twamp.reflector.systemd import Notifier, inherited_sockets, unit_text, watchdog_interval

DATA = Path(__file__).parent.parent.parent / "twamp" / "data"
LARGEST_EXPOSURE = 25  # tenths: 2.5


class Systemd:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def read(self) -> str:
        return self.sock.recv(65536).decode()

    def is_silent(self) -> bool:
        return not select.select([self.sock], [], [], 0)[0]


@pytest.fixture(params=["path", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Systemd]:
    path = str(tmp_path / "notify")
    abstract = request.param == "abstract"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + path if abstract else path)
        sock.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + path if abstract else path)
        yield Systemd(sock)


@pytest.fixture
def notifier() -> Iterator[Notifier]:
    yield (opened := Notifier())
    opened.close()


def say_everything(notifier: Notifier) -> None:
    notifier.ready("x")
    notifier.reloading()
    notifier.stopping()
    notifier.status("x")
    notifier.watchdog()


# ---- notify --------------------------------------------------------------------------------------


def test_each_call_is_one_message(systemd: Systemd, notifier: Notifier) -> None:
    notifier.ready("listening on [::]:862")
    assert systemd.read() == "READY=1\nSTATUS=listening on [::]:862"
    notifier.status("2 sessions")
    assert systemd.read() == "STATUS=2 sessions"
    notifier.watchdog()
    assert systemd.read() == "WATCHDOG=1"
    notifier.stopping()
    assert systemd.read() == "STOPPING=1"
    assert systemd.is_silent()


def test_a_reload_says_when(systemd: Systemd, notifier: Notifier) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", systemd.read())
    assert found is not None
    assert before <= int(found[1]) <= after


def test_a_status_is_one_line_that_fits(systemd: Systemd, notifier: Notifier) -> None:
    notifier.status("mallory\nMAINPID=1\r\x1b\0\x85\u2028\ud800!")
    assert systemd.read() == "STATUS=mallory MAINPID=1      !"
    notifier.ready("\U00010000" * 100_000)
    assert len(systemd.read().encode()) < 4096


def test_without_systemd_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with caplog.at_level(logging.DEBUG):
        say_everything(notifier := Notifier())
        notifier.close()
    assert caplog.records == []


@pytest.mark.parametrize(
    "name",
    ["/no/such/socket", "@twamp-no-such-socket", "/" + "x" * 200, "relative", "vsock:2:1", "@"],
)
def test_a_missing_socket_is_a_debug_message_and_no_error(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with caplog.at_level(logging.DEBUG):
        say_everything(notifier := Notifier())
        notifier.close()
        say_everything(notifier)
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
    assert "takes no messages" in caplog.text


def test_a_full_socket_is_not_waited_for(
    systemd: Systemd, notifier: Notifier, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(20_000):
            notifier.watchdog()
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
    while not systemd.is_silent():
        assert systemd.read() == "WATCHDOG=1"
    notifier.stopping()
    assert systemd.read() == "STOPPING=1"


def test_no_child_inherits_the_socket(systemd: Systemd, notifier: Notifier) -> None:
    assert notifier._socket is not None
    assert not notifier._socket.get_inheritable()


# ---- watchdog ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("microseconds", "pid", "expected"),
    [
        ("10000000", None, 5.0),
        ("10000000", "ours", 5.0),
        ("1", "ours", 0.0000005),
        ("10000000", "1", None),
        ("10000000", "", None),
        (None, None, None),
        ("", None, None),
        ("0", None, None),
        ("-5", None, None),
        ("5s", None, None),
        ("٣", None, None),
        ("9" * 5000, None, None),
    ],
)
def test_watchdog_interval_is_half_of_what_is_allowed(
    microseconds: str | None,
    pid: str | None,
    expected: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pid = str(os.getpid()) if pid == "ours" else pid
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_interval() == expected


# ---- socket activation ---------------------------------------------------------------------------

# Descriptors are handed over as systemd does it: from 3 on, and by exec.
ACTIVATED = """
import fcntl, json, os, sys
given = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 100) for word in sys.argv[3:]]
for number, descriptor in enumerate(given, 3):
    os.dup2(descriptor, number, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[1]))
os.environ["LISTEN_FDS"] = sys.argv[2]
os.environ["LISTEN_FDNAMES"] = "a:b"
os.execv(sys.executable, [sys.executable, "-c", '''
import json, os
from twamp.reflector.systemd import inherited_sockets
try:
    found = inherited_sockets()
    again = inherited_sockets()
except OSError as error:
    print(json.dumps(str(error)))
    raise SystemExit
rows = [
    [sock.fileno(), sock.getsockname(), int(sock.type), sock.getblocking(), sock.get_inheritable()]
    for sock in found
]
print(json.dumps([rows, again, [name for name in os.environ if name.startswith("LISTEN_")]]))
'''])
"""


def activated(pid_offset: int, count: str, *descriptors: int) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", ACTIVATED, str(pid_offset), count, *map(str, descriptors)],
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        yield [tcp, udp]


def test_inherited_sockets_are_ours_alone(listeners: list[socket.socket]) -> None:
    found, again, environment = activated(0, "2", *(one.fileno() for one in listeners))
    assert found == [
        [3, list(listeners[0].getsockname()), socket.SOCK_STREAM, False, False],
        [4, list(listeners[1].getsockname()), socket.SOCK_DGRAM, False, False],
    ]
    assert again == []
    assert environment == []


@pytest.mark.parametrize(
    ("pid_offset", "count"), [(1, "2"), (0, "0"), (0, ""), (0, "-1"), (0, "two")]
)
def test_what_is_not_for_us_is_left_alone(
    pid_offset: int, count: str, listeners: list[socket.socket]
) -> None:
    assert activated(pid_offset, count, *(one.fileno() for one in listeners)) == [[], [], []]


def test_a_descriptor_that_is_no_socket_is_an_error(listeners: list[socket.socket]) -> None:
    with open(os.devnull) as null:
        message = activated(0, "2", listeners[0].fileno(), null.fileno())
    assert "descriptor 4 of LISTEN_FDS, 2, is no socket" in message
    assert "look at the .socket unit" in message


def test_without_activation_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)
    assert inherited_sockets() == []


# ---- the unit ------------------------------------------------------------------------------------


def systemd_tool(name: str, *arguments: str | Path) -> str:
    """What a tool of systemd says, which must be content."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"NOT TESTED: there is no {name} here; install systemd")
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(
        [path, *arguments], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_unit_is_exposed_little(tmp_path: Path) -> None:
    unit = tmp_path / "twampd.service"
    unit.write_text(unit_text("/usr/bin/twampd"))
    options = ("--offline=yes", f"--threshold={LARGEST_EXPOSURE}", "--no-pager")
    text = systemd_tool("systemd-analyze", "security", *options, unit)
    found = re.search(r"exposure level for twampd.service: (\d+\.\d)", text)
    assert found is not None, text
    assert float(found[1]) * 10 <= LARGEST_EXPOSURE


@pytest.mark.parametrize("name", ["twampd", "two words", "50%t off; $HOME ü"])
def test_the_units_are_understood(name: str, tmp_path: Path) -> None:
    program = tmp_path / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "twampd.service").write_text(unit_text(str(program)))
    shutil.copy(DATA / "systemd" / "twampd.socket", tmp_path)
    for unit in ("twampd.service", "twampd.socket"):
        assert systemd_tool("systemd-analyze", "verify", "--man=no", tmp_path / unit) == ""


def test_the_unit_starts_the_program_that_is_named() -> None:
    packaged = (DATA / "systemd" / "twampd.service").read_text()
    assert unit_text("/usr/bin/twampd") == packaged
    changed = unit_text("/opt/twamp/bin/twampd")
    different = [
        (old, new)
        for old, new in zip(packaged.splitlines(), changed.splitlines(), strict=True)
        if old != new
    ]
    assert different == [
        (
            "ExecStart=/usr/bin/twampd --config /etc/twamp/twampd.toml",
            "ExecStart=/opt/twamp/bin/twampd --config /etc/twamp/twampd.toml",
        )
    ]


@pytest.mark.parametrize(
    "program", ["", "twampd", "./twampd", "/usr/bin/x\nUser=root", "/a\0b", '/"', "/'", "/a\\b"]
)
def test_a_program_that_a_unit_cannot_name_is_refused(program: str) -> None:
    with pytest.raises(ValueError, match="is no absolute path"):
        unit_text(program)


def test_the_unit_lets_the_clock_be_read() -> None:
    """Less protection than there could be, each for a reason that the unit gives."""
    lines = unit_text("/usr/bin/twampd").splitlines()
    assert not [line for line in lines if line.startswith(("ProtectClock=", "PrivateDevices="))]
    filters = [line for line in lines if line.startswith("SystemCallFilter=")]
    assert {"adjtimex", "clock_adjtime"} <= set(filters[-1].partition("=")[2].split())


# The same rule as MemoryDenyWriteExecute=, by the kernel itself.
DENY_WRITE_EXECUTE = """
import ctypes, mmap, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) < 0:  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_twampd_needs_no_memory_that_is_written_and_executed() -> None:
    options = ["-m", "twamp.reflector", "--listen-address", "127.0.0.1", "--port", "0"]
    options += ["--control-socket", "none"]  # its directory may be another user's
    program = subprocess.Popen(
        [sys.executable, "-c", DENY_WRITE_EXECUTE, *options], stderr=subprocess.PIPE, text=True
    )
    with program:
        assert program.stderr is not None
        line = program.stderr.readline()
        program.send_signal(signal.SIGTERM)
        rest = program.stderr.read()
    if program.returncode == 77:
        pytest.skip("NOT TESTED: this kernel cannot forbid such memory; Linux 6.3 can")
    assert "listening on [127.0.0.1]" in line, line + rest
    assert program.returncode == 0, rest


@pytest.mark.root
def test_the_user_and_its_directory_are_made(tmp_path: Path) -> None:
    for directory in ("etc", "run"):
        (tmp_path / directory).mkdir()
    root = f"--root={tmp_path}"
    systemd_tool("systemd-sysusers", root, DATA / "systemd" / "twamp.sysusers")
    systemd_tool("systemd-tmpfiles", "--create", root, DATA / "systemd" / "twamp.tmpfiles")
    name, _, user, group, *_ = (tmp_path / "etc" / "passwd").read_text().strip().split(":")
    assert name == "twamp"
    status = (tmp_path / "run" / "twamp").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o750, int(user), int(group))


# ---- the sample of a configuration ---------------------------------------------------------------


def uncommented() -> dict[str, Any]:
    text = (DATA / "twampd.toml").read_text()
    assert tomllib.loads(text) == {}
    return tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", text))


def test_the_sample_shows_every_option_and_its_default() -> None:
    table = uncommented()
    del table["user"], table["class"]
    assert set(table) == {key_of(field) for field, _ in rows(ReflectorConfig)}
    config = ReflectorConfig(
        **{field_of(ReflectorConfig, key): value for key, value in table.items()}
    )
    for field, row in rows(ReflectorConfig):
        if row.default not in (None, ()):
            assert getattr(config, field) == row.default, field


def test_the_sample_class_is_one() -> None:
    (guests,) = read_class_tables(uncommented()["class"], lambda *_: "twampd.toml")
    assert (guests.name, guests.dscp_values) == ("guests", (0, 46))


def test_the_sample_user_needs_a_password_of_its_own() -> None:
    with pytest.raises(ConfigError, match="the passphrase has 0 octets"):
        read_user_tables(uncommented()["user"], lambda *_: "twampd.toml")
