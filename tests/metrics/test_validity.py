"""Validity: what cannot be true is counted, of exact figures and of tallies alike."""

from collections.abc import Callable, Sequence
from random import Random

import pytest

from tests.support.sessions import FREE_RUNNING, MS, a_measurement, a_sample, eventful, lost
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import measure
from twamp.metrics.sample import Sample
from twamp.metrics.tally import SessionFold, Tally
from twamp.metrics.validity import Validity


def exact(samples: Sequence[Sample]) -> Metrics:
    return measure(a_measurement(samples))


def tallied(samples: Sequence[Sample]) -> Metrics:
    measurement = a_measurement(samples)
    tally, fold = Tally(), SessionFold(measurement.loss_timeout_ns)
    fold.add(measurement.samples, tally)
    fold.finish(tally)
    return tally.metrics()


def at(number: int, *times_ns: int, **changes: int) -> Sample:
    t1, t2, t3, t4 = (number * 10 * MS + time_ns for time_ns in times_ns)
    return a_sample(number, (t1, t2, t3, t4), **changes)


GOOD = (0, 2 * MS, 3 * MS, 6 * MS)
MetricsOf = Callable[[Sequence[Sample]], Metrics]
both = pytest.mark.parametrize("metrics_of", [exact, tallied])


@both
def test_a_healthy_session_has_no_doubt(metrics_of: MetricsOf) -> None:
    for samples in ([at(0, *GOOD)], lost().samples, eventful().samples, []):
        validity = Validity.of(metrics_of(samples))
        assert (validity.delays, validity.one_way, validity.lines()) == ("", "", [])


@pytest.mark.parametrize(
    ("times", "line"),
    [
        ((0, 2 * MS, 13 * MS, 6 * MS), "1 of 3 round trips are negative: the reflector's"),
        ((0, 2 * MS, 1 * MS, 6 * MS), "1 of 3 residences in the reflector are negative"),
        ((0, 2 * MS, 3 * MS, -1), "1 of 3 round trips are negative: the clock of this host"),
        ((0, MS, 0, -1), "1 of 3 replies came before their packets left: the clock of this"),
    ],
)
@both
def test_what_is_impossible_is_counted_and_blamed(
    metrics_of: MetricsOf, times: tuple[int, ...], line: str
) -> None:
    metrics = metrics_of([at(0, *GOOD), at(1, *times), at(2, *GOOD)])
    validity = Validity.of(metrics)
    assert any(each.startswith(line) for each in validity.lines()), validity.lines()
    assert line in validity.delays


@both
def test_a_timestamp_of_zero_is_no_time(metrics_of: MetricsOf) -> None:
    good, more = at(0, *GOOD), at(3, *GOOD)
    metrics = metrics_of([good, at(1, *GOOD, t2=0), at(2, *GOOD, t3=0), more])
    assert (metrics.received, metrics.lost, metrics.unstamped) == (4, 0, 2)
    assert metrics.round_trip.delay.count == metrics.processing.count == 2
    assert metrics.round_trip.delay.maximum == 5 * MS
    assert metrics.round_trip.ipdv.count == 0
    assert metrics.send_hops.counts == {5: 4}
    validity = Validity.of(metrics)
    assert validity.delays == ""
    [line] = validity.lines()
    assert line.startswith("2 of 4 replies have a timestamp of 0, and so no delays")


@both
def test_without_any_timestamp_no_delay_is_known(metrics_of: MetricsOf) -> None:
    metrics = metrics_of([at(0, *GOOD, t2=0)])
    assert metrics.round_trip.delay.median is None
    assert metrics.synchronized is False
    validity = Validity.of(metrics)
    assert "1 of 1 replies have a timestamp of 0" in validity.delays
    assert validity.one_way == ""


@both
def test_one_way_delays_need_clocks_that_agree(metrics_of: MetricsOf) -> None:
    for changes, doubt in (
        ({"sender_error_estimate": FREE_RUNNING}, "the sender's clock is not synchronised"),
        ({"reflector_error_estimate": FREE_RUNNING}, "the reflector's clock is not synchronised"),
    ):
        validity = Validity.of(metrics_of([at(0, *GOOD, **changes)]))
        assert (validity.one_way, validity.delays) == (doubt, "")
    apart = metrics_of([at(0, 0, 9 * MS, 10 * MS, 6 * MS)])
    assert "so the clocks differ" in Validity.of(apart).one_way


def test_tallies_count_what_exact_figures_count() -> None:
    random = Random(3)
    for _ in range(50):
        samples = [
            at(
                number,
                *(random.randrange(-MS, 5 * MS) for _ in range(4)),
                **({"t2": 0} if random.random() < 0.1 else {}),
            )
            for number in range(40)
        ]
        assert Validity.of(tallied(samples)) == Validity.of(exact(samples))
