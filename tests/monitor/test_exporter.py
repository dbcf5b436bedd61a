"""twping's metrics: what is in a tally is what Prometheus reads."""

import json
import re
import shutil
import subprocess
from decimal import Decimal
from importlib.resources import files

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.conftest import NOT_TESTED
from tests.support.sessions import FREE_RUNNING, TIMEOUT, a_sample
from twamp.metrics.sample import Sample
from twamp.metrics.tally import SessionFold, Tally
from twamp.monitor.exporter import (
    BOUNDS_NS,
    SessionFigures,
    TargetState,
    bounds_of,
    target_families,
)

MS = 1_000_000
LABELS = {"target": "paris", "session": "0"}


def a_tally() -> Tally:
    tally = Tally(
        sent=100, received=90, late=1, forward=2, reverse=3, unknown=4, reordered=5,
        send_duplicates=6, reflect_duplicates=7, stalls=8,
    )  # fmt: skip
    for value in (MS, 2 * MS, 2 * MS, 30_000 * MS):
        tally.round_trip.delay.add(value)
    for value in (-MS, 3 * MS):
        tally.send.delay.add(value)
    tally.known_send.add(3 * MS)
    tally.send_hops.update({3: 10, 4: 80})
    tally.reflect_hops.update({0: 90})
    tally.t1_sources.update({"kernel": 98, "hardware": 2})
    tally.t4_sources.update({"kernel": 90})
    return tally


def text_of(targets: list[TargetState]) -> str:
    class Given(Collector):
        def collect(self) -> list[Metric]:
            return list(target_families(targets))

    registry = CollectorRegistry()
    registry.register(Given())
    return generate_latest(registry).decode()


@pytest.fixture
def text() -> str:
    session = SessionFigures(labels=LABELS, totals=a_tally(), last=a_tally())
    silent = SessionFigures(labels={"target": "rome", "session": "0"}, totals=Tally(), last=None)
    return text_of(
        [
            TargetState(target="paris", is_open=True, connections=2, sessions=[session]),
            TargetState(target="rome", is_open=False, connections=0, sessions=[silent]),
        ]
    )


def value(text: str, name: str, **labels: str) -> float:
    [found] = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def test_counters_and_gauges_are_those_of_the_tally(text: str) -> None:
    for name, expected in (
        ("twamp_packets_sent_total", 100),
        ("twamp_packets_received_total", 90),
        ("twamp_packets_duplicate_total", 13),
        ("twamp_packets_reordered_total", 5),
        ("twamp_sender_stalls_total", 8),
    ):
        assert value(text, name, **LABELS) == expected
    lost = {"late": 1, "forward": 2, "reverse": 3, "unknown": 4}
    for direction, expected in lost.items():
        assert value(text, "twamp_packets_lost_total", **LABELS, direction=direction) == expected
    for point, source, packets in (
        ("T1", "kernel", 98), ("T1", "hardware", 2), ("T1", "user", 0), ("T4", "kernel", 90),
    ):  # fmt: skip
        stamps = {**LABELS, "point": point, "source": source}
        assert value(text, "twamp_timestamp_packets_total", **stamps) == packets
    assert value(text, "twamp_hops", **LABELS, direction="forward") == 4
    assert value(text, "twamp_hops", **LABELS, direction="reverse") == 0
    assert value(text, "twamp_target_connected", target="paris") == 1
    assert value(text, "twamp_target_connections_total", target="paris") == 2
    assert value(text, "twamp_target_connected", target="rome") == 0


def test_delays_are_histograms_in_seconds(text: str) -> None:
    def bucket(le: str) -> float:
        return value(text, "twamp_rtt_seconds_bucket", **LABELS, le=le)

    assert [bucket(le) for le in ("0.0005", "0.001", "0.002", "10.0", "+Inf")] == [0, 1, 3, 3, 4]
    assert value(text, "twamp_rtt_seconds_count", **LABELS) == 4
    assert value(text, "twamp_rtt_seconds_sum", **LABELS) == pytest.approx(30.005)
    forward = {**LABELS, "direction": "forward"}
    assert value(text, "twamp_delay_seconds_bucket", **forward, le="0.005") == 1
    assert value(text, "twamp_delay_seconds_sum", **forward) == pytest.approx(0.003)
    assert 'direction="reverse",le' not in text
    assert len(BOUNDS_NS) == 19


def folded(*samples: Sample) -> Tally:
    tally, fold = Tally(), SessionFold(TIMEOUT)
    fold.add(samples, tally)
    return tally


def scraped(tally: Tally, *, trust_clocks: bool = False) -> str:
    session = SessionFigures(labels=LABELS, totals=tally, last=tally, trust_clocks=trust_clocks)
    return text_of([TargetState(target="paris", is_open=True, connections=1, sessions=[session])])


