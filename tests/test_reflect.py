"""The reflection: Python against recorded packets, C against Python."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import CAPTURED, VECTORS

from twamp._native import ffi, lib
from twamp.protocol.packets import ReflectorPacket, SenderPacket
from twamp.protocol.reflect import Arrival, Drop, reflect, stamp

PLAIN = [vector for vector in VECTORS["test_packets"] if vector["mode"] == "unauthenticated"]
# Of the features, those that leave the unauthenticated layouts as they are.
AS_PLAIN = [
    vector
    for vector in VECTORS["test_packet_features"]
    if vector["name"]
    in ("unauth, padding 40, truncation", "unauth, reflect-octets 10 of 40, truncation")
]


def reflect_in_c(request: bytes, arrival: Arrival) -> bytes | Drop:
    reply = ffi.new("uint8_t[]", lib.TW_PACKET_MAX)
    facts = ffi.new("struct tw_arrival *", {**arrival._asdict()})
    length = lib.tw_reflect(ffi.from_buffer(request), len(request), facts, reply)
    if length < 0:
        return {lib.TW_DROP_SHORT: Drop.SHORT, lib.TW_DROP_ERROR_ESTIMATE: Drop.ERROR_ESTIMATE}[
            -length
        ]
    return bytes(ffi.buffer(reply, length))


def stamp_in_c(reply: bytes, timestamp: int) -> bytes:
    octets = ffi.new("uint8_t[]", reply)
    lib.tw_reflect_stamp(octets, timestamp)
    return bytes(ffi.buffer(octets, len(reply)))


BOTH = pytest.mark.parametrize(
    ("reflecting", "stamping"),
    [pytest.param(reflect, stamp, id="python"), pytest.param(reflect_in_c, stamp_in_c, id="c")],
)
Reflecting = Callable[[bytes, Arrival], bytes | Drop]
Stamping = Callable[[bytes, int], bytes]


@BOTH
@pytest.mark.parametrize("vector", PLAIN + AS_PLAIN, ids=lambda v: v.get("name", v.get("ttl")))
def test_generated_packets_are_reflected_to_the_octet(
    vector: dict[str, Any], reflecting: Reflecting, stamping: Stamping
) -> None:
    expected = bytes.fromhex(vector["reflector_packet"])
    answer = ReflectorPacket.parse(expected)
    arrival = Arrival(
        answer.receive_timestamp, answer.sequence_number, answer.error_estimate, answer.sender_ttl
    )
    reply = reflecting(bytes.fromhex(vector["sender_packet"]), arrival)
    assert isinstance(reply, bytes)
    assert stamping(reply, answer.timestamp) == expected


@BOTH
def test_captured_packets_are_reflected_as_the_reference_does(
    reflecting: Reflecting, stamping: Stamping
) -> None:
    reflected = 0
    for conversation in CAPTURED["conversations"]:
        if conversation["mode"] not in (1, 8):
            continue
        packets = [(r["dir"], bytes.fromhex(r["packet"])) for r in conversation["test"]]
        requests = {
            SenderPacket.parse(octets).sequence_number: octets
            for direction, octets in packets
            if direction == "sender"
        }
        for direction, expected in packets:
            if direction == "sender":
                continue
            answer = ReflectorPacket.parse(expected)
            arrival = Arrival(
                answer.receive_timestamp,
                answer.sequence_number,
                answer.error_estimate,
                answer.sender_ttl,
            )
            reply = reflecting(requests[answer.sender_sequence_number], arrival)
            assert isinstance(reply, bytes)
            assert stamping(reply, answer.timestamp) == expected
            reflected += 1
    assert reflected >= 8


@BOTH
@pytest.mark.parametrize(
    ("length", "expected"), [(14, 41), (40, 41), (41, 41), (42, 42), (1472, 1472)]
)
def test_a_reply_is_as_long_as_the_request_and_never_shorter_than_its_header(
    length: int, expected: int, reflecting: Reflecting, stamping: Stamping
) -> None:
    request = bytes(SenderPacket(1, 2, 3, padding=bytes(range(256)) * 6))[:length]
    reply = reflecting(request, Arrival(0, 0, 1, 64))
    assert isinstance(reply, bytes)
    assert len(reply) == expected
    assert reply[41:] == request[14 : 14 + max(0, length - 41)]  # the first octets stay


# ---- C equals Python, and the comparison can fail --------------------------------------------------

# Lengths around the thresholds: random octets alone would hardly ever reach the reflecting branch.
LENGTHS = st.sampled_from([0, 1, 13, 14, 15, 40, 41, 42, 100]) | st.integers(0, 200)


@st.composite
def requests(draw: Callable[..., Any]) -> bytes:
    octets = bytearray(draw(st.binary(min_size=200, max_size=200)))
    octets[13] = draw(st.sampled_from([0, 1, 255]) | st.integers(0, 255))
    return bytes(octets[: draw(LENGTHS)])


ARRIVALS = st.builds(
    Arrival,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 255),
)


def compare(mutant: Reflecting, examples: int) -> dict[object, int]:
    """Runs both on random packets; returns how often each outcome was reached."""
    hits: dict[object, int] = {}

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(requests(), ARRIVALS)
    def agree(request: bytes, arrival: Arrival) -> None:
        expected = reflect(request, arrival)
        outcome = expected if isinstance(expected, Drop) else len(expected) > 41
        hits[outcome] = hits.get(outcome, 0) + 1
        assert mutant(request, arrival) == expected

    agree()
    return hits


def test_c_equals_python_on_random_packets() -> None:
    hits = compare(reflect_in_c, 1000)
    for outcome in (Drop.SHORT, Drop.ERROR_ESTIMATE, True, False):
        assert hits[outcome] >= 30, hits


def last_octet_cut_wrongly(request: bytes, arrival: Arrival) -> bytes | Drop:
    reply = reflect_in_c(request, arrival)
    return (
        reply
        if isinstance(reply, Drop) or len(reply) < 42
        else reply[:41] + request[-len(reply) + 41 :]
    )


def multiplier_unchecked(request: bytes, arrival: Arrival) -> bytes | Drop:
    if len(request) >= 14 and not request[13]:
        changed = request[:13] + b"\1" + request[14:]
        reply = reflect_in_c(changed, arrival)
        assert isinstance(reply, bytes)
        return reply[:37] + b"\0" + reply[38:]
    return reflect_in_c(request, arrival)


def ttl_forgotten(request: bytes, arrival: Arrival) -> bytes | Drop:
    return reflect_in_c(request, arrival._replace(sender_ttl=255))


def bound_off_by_one(request: bytes, arrival: Arrival) -> bytes | Drop:
    return Drop.SHORT if len(request) == 14 else reflect_in_c(request, arrival)


@pytest.mark.parametrize(
    "mutant", [last_octet_cut_wrongly, multiplier_unchecked, ttl_forgotten, bound_off_by_one]
)
def test_the_comparison_catches_a_planted_mutant(mutant: Reflecting) -> None:
    with pytest.raises(AssertionError):
        compare(mutant, 1000)


@given(st.binary(min_size=41, max_size=100), st.integers(0, 2**64 - 1))
def test_c_and_python_stamp_alike(reply: bytes, timestamp: int) -> None:
    assert stamp_in_c(reply, timestamp) == stamp(reply, timestamp)
