"""The exporter: what Prometheus reads is what the ResponderState says, whatever else connects to it."""

import contextlib
import copy
import itertools
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import NOT_TESTED
from tests.support.http_client import get
from twamp.engine.statistics import COUNTERS
from twamp.errors import ConfigError
from twamp.reflector import exporter
from twamp.reflector.exporter import METRICS, Exporter
from twamp.reflector.state import Counters, PacketCounters, ResponderState, Status, engine_counter

DASHBOARD = Path(exporter.__file__).parent.parent / "data" / "grafana" / "dashboard.json"
PATIENCE = 30  # seconds after which a test gives up; none waits as long when all is well
LOOPBACK = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


def a_status() -> Status:
    """A responder that has done something; no two numbers are equal."""
    return {
        "version": "9.8.7",
        "pid": 4711,
        "state": "serving",
        "started": "2025-03-04T05:06:07Z",
        "uptime": 86400.5,
        "listening": ["[0.0.0.0]:862", "[::]:862"],
        "light": [],
        "port": 862,
        "test_ports": "49152-50175",
        "modes": ["unauthenticated", "encrypted", "mixed", "individual-session-control"],
        "mode_bits": 0b11101,
        "count": 1 << 15,
        "dscp": 46,
        "server_inactivity_timeout": 901,
        "test_inactivity_timeout": 902,
        "clock_synchronized": True,
        "connections": {"current": 11, "maximum": 1012},
        "handshaking": 13,
        "sessions": {"current": 14, "maximum": 1015},
        "reloads": 16,
        "last_reload": "2025-03-04T06:00:00Z",
        "restart_needed": ["port"],
    }


def some_packets() -> PacketCounters:
    packets = {
        "received": 10**12 + 129 + 130 + 7,  # a counter is not cut to 32 bits
        "reflected": 10**12 + 7,
        "dropped": {"too-short": 129, "unknown-session": 130, "rate": 0},
        **{name: 160 + number for number, name in enumerate(COUNTERS)},
        "timestamp_sources": {
            "T2": {"kernel": 134, "user": 135, "hardware": 0},
            "T3": {"user": 136},
        },
        "sockets": 137,
        "receive_buffer": 143,
        "t3_chunk": 1.25,
    }
    return cast("PacketCounters", packets)


def some_counters() -> Counters:
    return {
        "connections": {
            "accepted": 117,
            "established": 118,
            "ended": 119,
            "rejected": {"maximum-connections": 120, "draining": 121, "access": 0},
            "handshake_timeout": 122,
            "tokens": 144,
            "token_wait_seconds": 145.5,
        },
        "sessions": {
            "accepted": 123,
            "completed": 124,
            "aborted": 125,
            "rejected": {"temporary-resource-limitation": 126, "not-supported": 127},
        },
        "packets": some_packets(),
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
        "events": {"transmit-error": 138, "log-lost": 0},
    }


def a_state() -> ResponderState:
    return {"status": a_status(), "counters": some_counters()}


Served = Callable[..., Exporter]


