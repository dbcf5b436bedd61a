"""The reports of a finite run, and what its figures earn."""

import json
import re

import pytest

from twamp.ping.__main__ import main
from twamp.protocol.timestamps import NS

QUICK = ["-i", "0.002f", "-L", "0.5"]


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
    assert tree["configuration"]["loss-timeout"] == NS // 2
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


def test_each_error_of_the_options_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-4", "-6", "--samples", "127.0.0.1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["twping", "twping"]
    assert "samples: only --json has samples" in lines[0]
    assert "ipv4: true excludes ipv6" in lines[1]
