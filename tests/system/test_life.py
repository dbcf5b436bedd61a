"""The life of a responder as a process: reload, drain, stop, dump, systemd, sockets, privileges."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.by_hand import ANSWER_WITHIN, Probe, RawClient
from tests.support.twampd import Twampd
from twamp.protocol.control_messages import ServerGreeting, StopSessions
from twamp.protocol.registries import Accept, Modes

LOOPBACK = ("--listen-address", "127.0.0.1")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 100))


async def greeted_modes(port: int) -> Modes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(ANSWER_WITHIN):
        modes = ServerGreeting.parse(await reader.readexactly(64)).modes
    writer.close()
    return modes


# ---- reload ----------------------------------------------------------------------------------------


def test_a_reload_applies_what_it_can_and_keeps_connections_and_sessions(tmp_path: Path) -> None:
    config = tmp_path / "twampd.toml"
    config.write_text("tx-batch = 2\n")

    async def test(twampd: Twampd) -> None:
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                session = await client.ask(probe.request())
                await client.start()
                await probe.measure(session.port)
                config.write_text(
                    "maximum-connections = 1\ntx-batch = 7\n"
                    'client-list = ["127.0.0.0/8"]\n[user.alice]\npassword = "open sesame"\n'
                )
                config.chmod(0o600)
                twampd.signal(signal.SIGHUP)
                twampd.wait_for("reloaded; changed: client-list, maximum-connections")
                twampd.wait_for("a restart is needed for: tx-batch")
                await probe.measure(session.port)
                state = await twampd.show("config", "connections")
                assert state["status"]["restart_needed"] == ["tx-batch"]
                assert state["status"]["reloads"] == 1
                options = {row["option"]: row for row in state["config"]}
                assert options["maximum-connections"] == {
                    "option": "maximum-connections",
                    "value": "1",
                    "origin": f"{config}, line 1",
                }
                assert options["tx-batch"]["value"] == "2"
                assert len(state["connections"]) == 1
                assert await greeted_modes(twampd.port) == Modes(0)  # the one place is taken
                client.send(StopSessions(Accept.OK, number_of_sessions=1))
                assert (await client.ask(probe.request(conf_sender=1))).accept is not Accept.OK
        everything = Modes.UNAUTHENTICATED | Modes.AUTHENTICATED | Modes.ENCRYPTED | Modes.MIXED
        async with asyncio.timeout(ANSWER_WITHIN):
            while await greeted_modes(twampd.port) != everything:
                await asyncio.sleep(0.01)

    with Twampd.running(tmp_path, *LOOPBACK, "--config", str(config)) as twampd:
        run(lambda: test(twampd))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rate-limit = -1\n", "line 1: rate-limit: -1 is out of range"),
        ("rate-limt = 1\n", "line 1: 'rate-limt' is no option; did you mean 'rate-limit'?"),
        ("rate-limit = \n", "Invalid value"),
        ("mode = 'encrypted'\n", "mode: encrypted needs users"),
        ("maximum-connections = 65\n", "line 1: maximum-connections: 65 is more than 64"),
    ],
)
def test_a_bad_file_changes_nothing(tmp_path: Path, text: str, fault: str) -> None:
    config = tmp_path / "twampd.toml"
    config.write_text("rate-limit = 1000\n")

    async def test(twampd: Twampd) -> None:
        before = await twampd.show("config")
        config.write_text(text)
        twampd.signal(signal.SIGHUP)
        twampd.wait_for("reload refused, nothing has changed:")
        assert f"{config}" in twampd.log
        assert fault in twampd.log
        after = await twampd.show("config", "counters")
        assert after["config"] == before["config"]
        assert after["counters"]["events"]["reload_failed"] == 1
        config.unlink()
        twampd.signal(signal.SIGHUP)
        twampd.wait_for("No such file")
        assert await greeted_modes(twampd.port) == Modes.UNAUTHENTICATED

    with Twampd.running(tmp_path, *LOOPBACK, "--config", str(config)) as twampd:
        run(lambda: test(twampd))


# ---- the end ---------------------------------------------------------------------------------------


def test_sigterm_lets_sessions_finish_and_takes_no_new_ones(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        async with (
            RawClient.connected(twampd) as client,
            RawClient.connected(twampd) as idle,
        ):
            with Probe() as probe:
                session = await client.ask(probe.request(timeout=0))
                await client.start()
                twampd.signal(signal.SIGTERM)
                twampd.wait_for("stopping: 1 sessions have 60 s to finish")
                assert await idle.read_eof() == b""
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", twampd.port)
                await probe.measure(session.port)
                assert (await twampd.show())["status"]["state"] == "draining"
                client.send(StopSessions(Accept.OK, number_of_sessions=1))
                assert await client.read_eof() == b""
        assert twampd.ends() == 0
        assert not twampd.control_socket.exists()

    with Twampd.running(tmp_path, *LOOPBACK) as twampd:
        run(lambda: test(twampd))


def test_a_draining_responder_grants_no_session(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        async with RawClient.connected(twampd) as client:
            with Probe() as probe, Probe() as other:
                await client.ask(probe.request())
                twampd.signal(signal.SIGTERM)
                twampd.wait_for("stopping")
                answer = await client.ask(other.request())
                assert answer.accept is Accept.TEMPORARY_RESOURCE_LIMITATION

    with Twampd.running(tmp_path, *LOOPBACK) as twampd:
        run(lambda: test(twampd))


@pytest.mark.parametrize(
    ("options", "signals", "says"),
    [
        (("--drain-timeout", "1"), (signal.SIGTERM,), "1 sessions did not finish"),
        ((), (signal.SIGTERM, signal.SIGTERM), "stopping"),
        ((), (signal.SIGINT,), "stopping"),
    ],
)
def test_what_does_not_finish_is_ended(
    tmp_path: Path, options: tuple[str, ...], signals: tuple[signal.Signals, ...], says: str
) -> None:
    async def test(twampd: Twampd) -> None:
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                await client.ask(probe.request())
                await client.start()
                for count, number in enumerate(signals, 1):
                    twampd.signal(number)
                    twampd.wait_for("stopping", count)
                assert twampd.ends() == 0
                twampd.wait_for(says)

    with Twampd.running(tmp_path, *LOOPBACK, *options) as twampd:
        run(lambda: test(twampd))


# ---- sight -----------------------------------------------------------------------------------------


def test_the_control_socket_shows_connections_and_sessions(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                session = await client.ask(probe.request(type_p_descriptor=46 << 24))
                await client.start()
                for _ in range(3):
                    await probe.measure(session.port)
                state = await twampd.show("connections", "sessions", "counters")
                [connection] = state["connections"]
                assert connection["client"] == "127.0.0.1"
                assert (connection["mode"], connection["state"]) == ("unauthenticated", "test")
                [row] = state["sessions"]
                assert row["sid"] == session.sid.hex()
                assert row["connection"] == connection["id"]
                assert (row["sender_port"], row["reflector_port"]) == (probe.port, session.port)
                assert (row["dscp"], row["state"]) == (46, "started")
                assert (row["received"], row["reflected"], row["dropped"]) == (3, 3, 0)
                assert (row["last_received_sequence"], row["last_sent_sequence"]) == (2, 2)
                assert row["timestamp_source"] == "kernel"
                assert state["counters"]["packets"]["reflected"] == 3
                assert (await twampd.show("sessions", client="127.0.0.0/30"))["sessions"]
                nobody = await twampd.show("sessions", "connections", client="192.0.2.1")
                assert nobody["sessions"] == nobody["connections"] == []

    with Twampd.running(tmp_path, *LOOPBACK) as twampd:
        mode = stat.S_IMODE(twampd.control_socket.stat().st_mode)
        assert mode == 0o660
        run(lambda: test(twampd))


@pytest.mark.parametrize(
    ("request_line", "fault"),
    [
        (b"sessions\n", "one line of JSON"),
        (b"[]\n", 'a list "show"'),
        (b'{"show": ["secrets"]}\n', "there is no 'secrets' to show"),
        (b'{"show": [], "client": "everybody"}\n', "client: 'everybody' is not a prefix"),
        (b"[" * 2000 + b"\n", "one line of JSON"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(
    tmp_path: Path, request_line: bytes, fault: str
) -> None:
    with (
        Twampd.running(tmp_path, *LOOPBACK) as twampd,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.settimeout(ANSWER_WITHIN)
        client.connect(str(twampd.control_socket))
        client.sendall(request_line)
        assert fault in json.loads(client.makefile().readline())["error"]


def test_metrics_are_served_and_agree(tmp_path: Path) -> None:
    async def test(twampd: Twampd, url: str) -> None:
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                session = await client.ask(probe.request())
                await client.start()
                await probe.measure(session.port)
        text = await asyncio.to_thread(read, url)
        assert "twamp_reflector_packets_reflected_total 1.0\n" in text
        assert "twamp_server_sessions_accepted_total 1.0\n" in text

    def read(url: str) -> str:
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN) as answer:
            return str(answer.read(), "utf-8")

    with Twampd.running(tmp_path, *LOOPBACK, "--metrics-address", "127.0.0.1:0") as twampd:
        twampd.wait_for("metrics at")
        match = re.search(r"http://\[?127\.0\.0\.1\]?:(\d+)/metrics", twampd.log)
        assert match is not None
        run(lambda: test(twampd, f"http://127.0.0.1:{match[1]}/metrics"))


def test_sigusr1_writes_the_state_to_the_log(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                sid = (await client.ask(probe.request())).sid
                twampd.signal(signal.SIGUSR1)
                twampd.wait_for("session: ")
        for name in ("status", "counters", "connection", "session"):
            line = next(line for line in twampd.lines if f"INFO {name}: " in line)
            state = json.loads(line.partition(f"{name}: ")[2])
        assert state["sid"] == sid.hex()

    with Twampd.running(tmp_path, *LOOPBACK) as twampd:
        run(lambda: test(twampd))


def test_the_log_can_be_json(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                await client.ask(probe.request(conf_sender=1))
                await client.ask(probe.request())

    with Twampd.running(tmp_path, *LOOPBACK, "--log-format", "json") as twampd:
        run(lambda: test(twampd))
        twampd.wait_for("connection_end")
        events = [json.loads(line).get("event") for line in twampd.lines]
    wanted = ["connection_start", "session_refused", "session_start", "session_end"]
    assert [event for event in events if event in wanted] == wanted
    assert "connection_end" in events


# ---- systemd ---------------------------------------------------------------------------------------


@contextmanager
def systemd(directory: Path) -> Iterator[socket.socket]:
    """The datagram socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(directory / "notify"))
        listener.settimeout(ANSWER_WITHIN)
        yield listener


