"""Incidents belong to a session, so of its parts the last alone has them."""

from dataclasses import replace

from tests.support.sessions import a_measurement, a_sample
from twamp.metrics.cut import by_packets
from twamp.metrics.incidents import NO_INCIDENTS, Incidents
from twamp.metrics.measure import Results, measure


def test_without_incidents_every_packet_was_measured() -> None:
    assert measure(a_measurement([a_sample(0)])).not_measured == 0
    assert Results.of([a_measurement([a_sample(0)])]).ended == ""


def test_the_last_part_has_the_incidents() -> None:
    incidents = Incidents(ended="the Server has gone", not_measured=3)
    session = replace(a_measurement([a_sample(n) for n in range(4)]), incidents=incidents)
    assert [part.incidents for part in by_packets(session, 2)] == [NO_INCIDENTS, incidents]
    assert Results.of([session, session]).total.not_measured == 6
    assert Results.of([session]).ended == "the Server has gone"
