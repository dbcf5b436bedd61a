"""Replays the fuzzing corpus, and does a little fuzzing from it with a fixed seed."""

from collections import Counter
from random import Random

import pytest

from tests.fuzz import Entry, entries
from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS, Target, message_target
from twamp.errors import RemoteProtocolError
from twamp.protocol.control_messages import StopSessions

CORPUS = entries()
SINGLE = [what for what in TARGETS if not what.endswith("_stream")]
ROUNDS = 1000


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: "_".join(entry[:3]))
def test_the_verdict_in_the_name_of_each_file_holds(entry: Entry) -> None:
    target = TARGETS[entry.what]
    if entry.verdict == "malformed":
        with pytest.raises(RemoteProtocolError):
            target(entry.octets)
        return
    outcome = target(entry.octets)
    if entry.verdict == "valid" and entry.what in SINGLE:
        assert outcome == entry.octets


@pytest.mark.parametrize("what", TARGETS)
def test_there_is_a_file_of_every_verdict_for_every_target(what: str) -> None:
    verdicts = {entry.verdict for entry in CORPUS if entry.what == what}
    assert verdicts == {"valid", "edge", "malformed"}


def fuzz(what: str, target: Target) -> Counter[str]:
    random = Random(what)
    everything = [entry.octets for entry in CORPUS]
    seeds = [entry.octets for entry in CORPUS if entry.what == what]
    hits: Counter[str] = Counter()
    for _ in range(ROUNDS):
        try:
            target(mutate(random, random.choice(seeds), everything))
            hits["understood"] += 1
        except RemoteProtocolError:
            hits["refused"] += 1
    return hits


@pytest.mark.parametrize("what", TARGETS)
def test_damaged_octets_are_understood_or_refused_and_nothing_else(what: str) -> None:
    hits = fuzz(what, TARGETS[what])
    assert min(hits["understood"], hits["refused"]) >= ROUNDS // 50, hits


def test_a_planted_bug_is_found() -> None:
    def trips_over_a_bit(octets: bytes) -> object:
        message = StopSessions.parse(octets)
        if message.number_of_sessions & 1 << 31:
            raise OverflowError("planted")
        return message_target(StopSessions)(octets)

    with pytest.raises(OverflowError, match="planted"):
        fuzz("stop_sessions", trips_over_a_bit)
