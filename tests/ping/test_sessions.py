"""Sessions over TWAMP-Control: what is asked for, from which address and port, and what goes wrong."""

import re
import socket
from ipaddress import ip_address

import pytest

from tests.support.scripted_server import ScriptedServer
from tests.support.threaded_responder import responder
from twamp.endpoint import Endpoint
from twamp.ping.__main__ import main
from twamp.ping.command_line import read_command_line
from twamp.ping.sessions import ip_octets, padding_of
from twamp.protocol.control_messages import RequestTWSession, StopSessions
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.timestamps import NS, interval_from_ns

QUICK = ["-i", "0.002f", "-L", "0.5"]


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


def test_the_request_says_what_the_options_say(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer() as server:
        options = ["-c", "3", "-i", "0f", "-L", "0.25", "-D", "EF", "-s", "100", "-P", "0"]
        assert main([f"127.0.0.1:{server.port}", *options]) == 3
    request = server.the(RequestTWSession)
    assert request.ip_version == 4
    assert request.padding_length == 100
    assert request.type_p_descriptor == 46 << 24
    assert request.timeout == interval_from_ns(NS // 4)
    assert request.sender_address == request.receiver_address == b"\x7f\0\0\1".ljust(16, b"\0")
    assert request.sender_port == request.receiver_port != 0
    stop = server.the(StopSessions)
    assert (stop.accept, stop.number_of_sessions) == (Accept.OK, 1)
    output = capsys.readouterr()
    assert "\n3 sent, 3 lost (100.000%)" in output.out
    assert output.err == (
        "twping: none of 3 packets came back; does a firewall or NAT stop UDP to "
        f"[127.0.0.1]:{server.test_port} or back? Through a NAT, try -Z (--zero-addresses)\n"
    )


def test_zero_addresses_and_another_server(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer() as server:
        assert main([f"127.0.0.1:{server.port}", "-Z", "-Q", "-c", "1", "-L", "0.01"]) == 3
    request = server.the(RequestTWSession)
    assert request.sender_address == request.receiver_address == bytes(16)

    with ScriptedServer() as server:
        arguments = ["127.0.0.2", f"127.0.0.1:{server.port}", "-Q", "-c", "1", "-L", "0.01"]
        assert main(arguments) == 3
    assert server.the(RequestTWSession).receiver_address[:4] == b"\x7f\0\0\2"

    with ScriptedServer() as server:
        assert main(["-Z", *arguments[:1], f"127.0.0.1:{server.port}", *arguments[2:]]) == 3
    assert server.the(RequestTWSession).receiver_address == bytes(16)
    assert "127.0.0.2" in capsys.readouterr().err


def test_start_delay_is_the_start_time_of_the_request() -> None:
    with ScriptedServer() as server:
        arguments = ["-z", "0.2", "-Q", "-c", "1", "-i", "0f", "-L", "0.01"]
        assert main([f"127.0.0.1:{server.port}", *arguments]) == 3
    assert server.the(RequestTWSession).start_time != 0


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


def test_control_packets_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    marks: list[int] = []

    async def refuse(*_: object, dscp: int, **__: object) -> None:
        marks.append(dscp)
        raise ConnectionRefusedError

    monkeypatch.setattr("twamp.control.client.ControlClient.connect", refuse)
    assert main(["127.0.0.1", "--control-dscp-value", "CS6", "-D", "EF"]) == 1
    assert main(["127.0.0.1", "-D", "EF"]) == 1
    assert marks == [48, 0]


@pytest.mark.parametrize(
    ("options", "mode", "expected"),
    [
        ([], Modes.UNAUTHENTICATED, 27),
        ([], Modes.MIXED, 27),
        ([], Modes.AUTHENTICATED, 64),
        ([], Modes.ENCRYPTED, 64),
        (["-s", "5"], Modes.ENCRYPTED, 5),
    ],
)
def test_requests_are_as_long_as_replies_in_each_mode(
    options: list[str], mode: Modes, expected: int
) -> None:
    config, _ = read_command_line(["192.0.2.1", *options])
    assert padding_of(config, mode) == expected


def test_a_datagram_has_its_headers() -> None:
    narrow, wide = (Endpoint(ip_address(text), 862) for text in ("192.0.2.1", "2001:db8::1"))
    assert ip_octets(narrow, Modes.UNAUTHENTICATED, 27) == 20 + 8 + 41
    assert ip_octets(wide, Modes.ENCRYPTED, 64) == 40 + 8 + 112