@pytest.fixture
def served() -> Iterator[Served]:
    """Makes exporters that answer, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(
            read_state: Callable[[], ResponderState] = a_state, host: str = "127.0.0.1"
        ) -> Exporter:
            made = Exporter(host, 0, read_state)
            stack.callback(made.close)
            made.start()
            return made

        yield make


Key = tuple[str, frozenset[tuple[str, str]]]


def samples(text: str, parse: Callable[[str], Any] = text_string_to_metric_families) -> Any:
    found: dict[Key, float] = {}
    for family in parse(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def expected(state: ResponderState) -> dict[Key, float]:
    """The samples of a scrape of ``state``, written once more by hand."""
    return {(name, frozenset()): value for name, value in plain(state).items()} | labelled(state)


def plain(state: ResponderState) -> dict[str, float]:
    """The samples without labels."""
    status, counters = state["status"], state["counters"]
    connections, sessions = counters["connections"], counters["sessions"]
    packets = counters["packets"]
    result: dict[str, float] = {
        "twamp_server_connections": status["connections"]["current"],
        "twamp_server_connections_maximum": status["connections"]["maximum"],
        "twamp_server_connections_handshaking": status["handshaking"],
        "twamp_server_connections_accepted_total": connections["accepted"],
        "twamp_server_connections_established_total": connections["established"],
        "twamp_server_connections_ended_total": connections["ended"],
        "twamp_server_handshake_timeouts_total": connections["handshake_timeout"],
        "twamp_server_tokens_total": connections["tokens"],
        "twamp_server_token_wait_seconds_total": connections["token_wait_seconds"],
        "twamp_server_sessions": status["sessions"]["current"],
        "twamp_server_sessions_maximum": status["sessions"]["maximum"],
        "twamp_server_sessions_accepted_total": sessions["accepted"],
        "twamp_server_sessions_completed_total": sessions["completed"],
        "twamp_server_sessions_aborted_total": sessions["aborted"],
        "twamp_reflector_packets_received_total": packets["received"],
        "twamp_reflector_packets_reflected_total": packets["reflected"],
        "twamp_reflector_sockets": packets["sockets"],
        "twamp_reflector_receive_buffer_bytes": packets["receive_buffer"],
        "twamp_reflector_t3_chunk_packets": packets["t3_chunk"],
        "twamp_t3_correction_seconds": counters["t3_error"]["correction_ns"] / 1e9,
        "twamp_transmit_stamps_total": counters["t3_error"]["samples"],
        "twamp_transmit_stamps_missed_total": counters["t3_error"]["missed"],
        "twamp_transmit_stamps_early_total": counters["t3_error"]["early"],
        "twamp_clock_synchronized": 1 if status["clock_synchronized"] else 0,
        "twamp_start_time_seconds": datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp(),
        "twamp_reloads_total": status["reloads"],
    }
    for name in (
        "truncated_control",
        "refused_stamps",
        "segments_refused",
        "zero_error_estimates",
        "turns",
    ):
        result[f"twamp_reflector_{name}_total"] = engine_counter(packets, name)
    result["twamp_reflector_receive_buffer_overflows_total"] = engine_counter(packets, "overflows")
    result["twamp_reflector_packets_segmented_total"] = engine_counter(packets, "segmented")
    return result


def labelled(state: ResponderState) -> dict[Key, float]:
    """The samples with labels."""
    status, counters = state["status"], state["counters"]
    packets = counters["packets"]
    result: dict[Key, float] = {}
    for name, label, values in (
        ("twamp_server_connections_rejected_total", "reason", counters["connections"]["rejected"]),
        ("twamp_server_sessions_rejected_total", "reason", counters["sessions"]["rejected"]),
        ("twamp_server_events_total", "event", counters["events"]),
        ("twamp_reflector_packets_dropped_total", "reason", packets["dropped"]),
    ):
        for key, number in values.items():
            result[name, frozenset({(label, key)})] = number
    for name, row in (
        ("twamp_t3_error_seconds", counters["t3_error"]),
        ("twamp_receive_lag_seconds", counters["receive_lag"]),
    ):
        for percentile, ns in (
            ("50", row["p50_ns"]),
            ("99", row["p99_ns"]),
            ("100", row["max_ns"]),
        ):
            result[name, frozenset({("percentile", percentile)})] = ns / 1e9
    for path, clock in counters["clocks"].items():
        for name, figure in (
            ("twamp_phc_readable", clock["readable"]),
            ("twamp_phc_offset_seconds", clock["offset_ns"] / 1e9),
            ("twamp_phc_drift_ratio", clock["drift_ppb"] / 1e9),
            ("twamp_phc_error_seconds", clock["error_ns"] / 1e9),
        ):
            result[name, frozenset({("clock", path)})] = figure
    for point, sources in packets["timestamp_sources"].items():
        for source, number in sources.items():
            labels = frozenset({("point", point), ("source", source)})
            result["twamp_timestamp_packets_total", labels] = number
    result["twamp_build_info", frozenset({("version", status["version"])})] = 1
    return result


# ---- what is told --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COUNTERS)
def test_a_counter_of_the_engine_is_a_metric_with_its_help(name: str) -> None:
    state = a_state()
    [row] = [row for row in METRICS if row.name == f"twamp_{COUNTERS[name].metric}_total"]
    assert (row.kind, row.help) == ("counter", COUNTERS[name].help)
    assert row.read(state) == {(): engine_counter(state["counters"]["packets"], name)}


@LOOPBACK
def test_a_scrape_is_the_state(served: Served, host: str) -> None:
    address = served(host=host).address
    assert (str(address.address), address.port > 0) == (host, True)
    status, headers, text = get(address)
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert samples(text) == expected(a_state())


def test_openmetrics_says_the_same(served: Served) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    _, headers, text = get(served().address, headers=accept)
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert samples(text, openmetrics_families) == expected(a_state())


def test_each_scrape_reads_the_state_once_and_anew(served: Served) -> None:
    state = a_state()
    reads = itertools.count()

    def read_state() -> ResponderState:
        state["status"]["reloads"] = next(reads)
        state["status"]["clock_synchronized"] = False
        return copy.deepcopy(state)

    address = served(read_state).address
    for number in range(3):
        found = samples(get(address)[2])
        assert found["twamp_reloads_total", frozenset()] == number
        assert found["twamp_clock_synchronized", frozenset()] == 0


def test_nothing_of_a_single_client_is_told(served: Served) -> None:
    """Not even when the state holds it: neither addresses nor SIDs may become labels."""
    state = a_state()
    state["connections"] = [{"client": "192.0.2.77"}]  # type: ignore[typeddict-item]
    state["sessions"] = [{"sid": "c0ffee", "client": "192.0.2.77"}]  # type: ignore[typeddict-item]
    text = get(served(lambda: state).address)[2]
    assert not re.search("192[.]0[.]2[.]77|c0ffee", text)
    labels = {label for row in METRICS for label in row.labels}
    assert labels == {"reason", "event", "point", "source", "version", "percentile", "clock"}


def test_every_metric_is_described_and_typed(served: Served) -> None:
    families = list(text_string_to_metric_families(get(served().address)[2]))
    assert len(families) == len(METRICS)
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert family.type in ("gauge", "counter"), family.name


def test_the_registry_is_its_own(served: Served) -> None:
    text = get(served().address)[2]
    assert "python_info" not in text
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("twamp")]


def promtool(*arguments: str, stdin: str = "") -> tuple[int, str]:
    """The verdict of Prometheus's own tool: exit status and all that it printed."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip(f"{NOT_TESTED}: promtool (Debian's package prometheus) is not on PATH")
    command = [program, "check", *arguments]
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def test_promtool_finds_no_fault_in_the_metrics(served: Served) -> None:
    assert promtool("metrics", stdin=get(served().address)[2]) == (0, "")
    assert promtool("metrics", stdin="# TYPE a counter\na 1\n")[0] != 0


