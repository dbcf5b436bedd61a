"""The targets of the fuzzer: every function of the protocol that reads octets of the peer.

A target takes any octets.  It returns normally when they were understood, raises RemoteProtocolError
when they are none of the kind, and any other exception is a finding.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from twamp.errors import RemoteProtocolError
from twamp.protocol import control_messages as cm
from twamp.protocol import packets
from twamp.protocol.conversation import Conversation
from twamp.protocol.framing import command_length
from twamp.protocol.message import CommandMessage, Message
from twamp.protocol.reflect import LAYOUTS, Arrival, Drop, reflect
from twamp.protocol.registries import Accept, Modes
from twamp.protocol.states import Received, Role, UnexpectedCommand, check_mode

Target = Callable[[bytes], object]

OFFERED: Final = Modes.UNAUTHENTICATED | Modes.INDIVIDUAL_SESSION_CONTROL
REQUEST: Final = cm.RequestTWSession(ip_version=4, sender_port=7000, receiver_port=7001)


def message_target(kind: type[Message]) -> Target:
    """Parses; what was understood must encode to as many octets, and they must mean the same."""

    def target(octets: bytes) -> object:
        message = kind.parse(octets)
        assert str(message).startswith(kind.__name__)
        encoded = bytes(message)
        assert len(encoded) == len(octets)
        assert kind.parse(encoded) == message
        if issubclass(kind, CommandMessage):
            assert command_length(octets[:16]) == len(octets)
        for layout in LAYOUTS.values():
            if issubclass(kind, layout.sender) and len(octets) >= layout.shortest_request:
                reply = reflect(layout, octets, Arrival(1, 2, 3, 4))
                if reply not in (Drop.ERROR_ESTIMATE, Drop.LOOP):
                    assert isinstance(reply, bytes)
                    assert len(reply) == max(layout.reply_octets, len(octets))
        return encoded

    return target


def answer_of_server(server: Conversation, message: Received) -> Message | None:
    match message:
        case cm.SetUpResponse(mode=mode):
            fault = check_mode(OFFERED, mode)
            return cm.ServerStart(Accept.NOT_SUPPORTED if fault else Accept.OK)
        case cm.RequestTWSession():
            return cm.AcceptSession(Accept.OK, sid=len(server.accepted).to_bytes(16))
        case UnexpectedCommand():
            return cm.AcceptSession(Accept.NOT_SUPPORTED)
        case cm.StartSessions():
            return cm.StartAck(Accept.OK)
        case cm.StartNSessions(sids=sids):
            return cm.StartNAck(sids, accept=Accept.OK)
        case cm.StopNSessions(sids=sids):
            return cm.StopNAck(sids, accept=Accept.OK)
    return None


def answer_of_client(client: Conversation, message: Received) -> Message | None:
    match message:
        case cm.ServerGreeting(modes=modes):
            return cm.SetUpResponse(modes & OFFERED)
        case cm.ServerStart():
            return REQUEST
        case cm.AcceptSession() if client.individual and client.accepted:
            return cm.StartNSessions(tuple(client.accepted))
        case cm.AcceptSession():
            return cm.StartSessions() if not client.individual else REQUEST
        case cm.StartNAck(sids=sids):
            return cm.StopNSessions(sids)
        case cm.StartAck():
            return cm.StopSessions(Accept.OK, len(client.accepted))
    return None


def hear(role: Role, octets: bytes, piece: int) -> list[Received]:
    """Everything that one end understands of ``octets``, delivered in pieces."""
    end = Conversation(role, now_ns=0)
    answer = answer_of_server if role is Role.SERVER else answer_of_client
    if role is Role.SERVER:
        end.send(cm.ServerGreeting(OFFERED), 0)
    heard = []
    for start in range(0, len(octets), piece):
        end.receive_data(octets[start : start + piece], 0)
        while (message := end.next_message(0)) is not None:
            heard.append(message)
            reply = answer(end, message)
            if reply is not None and end.our_turn:
                end.send(reply, 0)
    end.receive_eof(0)
    return heard


def outcome(role: Role, octets: bytes, piece: int) -> list[Received] | str:
    try:
        return hear(role, octets, piece)
    except RemoteProtocolError as error:
        return str(error)


def stream_target(role: Role) -> Target:
    """A whole connection's octets from the peer; how TCP cut them must make no difference."""

    def target(octets: bytes) -> object:
        at_once = outcome(role, octets, max(1, len(octets)))
        assert outcome(role, octets, 1) == at_once
        if isinstance(at_once, str):
            raise RemoteProtocolError(at_once)
        return at_once

    return target


def kinds() -> list[type[Message]]:
    return [
        kind
        for module in (cm, packets)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Message) and "LAYOUT" in vars(kind)
    ]


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        **{snake(kind.__name__): message_target(kind) for kind in kinds()},
        "client_stream": stream_target(Role.SERVER),
        "server_stream": stream_target(Role.CONTROL_CLIENT),
    }
)
