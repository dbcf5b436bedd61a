"""A report interval: its results are those of its tallies, and it grows by what comes after it."""

from random import Random

from tests.metrics.test_tally import a_session, fold
from twamp.metrics.interval import ReportInterval
from twamp.metrics.measure import measure
from twamp.metrics.tally import Tally


def an_interval(seed: int, begin_ns: int = 0, sessions: int = 2) -> ReportInterval:
    """Measured for half a second of one; every session's packets are those of the seed."""
    random = Random(seed)
    interval = ReportInterval("target", begin_ns, [Tally() for _ in range(sessions)])
    for tally in interval.tallies:
        fold(a_session(random, 50), [tally], random)
    interval.end_ns, interval.measured_ns = begin_ns + 10**9, 5 * 10**8
    return interval


def test_results_are_of_each_session_and_of_all() -> None:
    interval = an_interval(1)
    results = interval.results()
    assert [one.sent for one in results.metrics] == [tally.sent for tally in interval.tallies]
    assert results.total.sent == interval.tally.sent == sum(one.sent for one in results.metrics)
    assert results.total.round_trip.delay.mean == interval.tally.round_trip.delay.mean
    assert not results.measurements


def test_pdv_of_several_sessions_is_taken_within_each() -> None:
    """As of a finite run: each delay less its own session's least."""
    random = Random(5)
    sessions, tallies = [a_session(random, 50) for _ in range(3)], [Tally() for _ in range(3)]
    for session, tally in zip(sessions, tallies, strict=True):
        fold(session, [tally], random)
    expected = measure(*sessions).send.pdv
    found = ReportInterval("target", 0, tallies).results().total.send.pdv
    assert found.count == expected.count
    assert (found.minimum, found.maximum) == (expected.minimum, expected.maximum)
    assert found.mean == expected.mean
    assert found.standard_deviation == expected.standard_deviation


def test_one_session_is_the_total() -> None:
    results = an_interval(2, sessions=1).results()
    assert results.metrics[0] is results.total


def test_merging_goes_on_until_the_end_of_the_other() -> None:
    first, second = an_interval(3), an_interval(4, begin_ns=10**9)
    sent = first.tally.sent + second.tally.sent
    second.reason = "no route"
    first.merge(second)
    assert (first.begin_ns, first.end_ns, first.measured_ns) == (0, 2 * 10**9, 10**9)
    assert (first.tally.sent, first.reason) == (sent, "no route")


def test_nothing_was_measured_without_sessions_or_packets() -> None:
    interval = ReportInterval("target", 0, [Tally()])
    assert not interval.measured
    interval.measured_ns = 1
    assert interval.measured
