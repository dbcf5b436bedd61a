"""Thresholds: read, refused, and crossed when a naive look at the figures says so."""

import json
import operator
import re
from fractions import Fraction

import pytest

from tests.support.sessions import FREE_RUNNING, MS, a_measurement, a_sample, eventful
from twamp.config.ping import PingConfig
from twamp.errors import ConfigError
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import measure
from twamp.metrics.threshold import COUNTS, DELAYS, STATISTICS, Threshold, crossed, parse_threshold
from twamp.ping.__main__ import main

METRICS = measure(eventful())
NOTHING = measure(a_measurement([]))


def is_crossed(threshold: Threshold) -> bool:
    return threshold.judge(METRICS) is not None


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("comparison", [">", ">=", "<", "<="])
def test_counts_are_compared_as_they_are_and_as_shares(name: str, comparison: str) -> None:
    count = COUNTS[name](METRICS)
    compare = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}[comparison]
    for limit in range(5):
        threshold = parse_threshold(f"{name}{comparison}{limit}")
        assert is_crossed(threshold) is compare(count, limit)
        share = parse_threshold(f"{name}{comparison}{limit * 10}%")
        assert is_crossed(share) is compare(count * 10, limit * METRICS.sent)


@pytest.mark.parametrize("kind", DELAYS)
@pytest.mark.parametrize("statistic", [*STATISTICS, "p50", "p99", "p99.9", "p0", "p100"])
def test_delays_are_compared_in_every_unit(kind: str, statistic: str) -> None:
    for variation in ("", "pdv.", "ipdv."):
        name = f"{kind}.{variation}{statistic}"
        exact = parse_threshold(f"{name}>0ns").figure(METRICS)
        assert exact is not None
        assert is_crossed(parse_threshold(f"{name} >= {max(exact, 0)} ns")) is (exact >= 0)
        for unit, ns in (("ns", 1), ("us", 1000), ("ms", 10**6), ("s", 10**9)):
            for limit in ("0", "0.5", "7", "40"):
                threshold = parse_threshold(f"{name}>{limit}{unit}")
                assert is_crossed(threshold) is (exact > Fraction(limit) * ns)


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
    assert parse_threshold(text).judge(NOTHING) is not None


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


# ---- what cannot be known


def one(*times_ns: int, **changes: int) -> Metrics:
    return measure(a_measurement([a_sample(0, times_ns, **changes)]))  # type: ignore[arg-type]


FREE = one(0, 2 * MS, 3 * MS, 6 * MS, reflector_error_estimate=FREE_RUNNING)
APART = one(0, 9 * MS, 10 * MS, 6 * MS)
NEGATIVE = one(0, 2 * MS, 9 * MS, 6 * MS)


def failures(metrics: Metrics, *texts: str, trust_clocks: bool = False) -> list[str]:
    return [
        str(failure)
        for failure in crossed(map(parse_threshold, texts), metrics, trust_clocks=trust_clocks)
    ]


@pytest.mark.parametrize("metrics", [FREE, APART])
def test_without_clocks_that_agree_no_one_way_delay_is_judged(metrics: Metrics) -> None:
    one_way = ("forward.p99>99s", "reverse.min<9s", "forward.mean>99s")
    assert len(failures(metrics, *one_way)) == 3
    for line in failures(metrics, *one_way):
        assert ": it cannot be known: " in line
        assert line.endswith("; --trust-clocks judges it all the same")
    assert failures(metrics, "forward.p99>99s", trust_clocks=True) == []
    known = ("rtt.max>99s", "forward.pdv.p99>99s", "reverse.pdv.max>99s", "forward.jitter>99s")
    assert failures(metrics, *known) == []


@pytest.mark.parametrize("trust_clocks", [False, True])
def test_impossible_times_are_judged_by_nothing(trust_clocks: bool) -> None:
    for text in ("rtt.max>1ms", "forward.pdv.max>9s", "reverse.min<1ms", "rtt.jitter>1ms"):
        [line] = failures(NEGATIVE, text, trust_clocks=trust_clocks)
        assert "cannot be known: 1 of 1 round trips are negative: the reflector's" in line
    assert failures(NEGATIVE, "loss>0", "duplicates>0") == []


def test_a_failure_says_what_was_found() -> None:
    assert failures(METRICS, "loss>1%", "loss>3", "rtt.min>4ms", "rtt.min>0.001s") == [
        "loss>1%: it is 40%",
        "loss>3: it is 4",
        "rtt.min>4ms: it is 5ms",
        "rtt.min>0.001s: it is 0.005s",
    ]


# ---- twping

RUN = ("--loopback", "-c", "20", "-i", "0.001f", "-L", "0.2")


def test_the_exit_code_is_the_judgement(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = ("--fail", "rtt.p99>100s"), ("--fail", "rtt.min>1ns", "--fail", "loss<1%")
    assert main([*RUN, "-Q", *good]) == 0
    assert main([*RUN, "-Q", *good, *bad]) == 3
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"twping: failed: rtt\.min>1ns: it is \d+ns", first)
    assert second == "twping: failed: loss<1%: it is 0%"


def test_json_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--json", "--fail", "loss>1%", "--fail", "rtt.max > 1ns"]) == 3
    tree = json.loads(capsys.readouterr().out)
    assert tree["failed"] == ["rtt.max > 1ns"]
    assert tree["failed-because"][0].startswith("rtt.max > 1ns: it is ")
    assert tree["configuration"]["fail"] == ["loss>1%", "rtt.max > 1ns"]


@pytest.mark.parametrize(
    "options", [("--raw",), ("--plot",), ("--verbose",), ("--json", "--samples"), ("-p",)]
)
def test_what_has_no_end_cannot_be_told_whole(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--loopback", "--continuous", *options]) == 1
    assert "leave one of the two out" in capsys.readouterr().err.replace("\n", " ")