def test_promtool_can_read_the_dashboard(tmp_path: Path) -> None:
    """Its expressions, as rules; ``$__rate_interval`` and the variables are Grafana's to fill in."""
    rules = tmp_path / "rules.json"  # JSON is YAML

    def verdict(expressions: list[str]) -> tuple[int, str]:
        group = [{"record": f"a{n}", "expr": text} for n, text in enumerate(expressions)]
        rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": group}]}))
        return promtool("rules", str(rules))

    filled = [text.replace("$__rate_interval", "5m") for text in dashboard_expressions()]
    assert verdict(filled)[0] == 0, verdict(filled)[1]
    assert verdict([*filled, "rate(twamp_reloads_total)"])[0] != 0


def dashboard_expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_dashboard_shows_what_there_is(served: Served) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    found = samples(get(served().address)[2])
    known = {name for name, _ in found}
    labels = {label for _, pairs in found for label, _ in pairs} | {"instance", "job"}
    expressions = dashboard_expressions()
    queries = [
        variable["query"]["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    for expression in expressions + queries:
        names = re.findall(r"\btwamp_\w+", expression)
        assert names, expression
        assert set(names) <= known, expression
    used = re.findall(r"\bby \(([^)]*)\)", " ".join(expressions))
    assert {label.strip() for labels in used for label in labels.split(",")} <= labels
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]


# ---- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("the engine is gone"), KeyError("counters")])
def test_a_state_that_cannot_be_read_is_an_answer(
    served: Served, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    broken = True

    def read_state() -> ResponderState:
        if broken:
            raise error
        return a_state()

    address = served(read_state).address
    with caplog.at_level(logging.ERROR, logger="twamp.exporter"):
        status, _, text = get(address)
    assert (status, text) == (500, "the metrics cannot be read\n")
    assert [record.getMessage() for record in caplog.records] == [
        f"metrics cannot be read: {type(error).__name__}: {error}"
    ]
    broken = False
    assert samples(get(address)[2]) == expected(a_state())


def test_a_scrape_may_name_the_metrics_it_wants(served: Served) -> None:
    address = served().address
    assert get(address, "/metrics?name[]=twamp_reloads_total")[2].count("\n") == 3


def test_without_prometheus_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError) as caught:
        Exporter("127.0.0.1", 0, a_state)
    assert str(caught.value) == (
        "metrics-address: needs prometheus-client; pip install 'twamp[metrics]'"
    )
