"""Every control message: recorded octets, round trips, and what is no message."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import CAPTURED, VECTORS, conversations
from twamp.errors import LocalProtocolError, RemoteProtocolError
from twamp.protocol import control_messages as cm
from twamp.protocol.message import CommandMessage, Message, SidsMessage, converters
from twamp.protocol.registries import Accept, Command, Modes

BY_NAME: dict[str, type[Message]] = {
    "Request-TW-Session": cm.RequestTWSession,
    "Accept-Session": cm.AcceptSession,
    "Start-Sessions": cm.StartSessions,
    "Start-Ack": cm.StartAck,
    "Stop-Sessions": cm.StopSessions,
    "Start-N-Sessions": cm.StartNSessions,
    "Start-N-Ack": cm.StartNAck,
    "Stop-N-Sessions": cm.StopNSessions,
    "Stop-N-Ack": cm.StopNAck,
}
ALL = [cm.ServerGreeting, cm.SetUpResponse, cm.ServerStart, *BY_NAME.values()]
SIZES: dict[type[Message], int] = {
    cm.ServerGreeting: 64,
    cm.SetUpResponse: 164,
    cm.ServerStart: 48,
    cm.RequestTWSession: 112,
    cm.AcceptSession: 48,
    cm.StartSessions: 32,
    cm.StartAck: 32,
    cm.StopSessions: 32,
}


def clear_server_start(conversation: dict[str, Any]) -> str:
    """Server-Start with its last block, which secured modes encrypt, in clear."""
    start: str = conversation["server_start"]
    last = conversation.get("server_start_block3", start[64:])
    return start[:64] + str(last["plaintext"] if isinstance(last, dict) else last)


def recorded() -> list[Any]:
    """Every message of every recorded conversation, in clear, in all modes."""
    found: list[tuple[str, type[Message], str]] = []
    for name, conversation in conversations():
        heads: tuple[tuple[str, type[Message]], ...] = (
            ("greeting", cm.ServerGreeting),
            ("setup_response", cm.SetUpResponse),
        )
        found += [(f"{name}-{key}", kind, conversation[key]) for key, kind in heads]
        found.append((f"{name}-server_start", cm.ServerStart, clear_server_start(conversation)))
        for number, message in enumerate(conversation["messages"]):
            kind = BY_NAME[message["message"]]
            found.append((f"{name}-{number}", kind, message["plaintext"]))
    for key, kind in (
        ("greeting_unwilling", cm.ServerGreeting),
        ("setup_response_declined", cm.SetUpResponse),
    ):
        found.append((key, kind, VECTORS[key]))
    found.append(
        ("server_start_refused", cm.ServerStart, VECTORS["server_start_refused"]["message"])
    )
    return [pytest.param(kind, bytes.fromhex(text), id=name) for name, kind, text in found]


@pytest.mark.parametrize(("kind", "octets"), recorded())
def test_recorded_messages_parse_and_encode_to_the_same_octets(
    kind: type[Message], octets: bytes
) -> None:
    assert bytes(kind.parse(octets)) == octets


def test_the_captured_request_says_what_twping_was_told() -> None:
    conversation = CAPTURED["conversations"][0]
    request = cm.RequestTWSession.parse(bytes.fromhex(conversation["messages"][0]["plaintext"]))
    assert request.ip_version == 4
    assert request.sender_port == request.receiver_port == 0x232A
    assert request.sender_address == request.receiver_address == bytes([127, 0, 0, 1]) + bytes(12)
    assert request.padding_length == 27
    assert cm.dscp_from_type_p_descriptor(request.type_p_descriptor) == 0
    answer = cm.AcceptSession.parse(bytes.fromhex(conversation["messages"][1]["plaintext"]))
    assert (answer.accept, answer.port) == (Accept.OK, 0x7062)
    assert answer.sid.hex() == conversation["sid"]


def test_sizes_are_those_of_the_rfcs() -> None:
    assert {kind: kind.LAYOUT.size for kind in SIZES} == SIZES


def a_value(annotation: Any, largest: int | bytes) -> st.SearchStrategy[Any]:
    if isinstance(largest, bytes):
        return st.binary(min_size=len(largest), max_size=len(largest))
    if annotation is Accept:
        return st.sampled_from(Accept)
    numbers = st.sampled_from([0, 1, largest]) | st.integers(0, largest)
    return numbers if annotation is None else numbers.map(annotation)


@st.composite
def messages(draw: Callable[..., Any]) -> Message:
    kind: type[Message] = draw(st.sampled_from(ALL))
    # All ones unpack to the largest value of each field.
    largest = kind.LAYOUT.unpack(b"\xff" * kind.LAYOUT.size)
    values = {
        name: draw(a_value(convert, 15 if name == "ip_version" else most))
        for (name, convert), most in zip(converters(kind).items(), largest, strict=False)
    }
    if issubclass(kind, SidsMessage):
        sids = st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=4)
        values["sids"] = tuple(draw(sids))
        values["hmac"] = draw(st.binary(min_size=16, max_size=16))
    return kind(**values)


@given(messages())
def test_every_message_survives_the_wire(message: Message) -> None:
    assert type(message).parse(bytes(message)) == message


@given(st.sampled_from(ALL), st.binary(max_size=200))
def test_any_octets_give_a_message_or_a_remote_error(kind: type[Message], octets: bytes) -> None:
    try:
        message = kind.parse(octets)
    except RemoteProtocolError:
        return
    assert len(bytes(message)) == len(octets)


@given(st.sampled_from(ALL), st.data())
def test_octets_of_the_right_length_always_parse_unless_the_command_is_another(
    kind: type[Message], data: st.DataObject
) -> None:
    size = kind.LAYOUT.size
    octets = data.draw(st.binary(min_size=size, max_size=size))
    if issubclass(kind, SidsMessage):
        octets = octets[:12] + (1).to_bytes(4) + bytes(32)
    if issubclass(kind, CommandMessage):
        octets = bytes([kind.COMMAND]) + octets[1:]
    assert isinstance(kind.parse(octets), kind)


def test_mbz_octets_are_ignored_and_sent_as_zero() -> None:
    octets = bytes([Command.STOP_SESSIONS, 0, 9, 9, 0, 0, 0, 1]) + b"\xff" * 8 + bytes(16)
    message = cm.StopSessions.parse(octets)
    assert message.number_of_sessions == 1
    assert bytes(message) == bytes([3, 0, 0, 0, 0, 0, 0, 1]) + bytes(24)


def test_the_nibble_beside_ipvn_is_ignored() -> None:
    octets = bytearray(bytes(cm.RequestTWSession(ip_version=6, sender_port=1, receiver_port=2)))
    octets[1] |= 0xF0
    assert cm.RequestTWSession.parse(bytes(octets)).ip_version == 6


@pytest.mark.parametrize("value", [7, 99, 255])
def test_unknown_accept_values_are_read_as_failure(value: int) -> None:
    assert cm.StartAck.parse(bytes([value]) + bytes(31)).accept is Accept.FAILURE


def test_another_command_number_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="command number 3"):
        cm.StopSessions.parse(bytes(cm.StartSessions()))


@pytest.mark.parametrize("count", [0, 2, 2**32 - 1])
def test_the_count_of_sids_must_fit_the_octets(count: int) -> None:
    octets = bytes([7]) + bytes(11) + count.to_bytes(4) + bytes(32)
    with pytest.raises(RemoteProtocolError, match=f"counts {count} sessions"):
        cm.StartNSessions.parse(octets)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (cm.AcceptSession(Accept.OK, port=65536), "AcceptSession.port is 65536; it takes 0..65535"),
        (cm.AcceptSession(Accept.OK, sid=b"short"), "AcceptSession.sid has 5 octets; it takes 16"),
        (cm.StopSessions(Accept.OK, -1), "StopSessions.number_of_sessions is -1"),
        # One more would reach into the four bits that must be zero.
        (
            cm.RequestTWSession(ip_version=16, sender_port=1, receiver_port=1),
            "RequestTWSession.ip_version is 16; it takes 0..15",
        ),
        (cm.StartNSessions(()), "StartNSessions takes one SID or more"),
        (cm.StartNSessions((b"short",)), "StartNSessions takes one SID or more"),
        (cm.StopNAck((bytes(16),), b"short", accept=Accept.OK), "StopNAck takes one SID or more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_the_wire_is_our_own_error(message: Message, complaint: str) -> None:
    with pytest.raises(LocalProtocolError, match=re.escape(complaint)):
        bytes(message)


SPARSE = [
    (cm.ServerGreeting(Modes(0), count=0), bytes(64)),
    (cm.SetUpResponse(Modes(0)), bytes(164)),
    (cm.ServerStart(Accept.OK), bytes(48)),
    (
        cm.RequestTWSession(ip_version=0, sender_port=0, receiver_port=0),
        bytes([Command.REQUEST_TW_SESSION]) + bytes(111),
    ),
    (cm.AcceptSession(Accept.OK), bytes(48)),
    (cm.StartSessions(), bytes([Command.START_SESSIONS]) + bytes(31)),
    (cm.StartAck(Accept.OK), bytes(32)),
    (cm.StopSessions(Accept.OK, 0), bytes([Command.STOP_SESSIONS]) + bytes(31)),
]


@pytest.mark.parametrize(("message", "octets"), SPARSE, ids=lambda value: type(value).__name__)
def test_what_is_not_said_is_zero(message: Message, octets: bytes) -> None:
    assert bytes(message) == octets


def test_messages_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        cm.StartAck(Accept.OK).accept = Accept.FAILURE  # type: ignore[misc]


@pytest.mark.parametrize("vector", VECTORS["scalars"]["typep"], ids=lambda v: str(v["dscp"]))
def test_type_p_descriptors(vector: dict[str, Any]) -> None:
    wire = int(vector["wire"], 16)
    assert cm.type_p_descriptor_from_dscp(vector["dscp"]) == wire
    assert cm.dscp_from_type_p_descriptor(wire) == vector["dscp"]


@given(st.integers(0, 2**32 - 1))
def test_a_type_p_descriptor_with_any_other_bit_is_no_dscp(descriptor: int) -> None:
    dscp = cm.dscp_from_type_p_descriptor(descriptor)
    assert (dscp is None) == bool(descriptor & 0xC0FFFFFF)
    if dscp is not None:
        assert cm.type_p_descriptor_from_dscp(dscp) == descriptor
