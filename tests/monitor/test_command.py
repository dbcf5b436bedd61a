"""twping --continuous and --config, from the command line to the exit code; what they report and serve."""

import csv
import http.client
import io
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.by_hand import free_port
from tests.support.threaded_responder import responder
from twamp.ping import __main__ as ping

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30
QUICK = ["--continuous", "--report-interval", "0.3", "-i", "0.005f", "-L", "0.2", "-P", "0"]


class Twping:
    """The program, running; it is killed if it has not ended."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "twamp.ping", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._watchdog = threading.Timer(PATIENCE, self.process.kill)

    def __enter__(self) -> "Twping":
        self._watchdog.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._watchdog.cancel()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def line_with(self, pattern: str) -> str:
        """The next line that has it."""
        while not re.search(pattern, line := self.line()):
            assert line, "it has ended"
        return line

    def complaint(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def end(self, number: int) -> tuple[int, str, str]:
        """Exit code, and what was left on both streams."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


# ---- --continuous --------------------------------------------------------------------------------


def test_intervals_are_lines_and_an_interrupt_brings_the_totals() -> None:
    with responder() as port, Twping(f"127.0.0.1:{port}", *QUICK) as twping:
        lines = [twping.line() for _ in range(3)]
        for line in lines:
            assert re.fullmatch(
                r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)–\S+ \d+ sent, \d+ lost \(\d+\.\d{3}%\)"
                r"(, round-trip time min/median/P99/max = \S+ ms, jitter = \S+ ms \(P95-P50\))?.*\n",
                line,
            ), line
        code, out, err = twping.end(signal.SIGINT)
    assert (code, err) == (2, "")
    assert "--- twping totals of 127.0.0.1 ---" in out
    assert re.search(r"^\d+ sent, 0 lost \(0\.000%\), 0 send duplicates", out, re.MULTILINE)


def test_json_is_an_object_in_a_line_and_they_add_up() -> None:
    with responder() as port, Twping(f"127.0.0.1:{port}", *QUICK, "--json") as twping:
        first = [twping.line() for _ in range(3)]
        code, out, _ = twping.end(signal.SIGTERM)
    assert code == 0  # SIGTERM is how a service ends
    *intervals, total = [json.loads(line) for line in (*first, *out.splitlines())]
    assert {each["type"] for each in intervals} == {"interval"}
    assert total["type"] == "total"
    sent = [each["packets"]["num-pkts-sent"] for each in intervals]
    assert total["packets"]["num-pkts-sent"] == sum(sent) > 50
    assert total["packets"]["num-pkts-lost"] == 0
    assert total["round-trip-time"]["min"] == min(
        each["round-trip-time"]["min"] for each in intervals if each["packets"]["num-pkts-received"]
    )
    assert total["begin"] == intervals[0]["begin"]
    with responder() as port:
        finite = subprocess.run(
            [sys.executable, "-m", "twamp.ping", f"127.0.0.1:{port}", "-c2", "-i0f", "--json"],
            capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=True,
        )  # fmt: skip
    of_finite = json.loads(finite.stdout)["total"]
    assert set(of_finite) - set(total) == set(), "keys of a finite run that an interval lacks"


