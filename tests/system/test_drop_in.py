"""The flags of perfSONAR's ``twping``, from the command line to their effect."""

import re
import socket
import time
from pathlib import Path

import pytest

from tests.ping.test_sessions import QUICK
from tests.support.scripted_server import ScriptedServer
from tests.support.threaded_responder import responder
from twamp.control import client as control_client
from twamp.errors import ConfigError
from twamp.ping.__main__ import main
from twamp.ping.command_line import read_command_line
from twamp.protocol.control_messages import RequestTWSession
from twamp.protocol.timestamps import interval_from_ns

SECOND = 10**9


def test_n_summarises_so_many_packets_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loopback", "-c", "5", *QUICK, "-N", "2"]) == 0
    output = capsys.readouterr().out
    assert re.findall(r"^(\d+) sent, 0 lost", output, re.MULTILINE) == ["2", "2", "1"]
    assert "together" not in output
    assert main(["--loopback", "-c", "5", *QUICK, "-N", "2", "-v"]) == 0
    blocks = capsys.readouterr().out.split("--- twping statistics")[1:]
    numbers = [re.findall(r"seq_no=(\d+)", block) for block in blocks]
    assert numbers == [["0", "1"], [], ["2", "3"], [], ["4"], []]


def test_n_with_keys_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--loopback", "-c", "5", *QUICK, "-N", "3", "-M"]) == 0
    output = capsys.readouterr().out
    assert re.findall(r"^SESSION_PACKET_COUNT\t(\d+)", output, re.MULTILINE) == ["5", "5"]
    assert re.findall(r"^SAMPLE_PACKET_COUNT\t(\d+)", output, re.MULTILINE) == ["3", "2"]


def test_p_writes_each_summary_to_a_file_and_prints_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--loopback", "-c", "4", *QUICK, "-N", "2", "-p", "-d", str(tmp_path)]
    assert main(options) == 0
    names = capsys.readouterr().out.splitlines()
    assert main([*options, "-M"]) == 0
    names += capsys.readouterr().out.splitlines()
    assert sorted(names) == sorted(map(str, tmp_path.iterdir()))
    assert [Path(name).suffix for name in names] == [".txt", ".txt", ".sum", ".sum"]
    for name in names:
        assert re.fullmatch(r"\d{20}_\d{20}", Path(name).stem)
    assert "2 sent, 0 lost" in Path(names[0]).read_text()
    start, end = Path(names[2]).stem.split("_")
    text = Path(names[2]).read_text()
    assert f"\nSTART_TIME\t{start}\nEND_TIME\t{end}\n" in text


def test_p_that_cannot_write_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--loopback", "-c", "2", *QUICK, "-p", "-d", str(tmp_path / "missing")]
    assert main(options) == 1
    assert re.fullmatch(
        r"twping: directory: '.*missing' is no directory .*\n", capsys.readouterr().err
    )


def test_files_of_owp_records_are_refused_with_what_there_is_instead() -> None:
    with pytest.raises(ConfigError, match=r"-F: .*-R.*--json"):
        read_command_line(["-F", "x.owp", "192.0.2.1"])


def test_hosts_are_named_as_they_were_written(capsys: pytest.CaptureFixture[str]) -> None:
    with responder() as port:
        arguments = [f"localhost:{port}", "-4", "-S", "localhost", "-c", "2", *QUICK]
        assert main(arguments) == 0
        assert re.search(r"from \[localhost\]:\d+ to \[localhost\]:\d+ ", capsys.readouterr().out)
        assert main([*arguments, "-M"]) == 0
    output = capsys.readouterr().out
    for line in ("FROM_HOST\tlocalhost", "FROM_ADDR\t127.0.0.1", "TO_HOST\tlocalhost"):
        assert line in output.splitlines()


def test_the_source_may_be_an_interface() -> None:
    config, _ = read_command_line(["-S", "lo", "192.0.2.1"])
    assert (config.source_address, config.interface) == (None, "lo")
    with pytest.raises(ConfigError, match="lo is an interface, but eth7 is asked for"):
        read_command_line(["-S", "lo", "-B", "eth7", "192.0.2.1"])


def test_a_source_without_an_address_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with responder() as port:
        assert main([f"127.0.0.1:{port}", "-S", "::1"]) == 1
    assert re.fullmatch(r"twping: .*source address ::1: .*\n", capsys.readouterr().err)


@pytest.mark.parametrize("form", ["127.0.0.1 127.0.0.1:{}", "127.0.0.1:{} 127.0.0.1:{}"])
def test_host_and_server(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    with responder() as port:
        assert main([*form.format(port, port).split(), "-c", "2", *QUICK]) == 0
    assert "\n2 sent, 0 lost" in capsys.readouterr().out


def test_a_loss_timeout_of_0_asks_for_two_seconds() -> None:
    with ScriptedServer() as server:
        # pScheduler says -L 0, and sends for as long as it likes.
        assert main([f"127.0.0.1:{server.port}", "-c", "1", "-i", "0f", "-L", "0", "-Q"]) == 3
    assert server.the(RequestTWSession).timeout == interval_from_ns(2 * SECOND)


def test_rows_of_lost_packets_are_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer() as server:
        arguments = ["-c", "2", "-i", "0f", "-L", "0.01", "-R"]
        assert main([f"127.0.0.1:{server.port}", *arguments]) == 0
    output = capsys.readouterr()
    assert [row.split()[0] for row in output.out.splitlines()] == ["0", "1"]
    assert "none of 2 packets came back" in output.err


def test_deadline_ends_the_run_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    begin = time.monotonic()
    assert main(["--loopback", "-i", "0.02f", "-c", "100000", "--deadline", "0.6"]) == 0
    assert time.monotonic() - begin < 60  # the schedule's would be 2000
    sent = re.search(r"^(\d+) sent, 0 lost", capsys.readouterr().out, re.MULTILINE)
    assert sent is not None
    assert 1 <= int(sent[1]) < 100


def test_a_deadline_that_leaves_no_time_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(greets=False) as server:
        assert main([f"127.0.0.1:{server.port}", "--deadline", "0.1"]) == 1
    assert capsys.readouterr().err == ("twping: the deadline passed before anything was measured\n")


def test_the_end_is_delayed_until_the_deadline() -> None:
    begin = time.monotonic()
    options = ["--loopback", "-c", "1", *QUICK, "-Q", "-E", "3600", "--deadline", "1.2"]
    assert main(options) == 0
    assert time.monotonic() - begin >= 1.2


def test_the_next_address_of_a_name_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two that refuse come before the one that answers; where none does, each one's reason is said."""
    addresses = ["127.0.0.7", "127.0.0.8", "127.0.0.1"]

    async def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "three.example"
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in addresses
        ]

    monkeypatch.setattr(control_client, "resolve", resolve)
    with responder(listen_address=("127.0.0.1",)) as port:
        assert main([f"three.example:{port}", "-c", "2", *QUICK]) == 0
        assert "to [three.example]:" in capsys.readouterr().out
        del addresses[2]
        assert main([f"three.example:{port}", "-c", "2", *QUICK]) == 1
    error = capsys.readouterr().err
    assert re.findall(r"\[(127\.0\.0\.\d)\]:\d+: Connection refused", error) == addresses
    assert len(error.splitlines()) == 1