def told(listener: socket.socket, wanted: str) -> str:
    """The message with that line; others pass."""
    while True:
        message = listener.recv(4096).decode()
        if wanted in message.split("\n"):
            return message


def test_systemd_is_told_of_readiness_reload_watchdog_and_end(tmp_path: Path) -> None:
    with (
        systemd(tmp_path) as listener,
        Twampd.running(
            tmp_path,
            *LOOPBACK,
            environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"},
        ) as twampd,
    ):
        assert "STATUS=0 connections, 0 sessions, 0 packets reflected" in told(listener, "READY=1")
        for _ in range(3):
            told(listener, "WATCHDOG=1")
        twampd.signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in told(listener, "RELOADING=1")
        told(listener, "READY=1")
        twampd.signal(signal.SIGTERM)
        told(listener, "STOPPING=1")
        assert twampd.ends() == 0


def test_sockets_of_systemd_are_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # The shell gives the socket the number that systemd gives it, and keeps its own pid.
        start = f'exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        with Twampd.running(
            tmp_path, prefix=("bash", "-c", start, "bash"), pass_fds=(listener.fileno(),)
        ) as twampd:
            assert twampd.port == port
            assert asyncio.run(greeted_modes(port)) == Modes.UNAUTHENTICATED


def test_print_unit_is_a_unit_of_this_very_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twamp.reflector", "--print-unit"],
        capture_output=True,
        text=True,
        check=True,
    )
    program = Path(sys.executable).parent / "twampd"
    assert f"\nExecStart={program} --config /etc/twamp/twampd.toml\n" in done.stdout


