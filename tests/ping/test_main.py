"""twping from its command line to its exit code, against our responder and a scripted one."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from tests.support.by_hand import Responder
from twamp.config.readers import MOST_PACKETS
from twamp.config.target import Target, split_host
from twamp.errors import ConfigError
from twamp.metrics.measure import measure
from twamp.ping.__main__ import main, read_command_line
from twamp.ping.run import Run
from twamp.protocol.control_messages import (
    Accept,
    AcceptSession,
    Modes,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartSessions,
    StopSessions,
)
from twamp.protocol.message import Message
from twamp.protocol.timestamps import interval_from_ns

ROOT = Path(__file__).parent.parent.parent
QUICK = ["-i", "0.002f", "-L", "0.5"]
SECOND = 1_000_000_000
MessageT = TypeVar("MessageT", bound=Message)


class ScriptedServer:
    """A TCP server on 127.0.0.1 that grants one session at a port where nobody answers.

    ``received`` is what the client said; without ``greets`` it never says a word.
    """

    def __init__(self, *, greets: bool = True, accept: Accept = Accept.OK) -> None:
        self.received: list[Message] = []
        self._accept = accept
        self._greets = greets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._silent.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.test_port: int = self._silent.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        self._listener.close()
        self._silent.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(10)
            if not self._greets:
                connection.recv(1)
                return
            script: list[tuple[Message, type[Message], int]] = [
                (ServerGreeting(Modes.UNAUTHENTICATED, count=1024), SetUpResponse, 164),
                (ServerStart(Accept.OK), RequestTWSession, 112),
                (AcceptSession(self._accept, self.test_port, bytes(range(16))), StartSessions, 32),
                (StartAck(Accept.OK), StopSessions, 32),
            ]
            for answer, kind, size in script:
                connection.sendall(bytes(answer))
                octets = connection.recv(size, socket.MSG_WAITALL)
                if not octets:
                    return
                self.received.append(kind.parse(octets))

    def the(self, kind: type[MessageT]) -> MessageT:
        [message] = [message for message in self.received if isinstance(message, kind)]
        return message


@contextmanager
def responder(**options: Any) -> Iterator[int]:
    """Our responder in a thread of its own; gives its TCP port."""
    ready = threading.Event()
    over: list[Callable[[], object]] = []
    ports: list[int] = []

    async def respond() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with Responder.listening(**options) as listening:
            ports.append(listening.port)
            over.append(lambda: loop.call_soon_threadsafe(stop.set))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(respond()))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        for stop in over:
            stop()
        thread.join(10)
    assert not thread.is_alive()


# ---- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", None),
        ("192.0.2.1:8620", "192.0.2.1", 8620),
        ("router.example", "router.example", None),
        ("router.example:1", "router.example", 1),
        ("::1", "::1", None),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("[fe80::1%eth0]:862", "fe80::1%eth0", 862),
        ("[192.0.2.1]:", "192.0.2.1", None),
        ("[router.example]:862", "router.example", 862),
    ],
)
def test_host_forms(text: str, host: str, port: int | None) -> None:
    assert split_host(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "a:b", "host:0", "host:65536", "host:", "[::1", "::1]", "1:2:3", "[::1]:x", "[]:1"]
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(text))):
        split_host(text)


def test_target_has_the_control_port_unless_the_host_names_one() -> None:
    assert read_command_line(["h"])[1] == Target("h", "h", 862)
    assert read_command_line(["h", "--control-port", "1"])[1] == Target("h", "h", 1)
    assert read_command_line(["h:2", "--control-port", "1"])[1] == Target("h", "h", 2)
    assert read_command_line(["h", "[::1]:3"])[1] == Target("h", "::1", 3)
    assert read_command_line(["--loopback"])[1] is None


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["-v", "h"], MOST_PACKETS),
        (["-v7", "h"], 7),
        (["--verbose", "h"], MOST_PACKETS),
        (["h"], 0),
    ],
)
def test_v_never_takes_the_host(arguments: list[str], shown: int) -> None:
    config, target = read_command_line(arguments)
    assert config.verbose == shown
    assert target == Target("h", "h", 862)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "HOST is missing"),
        (["a", "b", "c"], "unrecognized arguments: c"),
        (["--count"], "expected one argument"),
        (["--loopback", "h"], "give HOST or --loopback"),
        (["h", "-c", "0"], "count: '0' is out of range"),
        (["h:1", "s"], "the TCP port belongs to SERVER"),
        (["h", "s", "-Z"], "zero-addresses"),
        (["h", "-4", "-6"], "-4 and -6"),
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


def test_help_ends_with_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "3 a threshold of --fail was crossed, or nothing came back" in " ".join(
        capsys.readouterr().out.split()
    )


# ---- measuring -----------------------------------------------------------------------------------


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


def test_several_sessions_have_their_reports_and_one_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--loopback", "-c", "5", *QUICK, "--session-count", "12"]) == 0
    text = capsys.readouterr().out
    assert text.count("\n5 sent, 0 lost") == 12
    assert text.count("\n  60 sent, 0 lost") == 1
    assert len(set(re.findall(r"SID:\t(\w+)", text))) == 12
    ports = {int(port) for port in re.findall(r"from \[127\.0\.0\.1\]:(\d+)", text)}
    assert len(ports) == 12
    assert ports <= set(range(8760, 9961))


def test_json_is_the_whole_output(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", "-D", "EF", "-s", "100", "-a", "75", "--session-count", "2"]
    assert main(["--loopback", "-c", "4", *QUICK, *arguments]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert [result["packets"]["num-pkts-sent"] for result in tree["results"]] == [4, 4]
    assert tree["total"]["packets"]["num-pkts-received"] == 8
    assert tree["total"]["timestamp-sources"]["t4"] == {"kernel": 8}
    assert "75" in tree["total"]["round-trip-time"]["percentiles"]
    assert tree["configuration"]["test-dscp-value"] == 46
    assert tree["configuration"]["loss-timeout"] == SECOND // 2
    assert tree["configuration"]["percentiles"] == [75.0]


def test_raw_rows_of_each_session(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loopback", "-c", "3", *QUICK, "-R", "--session-count", "2"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    for block in (first, second):
        assert [row.split()[0] for row in block.splitlines()] == ["0", "1", "2"]
        assert {len(row.split()) for row in block.splitlines()} == {16}


def test_v_shows_so_many_packets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loopback", "-c", "4", *QUICK, "-v3"]) == 0
    assert re.findall(r"seq_no=(\d+)", capsys.readouterr().out) == ["0", "1", "2"]


def test_v_says_whose_packets_follow(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loopback", "-c", "1", *QUICK, "-v", "--session-count", "2"]) == 0
    blocks = capsys.readouterr().out.split("\n--- twping statistics ")[1:]
    titles = [block.partition("first:")[0].splitlines()[:2] for block in blocks[:4]]
    assert titles[0] == titles[1] != titles[2] == titles[3]
    assert ["seq_no=0 " in block for block in blocks] == [True, False, True, False, False]


def test_machine_summary_has_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loopback", "-c", "2", *QUICK, "-M", "-D", "8", "-s", "50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    pairs = dict(line.split("\t") for line in lines if line.count("\t") == 1)
    assert (pairs["DSCP"], pairs["PACKET_PADDING"], pairs["SENT"]) == ("0x08", "50", "2")


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loopback", "-c", "2", *QUICK, "-Q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_name_with_several_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    with responder(listen_address=("127.0.0.1",)) as port:
        assert main([f"localhost:{port}", "-c", "3", *QUICK]) == 0
    assert "to [localhost]:" in capsys.readouterr().out


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_zero_addresses_are_those_of_the_connection(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with responder() as port:
        assert main([f"[{address}]:{port}", "-Z", "-c", "3", *QUICK]) == 0
    assert "\n3 sent, 0 lost" in capsys.readouterr().out


def test_source_address_is_that_of_the_packets(capsys: pytest.CaptureFixture[str]) -> None:
    with responder() as port:
        assert main([f"127.0.0.1:{port}", "-S", "127.0.0.3", "-c", "3", *QUICK]) == 0
    output = capsys.readouterr().out
    assert "from [127.0.0.3]:" in output
    assert "\n3 sent, 0 lost" in output


def two_free_ports() -> tuple[int, int]:
    """Two neighbours that are free on 127.0.0.1."""
    for port in range(30000, 32000, 2):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        ):
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port, port + 1
    raise AssertionError("no free ports")


def test_busy_ports_are_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    low, high = two_free_ports()
    options = ["--loopback", "-c", "2", *QUICK, "-P", f"{low}-{high}"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", low))
        assert main(options) == 0
        assert f"from [127.0.0.1]:{high} " in capsys.readouterr().out
        assert main([*options, "--session-count", "2"]) == 1
        assert f"no free UDP port in {low}-{high}" in capsys.readouterr().err


def test_port_range_0_takes_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loopback", "-c", "2", *QUICK, "-P", "0", "--session-count", "3"]) == 0
    assert "\n  6 sent, 0 lost" in capsys.readouterr().out


# ---- what is asked for ---------------------------------------------------------------------------


def test_the_request_says_what_the_options_say(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer() as server:
        options = ["-c", "3", "-i", "0f", "-L", "0.25", "-D", "EF", "-s", "100", "-P", "0"]
        assert main([f"127.0.0.1:{server.port}", *options]) == 3
    request = server.the(RequestTWSession)
    assert request.ip_version == 4
    assert request.padding_length == 100
    assert request.type_p_descriptor == 46 << 24
    assert request.timeout == interval_from_ns(SECOND // 4)
    assert request.sender_address == request.receiver_address == b"\x7f\0\0\1".ljust(16, b"\0")
    assert request.sender_port == request.receiver_port != 0
    stop = server.the(StopSessions)
    assert (stop.accept, stop.number_of_sessions) == (Accept.OK, 1)
    output = capsys.readouterr()
    assert "\n3 sent, 3 lost (100.000%)" in output.out
    assert output.err == (
        "twping: none of 3 packets came back; does a firewall or NAT stop UDP to "
        f"[127.0.0.1]:{server.test_port} or back?\n"
    )


def test_zero_addresses_and_another_server() -> None:
    with ScriptedServer() as server:
        assert main([f"127.0.0.1:{server.port}", "-Z", "-Q", "-c", "1", "-L", "0.01"]) == 3
    request = server.the(RequestTWSession)
    assert request.sender_address == request.receiver_address == bytes(16)

    with ScriptedServer() as server:
        arguments = ["127.0.0.2", f"127.0.0.1:{server.port}", "-Q", "-c", "1", "-L", "0.01"]
        assert main(arguments) == 3
    assert server.the(RequestTWSession).receiver_address[:4] == b"\x7f\0\0\2"


def test_start_delay_is_the_start_time_of_the_request() -> None:
    with ScriptedServer() as server:
        arguments = ["-z", "0.2", "-Q", "-c", "1", "-i", "0f", "-L", "0.01"]
        assert main([f"127.0.0.1:{server.port}", *arguments]) == 3
    assert server.the(RequestTWSession).start_time != 0


# ---- what goes wrong -----------------------------------------------------------------------------


def test_refused_sessions_say_how_many_there_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    with responder() as port:
        assert main([f"127.0.0.1:{port}", "-c", "2", *QUICK, "--session-count", "9"]) == 1
        output = capsys.readouterr()
        assert output.out == ""
        assert "Accept 5" in output.err
        assert "--session-count 8" in output.err
        assert main([f"127.0.0.1:{port}", "-c", "2", *QUICK, "--session-count", "8"]) == 0


def test_refusal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(accept=Accept.NOT_SUPPORTED) as server:
        assert main([f"127.0.0.1:{server.port}"]) == 1
    assert re.fullmatch(r"twping: .*refused the session: Accept 3.*\n", capsys.readouterr().err)


def free_tcp_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "is a TWAMP Server running there?"),
        (["-S", "192.0.2.1"], "--source-address"),
        (["-6"], "of this IP version?"),
        (["-B", "nosuchif"], ""),
    ],
)
def test_no_connection_is_one_line_with_a_remedy(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"127.0.0.1:{free_tcp_port()}", *arguments]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(r"twping: .+\n", error)
    assert said in error


# ---- Ctrl-C --------------------------------------------------------------------------------------


async def first_packet(ping: Run) -> None:
    """Returns when a session has begun to send."""
    async with asyncio.timeout(10):
        while not any(sender.sent for sender in ping._senders):
            await asyncio.sleep(0.005)


def test_interrupted_run_reports_what_there_is() -> None:
    async def run() -> None:
        async with Responder.listening() as listening:
            config, target = read_command_line(
                [f"127.0.0.1:{listening.port}", "-c", "100000", "-i", "0.001f", "-L", "0.3"]
            )
            assert target is not None
            ping = Run(config, target)
            task = asyncio.create_task(ping.run())
            await first_packet(ping)
            ping.interrupt()
            [measurement] = await asyncio.wait_for(task, 10)
            assert ping.interrupted
            metrics = measure(measurement)
            assert 0 < metrics.sent < 100000
            assert metrics.lost == 0
            await listening.sessions_left(0)

    asyncio.run(run())


def test_second_interrupt_does_not_wait_for_replies() -> None:
    async def run() -> None:
        with ScriptedServer() as server:
            config, target = read_command_line(
                [f"127.0.0.1:{server.port}", "-c", "1", "-i", "0f", "-L", "3600"]
            )
            assert target is not None
            ping = Run(config, target)
            task = asyncio.create_task(ping.run())
            await first_packet(ping)
            ping.interrupt()
            ping.interrupt()
            [measurement] = await asyncio.wait_for(task, 10)
            assert len(measurement.samples) == 1
        assert server.the(StopSessions).number_of_sessions == 1

    asyncio.run(run())


def test_interrupted_set_up_has_nothing_to_report() -> None:
    async def run() -> None:
        with ScriptedServer(greets=False) as server:
            config, target = read_command_line([f"127.0.0.1:{server.port}"])
            assert target is not None
            ping = Run(config, target)
            asyncio.get_running_loop().call_later(0.05, ping.interrupt)
            assert await asyncio.wait_for(ping.run(), 5) == []
            assert ping.interrupted

    asyncio.run(run())


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
    async def never(self: Run) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    monkeypatch.setattr(Run, "_connect", never)
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