GOOD = (0, 2 * MS, 3 * MS, 6 * MS)
AWAY = (0, 3_600_000 * MS, 3_600_000 * MS, 6 * MS)


@pytest.mark.parametrize(
    ("sample", "ends"),
    [
        (a_sample(0, GOOD, sender_error_estimate=FREE_RUNNING), (0, 1)),
        (a_sample(0, GOOD, reflector_error_estimate=FREE_RUNNING), (1, 0)),
        (a_sample(0, AWAY), (1, 1)),
    ],
)
def test_one_way_delays_that_are_not_known_are_counted_nowhere(
    sample: Sample, ends: tuple[int, int]
) -> None:
    text = scraped(folded(sample))
    assert "twamp_delay_seconds_bucket{" not in text
    assert value(text, "twamp_one_way_known", **LABELS) == 0
    for end, expected in zip(("sender", "reflector"), ends, strict=True):
        assert value(text, "twamp_clock_synchronized", **LABELS, end=end) == expected
    assert value(text, "twamp_rtt_seconds_count", **LABELS) == 1
    assert "twamp_delay_seconds_bucket{" in scraped(folded(sample), trust_clocks=True)


def test_buckets_can_be_chosen() -> None:
    bounds_ns = bounds_of((Decimal("0.0045"), Decimal("0.005")))
    tally = folded(a_sample(0, GOOD))
    session = SessionFigures(labels=LABELS, totals=tally, last=tally, bounds_ns=bounds_ns)
    text = text_of([TargetState(target="p", is_open=True, connections=1, sessions=[session])])
    found = [value(text, "twamp_rtt_seconds_bucket", **LABELS, le=le) for le in ("0.0045", "0.005")]
    assert found == [0, 1]
    assert text.count("twamp_rtt_seconds_bucket{") == 3
    assert bounds_of(()) == BOUNDS_NS


def test_a_sum_never_falls_whatever_the_times_are() -> None:
    good, wrong = a_sample(0, GOOD), a_sample(1, (0, 2 * MS, 90 * MS, 6 * MS))
    before, after = scraped(folded(good)), scraped(folded(good, wrong))
    for name in ("count", "sum"):
        for family, labels in (
            ("twamp_rtt_seconds", LABELS),
            ("twamp_delay_seconds", {**LABELS, "direction": "forward"}),
        ):
            was, now = (value(text, f"{family}_{name}", **labels) for text in (before, after))
            assert 0 < was <= now
    impossible = {**LABELS, "what": "negative_round_trip"}
    assert value(before, "twamp_packets_impossible_total", **impossible) == 0
    assert value(after, "twamp_packets_impossible_total", **impossible) == 1
    assert value(before, "twamp_one_way_known", **LABELS) == 1
    assert value(after, "twamp_one_way_known", **LABELS) == 0


def test_variation_names_its_method(text: str) -> None:
    for method, expected in (("p95_p50", 29.998), ("pdv_p99", 29.999)):
        found = value(
            text, "twamp_delay_variation_seconds", **LABELS, direction="round_trip", method=method
        )
        assert found == pytest.approx(expected, rel=0.001)


def test_what_was_not_measured_has_no_gauge(text: str) -> None:
    families = text_string_to_metric_families(text)
    gauges = [
        sample
        for family in families
        for sample in family.samples
        if sample.name in ("twamp_hops", "twamp_delay_variation_seconds")
    ]
    assert gauges
    assert all(sample.labels["target"] == "paris" for sample in gauges)


def test_the_dashboard_shows_what_there_is(text: str) -> None:
    dashboard = json.loads(files("twamp").joinpath("data/grafana/twping.json").read_text())
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    known = {sample.name for sample in found}
    labels = {label for sample in found for label in sample.labels}
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ] + [
        variable["query"]["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    for expression in expressions:
        names = re.findall(r"\btwamp_\w+", expression)
        assert names, expression
        assert set(names) <= known, expression
    used = re.findall(r"\b(?:by|on) \(([^)]*)\)", " ".join(expressions))
    assert {label.strip() for some in used for label in some.split(",")} <= labels
    shown = {name for expression in expressions for name in re.findall(r"twamp_\w+", expression)}
    assert known - shown == {"twamp_rtt_seconds_count", "twamp_rtt_seconds_sum"} | {
        "twamp_delay_seconds_bucket",
        "twamp_timestamp_packets_total",
    }


@pytest.mark.skipif(shutil.which("promtool") is None, reason=f"{NOT_TESTED}: no promtool")
def test_promtool_finds_no_fault(text: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