def run_for(port: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A continuous measurement of a second."""
    return subprocess.run(
        [sys.executable, "-m", "twamp.ping", f"127.0.0.1:{port}", *QUICK, "--deadline", "1", *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False,
    )  # fmt: skip


def test_csv_is_a_head_and_rows_that_add_up() -> None:
    with responder() as port:
        ended = run_for(port, "--csv", "--session-count", "2")
        finite = run_for(port, "--csv")
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(ended.stdout)))
    assert ended.stdout.count("time,session") == 1
    assert {row["session"] for row in rows} == {"0", "1"}
    assert {row["destination"] for row in rows} == {"127.0.0.1"}
    assert sum(int(row["sent"]) for row in rows) > 50
    assert sum(int(row["lost"]) for row in rows) == 0
    assert all(int(row["rtt_p99_ns"]) > 0 for row in rows if int(row["sent"]))
    assert finite.stdout.splitlines()[0] == ended.stdout.splitlines()[0]


def test_influx_has_a_point_for_each_interval() -> None:
    with responder() as port:
        ended = run_for(port, "--influx")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert len(lines) >= 3
    for line in lines:
        assert re.fullmatch(r"twamp,destination=127\.0\.0\.1,session=0 sent=\d+i,.* \d{19}", line)


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--influx"]])
def test_a_threshold_that_the_totals_cross_is_exit_code_3(form: list[str]) -> None:
    with responder() as port:
        failed = run_for(port, "--fail", "rtt.p50>0ns", "--fail", "loss>50%", *form)
        kept = run_for(port, "--fail", "loss>50%", *form)
    assert failed.returncode == 3
    reasons = failed.stderr.splitlines()
    assert all(line.startswith("twping: failed: rtt.p50>0ns: it is ") for line in reasons)
    assert len(reasons) >= 2, "of intervals, and of the totals"
    assert (kept.returncode, kept.stderr) == (0, "")
    if form == ["--json"]:
        trees = [json.loads(line) for line in failed.stdout.splitlines()]
        judged = [tree["failed"] for tree in trees if tree["packets"]["num-pkts-received"]]
        assert judged == [["rtt.p50>0ns"]] * len(judged)
        assert trees[-1]["failed"] == ["rtt.p50>0ns"]


def test_the_totals_decide_where_one_interval_fails() -> None:
    """The first intervals have nobody to answer: all is lost in them, and little in all."""
    port = free_port()
    with Twping(f"127.0.0.1:{port}", *QUICK, "--fail", "loss>99.9%", "--json") as twping:
        first = json.loads(twping.line())
        with responder(port=port):
            received = 0
            while received < 10:
                tree = json.loads(twping.line())
                received += tree["packets"]["num-pkts-received"] if tree["measured"] else 0
            code, out, err = twping.end(signal.SIGTERM)
    assert first["failed"] == ["loss>99.9%"]
    assert json.loads(out.splitlines()[-1])["failed"] == []
    assert "twping: failed: loss>99.9%: it cannot be known: no packet was sent\n" in err
    assert code == 0


def test_without_a_server_it_says_so_and_goes_on_trying() -> None:
    with Twping(f"127.0.0.1:{free_port()}", *QUICK) as twping:
        assert "Connection refused" in twping.complaint()
        assert "nothing could be measured: [127.0.0.1]:" in twping.line()
        code, out, err = twping.end(signal.SIGTERM)
    assert code == 1
    assert err == ""
    assert "0 sent" in out


def test_a_reader_that_goes_ends_it() -> None:
    with responder() as port, Twping(f"127.0.0.1:{port}", *QUICK) as twping:
        assert twping.line()
        assert twping.process.stdout is not None
        twping.process.stdout.close()
        assert twping.process.wait(PATIENCE) == 0
        assert twping.process.stderr is not None
        assert twping.process.stderr.read() == ""


def test_loopback_and_a_file_that_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    rotation = ["--output", str(path), "--rotate-size", "4000", "--rotate-count", "2"]
    with Twping("--loopback", *QUICK, "--json", *rotation) as twping:
        oldest = Path(f"{path}.2")
        while not oldest.exists():
            assert twping.process.poll() is None
        code, out, err = twping.end(signal.SIGTERM)
    assert (code, out, err) == (0, "", "")
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["out.jsonl", "out.jsonl.1", "out.jsonl.2"]
    for file in files:
        assert file.stat().st_size <= 4000
        for line in file.read_text().splitlines():
            assert json.loads(line)["target"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--raw"], "raw: continuous keeps no single packets"),
        (["-M"], "machine: continuous keeps no single packets"),
        (["--csv", "--bin", "1"], "bin: continuous has a row for each interval"),
        (["-i", "0f"], "interval: '0f' never waits"),
        (["--output", "/no/such/directory/x"], "No such file or directory"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ping.main(["--loopback", *QUICK, *arguments]) == 1
    assert message in capsys.readouterr().err


def test_what_needs_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for option in (["--output", "x"], ["--metrics-address", "127.0.0.1"]):
        assert ping.main(["--loopback", *option]) == 1
        assert "is for continuous measurements; give --continuous, too" in capsys.readouterr().err


# ---- --config ------------------------------------------------------------------------------------


def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def configured(tmp_path: Path, port: int) -> tuple[Path, tuple[str, int]]:
    """A file of two targets, one of which does not answer, and where its metrics are."""
    metrics = ("127.0.0.1", free_port())
    path = tmp_path / "targets.toml"
    path.write_text(
        f"""
        report-interval = 0.3
        loss-timeout = 0.2
        port-range = "0"
        metrics-address = "127.0.0.1:{metrics[1]}"

        [module.quick]
        interval = "0.005f"
        count = 20

        [module.slow]
        interval = "0.02f"

        [target.here]
        host = "127.0.0.1:{port}"
        module = "quick"
        session-count = 2

        [target.nowhere]
        host = "127.0.0.1"
        port = {free_port()}

        [probe]
        allow = ["127.0.0.2/32"]
        """
    )
    return path, metrics


def test_many_targets_and_their_metrics(tmp_path: Path) -> None:
    with responder() as port:
        path, metrics = configured(tmp_path, port)
        with Twping("--config", str(path)) as twping:
            twping.line_with(" nowhere: nothing could be measured: ")
            twping.line_with(" here: .* sent, 0 lost")
            text = metrics_beyond(twping, metrics, packets=20)
            probes = {
                (target, module): get(metrics, f"/probe?target={target}&module={module}")
                for target, module in (
                    ("here", "quick"),
                    (f"127.0.0.1:{port}", "quick"),
                    ("nowhere", "slow"),
                    ("127.0.0.2", "quick"),
                    ("127.0.0.3", "quick"),
                    (f"127.0.0.2:{port}", "quick"),
                    ("here", "none"),
                )
            }
            assert get(metrics, "/probe?target=here")[0] == 400
            assert get(metrics, "/probe?target=here&target=x&module=quick")[0] == 400
            assert get(metrics, "/other")[0] == 404
            code, out, _ = twping.end(signal.SIGTERM)
    assert code == 0
    assert "--- twping totals of nowhere ---" in out
    require_metrics(text)
    require_probes(probes, port)


def metrics_beyond(twping: Twping, address: tuple[str, int], packets: int) -> str:
    """The metrics, once a further interval has shown that more ``packets`` were answered."""
    while True:
        status, text = get(address, "/metrics")
        assert status == 200
        if (
            samples(text)["twamp_rtt_seconds_count", (("session", "0"), ("target", "here"))]
            > packets
        ):
            return text
        assert twping.line(), "it has ended"


def require_metrics(text: str) -> None:
    found = samples(text)
    here = [("session", "0"), ("target", "here")]
    assert found["twamp_packets_sent_total", tuple(here)] > 20
    assert found["twamp_rtt_seconds_count", tuple(here)] > 20
    assert found["twamp_rtt_seconds_bucket", (("le", "+Inf"), *here)] > 20
    assert found["twamp_packets_lost_total", (("direction", "forward"), *here)] == 0
    assert ("twamp_hops", (("direction", "reverse"), *here)) in found
    variation = (("direction", "round_trip"), ("method", "p95_p50"), *here)
    assert found["twamp_delay_variation_seconds", variation] > 0
    assert found["twamp_target_connected", (("target", "here"),)] == 1
    assert found["twamp_target_connected", (("target", "nowhere"),)] == 0
    assert not re.search(r"[0-9a-f]{32}", text), "a SID in the metrics"


def require_probes(probes: dict[tuple[str, str], tuple[int, str]], port: int) -> None:
    statuses = [status for status, _ in probes.values()]
    assert statuses == [200, 200, 200, 200, 403, 403, 400]
    for name in ("here", f"127.0.0.1:{port}"):
        probed = samples(probes[name, "quick"][1])
        assert probed["probe_success", ()] == 1
        assert probed["twamp_packets_sent_total", ()] == 20
        assert probed["twamp_packets_received_total", ()] == 20
        assert 0 < probed["probe_duration_seconds", ()] < 10
    for target, module in (("nowhere", "slow"), ("127.0.0.2", "quick")):
        probed = samples(probes[target, module][1])
        assert probed["probe_success", ()] == 0
        assert ("twamp_packets_sent_total", ()) not in probed


def test_a_file_with_nothing_to_do_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "targets.toml"
    path.write_text("report-interval = 10\n")
    assert ping.main(["--config", str(path)]) == 1
    assert "there is nothing to do" in capsys.readouterr().err
    assert ping.main(["--config", str(path), "192.0.2.1"]) == 1
    assert "the targets are in the file" in capsys.readouterr().err
    path.write_text('[target.x]\nhost = "192.0.2.1:99999"\n')
    assert ping.main(["--config", str(path)]) == 1
    assert "port 99999 is out of range" in capsys.readouterr().err
