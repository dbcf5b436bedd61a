"""Thresholds: read, refused, and crossed when a naive look at the figures says so."""

import json
import operator
from fractions import Fraction

import pytest

from tests.support.sessions import a_measurement, eventful
from twamp.config.ping import PingConfig
from twamp.errors import ConfigError
from twamp.metrics.measure import measure
from twamp.metrics.threshold import COUNTS, DELAYS, STATISTICS, parse_threshold
from twamp.ping.__main__ import main

METRICS = measure(eventful())
NOTHING = measure(a_measurement([]))


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("comparison", [">", ">=", "<", "<="])
def test_counts_are_compared_as_they_are_and_as_shares(name: str, comparison: str) -> None:
    count = COUNTS[name](METRICS)
    compare = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}[comparison]
    for limit in range(5):
        threshold = parse_threshold(f"{name}{comparison}{limit}")
        assert threshold.is_crossed(METRICS) is compare(count, limit)
        share = parse_threshold(f"{name}{comparison}{limit * 10}%")
        assert share.is_crossed(METRICS) is compare(count * 10, limit * METRICS.sent)


@pytest.mark.parametrize("kind", DELAYS)
@pytest.mark.parametrize("statistic", [*STATISTICS, "p50", "p99", "p99.9", "p0", "p100"])
def test_delays_are_compared_in_every_unit(kind: str, statistic: str) -> None:
    for variation in ("", "pdv.", "ipdv."):
        name = f"{kind}.{variation}{statistic}"
        exact = parse_threshold(f"{name}>0ns").figure(METRICS)
        assert exact is not None
        assert parse_threshold(f"{name} >= {max(exact, 0)} ns").is_crossed(METRICS) is (exact >= 0)
        for unit, ns in (("ns", 1), ("us", 1000), ("ms", 10**6), ("s", 10**9)):
            for limit in ("0", "0.5", "7", "40"):
                threshold = parse_threshold(f"{name}>{limit}{unit}")
                assert threshold.is_crossed(METRICS) is (exact > Fraction(limit) * ns)


def test_the_figures_are_those_of_the_metrics() -> None:
    delay = METRICS.round_trip
    for text, value in (
        ("rtt.p95>0ns", delay.delay.percentile(95)),
        ("rtt.jitter>0ns", delay.delay.p95_p50),
        ("rtt.pdv.p90>0ns", delay.pdv.percentile(90)),
        ("rtt.ipdv.max>0ns", delay.ipdv.maximum),
        ("forward.mean>0ns", METRICS.send.delay.mean),
        ("reverse.min>0ns", METRICS.reflect.delay.minimum),
    ):
        assert parse_threshold(text).figure(METRICS) == value


@pytest.mark.parametrize("text", ["rtt.p99>1s", "rtt.p99<1s", "forward.max>=100s", "loss>1%"])
def test_where_nothing_came_back_no_delay_is_right(text: str) -> None:
    assert parse_threshold(text).is_crossed(NOTHING)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "of the form"),
        ("loss", "of the form"),
        ("loss=1", "of the form"),
        ("loss>-1", "of the form"),
        ("loss>1ms", "loss is a count, or a share with %"),
        ("rtt.p99>5", "it takes a unit of ns, us, ms, s"),
        ("rtt.p99>5%", "it takes a unit"),
        ("rtt.p101>5ms", "there is no figure 'rtt.p101'; there are loss"),
        ("rtt..p99>5ms", "there is no figure"),
        ("rtt>5ms", "there is no figure 'rtt'"),
        ("there.p99>5ms", "there is no figure"),
    ],
)
def test_what_is_no_threshold_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=r"^fail: ") as caught:
        PingConfig(fail=(text,))  # type: ignore[arg-type]
    assert complaint in str(caught.value)


# ---- twping

RUN = ("--loopback", "-c", "20", "-i", "0.001f", "-L", "0.2")


def test_the_exit_code_is_the_judgement(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = ("--fail", "rtt.p99>100s"), ("--fail", "rtt.min>1ns", "--fail", "loss<1%")
    assert main([*RUN, "-Q", *good]) == 0
    assert main([*RUN, "-Q", *good, *bad]) == 3
    assert capsys.readouterr().err == ("twping: failed: rtt.min>1ns\ntwping: failed: loss<1%\n")


def test_json_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--json", "--fail", "loss>1%", "--fail", "rtt.max > 1ns"]) == 3
    tree = json.loads(capsys.readouterr().out)
    assert tree["failed"] == ["rtt.max > 1ns"]
    assert tree["configuration"]["fail"] == ["loss>1%", "rtt.max > 1ns"]


@pytest.mark.parametrize(
    "options", [("--raw",), ("--plot",), ("--verbose",), ("--json", "--samples"), ("-p",)]
)
def test_what_has_no_end_cannot_be_told_whole(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--loopback", "--continuous", *options]) == 1
    assert "leave one of the two out" in capsys.readouterr().err.replace("\n", " ")
