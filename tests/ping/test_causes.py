"""What is said of packets that did not come back: by ICMP, by dropped replies, or by nothing at all."""

import errno
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from tests.support.sessions import a_measurement, lost
from twamp.endpoint import Endpoint
from twamp.metrics.incidents import Incidents
from twamp.metrics.measure import Results
from twamp.metrics.sample import Measurement
from twamp.ping.causes import remarks, silence

ROUTER = Endpoint(ip_address("192.0.2.254"), 0)
ELSEWHERE = Endpoint(ip_address("203.0.113.10"), 8902)


def results(measurement: Measurement | None = None, **incidents: Any) -> Results:
    measurement = lost() if measurement is None else measurement
    return Results.of([replace(measurement, incidents=Incidents(**incidents))])


def test_the_firewall_is_asked_about_when_nothing_came_at_all() -> None:
    assert silence(results()) == (
        "none of 3 packets came back; does a firewall or NAT stop UDP to [192.0.2.2]:18760 or back? "
        "Through a NAT, try -Z (--zero-addresses)"
    )
    assert list(remarks(results())) == []


def test_long_packets_may_be_too_big_for_the_path() -> None:
    assert "too big for the path?" in silence(results(replace(lost(), padding_length=1450)))


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("foreign", "dropped: foreign, from [203.0.113.10]:8902; if another address or port"),
        ("error_estimate", "dropped: error_estimate; --zero-error-estimate accept takes them"),
        ("hmac", "both ends must use the keys"),
        ("sequence", "3 replies came and were dropped: sequence"),
    ],
)
def test_replies_that_came_are_not_blamed_on_a_firewall(reason: str, said: str) -> None:
    dropped = replace(lost(), drops={reason: 3})
    text = silence(results(dropped, foreign=ELSEWHERE))
    assert text.startswith("3 replies came and were dropped")
    assert said in text
    assert "firewall" not in text


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "too_big",
            "2 packets were too big for the path (its MTU is 1400), says ICMP from 192.0.2.254",
        ),
        ("port_unreachable", "2 times ICMP from 192.0.2.254 said port unreachable; nobody answers"),
        ("prohibited", "a firewall there forbids"),
        ("unreachable", "no way to that host"),
        ("other", "traceroute"),
    ],
)
def test_icmp_is_told_whether_or_not_packets_came_back(kind: str, said: str) -> None:
    of_icmp = results(icmp={kind: 2}, icmp_source=ROUTER, path_mtu=1400)
    [remark] = remarks(of_icmp)
    assert said in remark
    assert silence(of_icmp) == "none of 3 packets came back"


def test_fragments_are_told() -> None:
    [remark] = remarks(results(path_mtu=1400, fragmented=True))
    assert "sent in fragments: the path's MTU is 1400" in remark


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EPERM, "a firewall of this host"),
        (errno.EACCES, "prohibits"),
        (errno.ENOBUFS, "No buffer"),
    ],
)
def test_packets_that_could_not_be_sent_say_why(number: int, said: str) -> None:
    unsent = a_measurement([], send_errors=5)
    text = silence(results(unsent, send_errno=number))
    assert text.startswith("no packet could be sent: ")
    assert said in text


def test_replies_without_an_estimate_are_told() -> None:
    [remark] = remarks(results(without_estimate=4))
    assert remark.startswith("4 replies had an Error Estimate of 0")