# ---- privileges ------------------------------------------------------------------------------------


@pytest.mark.root
def test_privileges_are_dropped_once_the_ports_are_bound(tmp_path: Path) -> None:
    async def test(twampd: Twampd) -> None:
        text = Path(f"/proc/{twampd.process.pid}/status").read_text()
        status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        assert set(status["Uid"].split()) == {str(nobody)}
        assert int(status["CapEff"], 16) == 1 << 10 | 1 << 12  # NET_BIND_SERVICE, NET_ADMIN
        assert status["NoNewPrivs"].strip() == "1"
        async with RawClient.connected(twampd) as client:
            with Probe() as probe:
                session = await client.ask(probe.request())
                await client.start()
                await probe.measure(session.port)
        assert (await twampd.show())["status"]["sessions"]["current"] <= 1

    nobody, nogroup = (int(subprocess.check_output(["id", f, "nobody"])) for f in ("-u", "-g"))
    tmp_path.chmod(0o755)
    with Twampd.running(tmp_path, *LOOPBACK, "--user", "nobody") as twampd:
        owner = twampd.control_socket.stat()
        assert (owner.st_uid, owner.st_gid) == (nobody, nogroup)
        run(lambda: test(twampd))
        twampd.signal(signal.SIGHUP)
        twampd.wait_for("reloaded")


def test_nobody_but_root_becomes_another(tmp_path: Path) -> None:
    command = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*command, sys.executable, "-c", "import twamp.reflector"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("NOT TESTED: another user cannot read this Python")
    done = subprocess.run(
        [
            *command,
            *(sys.executable, "-m", "twamp.reflector", "--port", "0", "--user", "root"),
            *("--control-socket", "none"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 1
    assert "only root can become 'root'" in done.stderr
