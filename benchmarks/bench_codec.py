"""What does it cost in Python to write and to read one message or packet?

Beside it what any codec with ``struct`` pays: packing and unpacking the same octets with the same
format, and nothing else.  ``reflect`` stands beside a bare copy of the reply's octets.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from benchmarks.rounds import Side, interleave, publish
from twamp.protocol.control_messages import AcceptSession, RequestTWSession, ServerGreeting
from twamp.protocol.message import Message
from twamp.protocol.packets import ReflectorPacket, SenderPacket
from twamp.protocol.reflect import UNAUTHENTICATED, Arrival, reflect, stamp
from twamp.protocol.registries import Accept, Modes

MESSAGES: Mapping[str, Message] = {
    message.__class__.__name__: message
    for message in (
        ServerGreeting(Modes.UNAUTHENTICATED, count=1024),
        RequestTWSession(ip_version=4, sender_port=1000, receiver_port=2000, padding_length=27),
        AcceptSession(Accept.OK, port=2000, sid=bytes(range(16))),
        SenderPacket(7, 1 << 63, 0x8101, padding=bytes(27)),
        ReflectorPacket(7, 1 << 63, 0x8101, 1 << 62, 7, 1 << 61, 0x8101, 255),
    )
}


def nanoseconds(act: Callable[[], object], count: int) -> Side:
    """A side: ``act`` so many times, in CPU time of this thread."""

    def side() -> Mapping[str, float]:
        begin = time.thread_time_ns()
        for _ in range(count):
            act()
        return {"ns": (time.thread_time_ns() - begin) / count}

    return side


@pytest.mark.parametrize("name", MESSAGES)
def bench_message(benchmark: Any, name: str) -> None:
    message = MESSAGES[name]
    octets = bytes(message)
    layout = type(message).LAYOUT
    head = octets[: layout.size]
    values = layout.unpack(head)
    count = 10 if benchmark.disabled else 20_000
    rounds = interleave(
        benchmark,
        {
            "bytes": nanoseconds(lambda: bytes(message), count),
            "parse": nanoseconds(lambda: type(message).parse(octets), count),
            "pack": nanoseconds(lambda: layout.pack(*values), count),
            "unpack": nanoseconds(lambda: layout.unpack(head), count),
        },
    )
    publish(
        benchmark,
        f"{name}, {len(octets)} octets:",
        rounds,
        ("ns", "parse", "unpack"),
        ("ns", "bytes", "pack"),
        headlines=0,
    )


@pytest.mark.parametrize("length", [14, 41, 1400])
def bench_reflect_in_python(benchmark: Any, length: int) -> None:
    request = bytes(SenderPacket(7, 1 << 63, 0x8101, padding=bytes(length - 14)))
    arrival = Arrival(1 << 63, 7, 0x8101, 255)
    count = 10 if benchmark.disabled else 20_000

    def whole_reflection() -> bytes:
        reply = reflect(UNAUTHENTICATED, request, arrival)
        assert isinstance(reply, bytes)
        return stamp(UNAUTHENTICATED, reply, 1 << 63)

    reply = bytearray(whole_reflection())
    rounds = interleave(
        benchmark,
        {
            "reflect and stamp": nanoseconds(whole_reflection, count),
            "copy": nanoseconds(lambda: bytes(reply), count),
        },
    )
    publish(
        benchmark,
        f"reflect() in Python, {length} octets:",
        rounds,
        ("ns", "reflect and stamp", "copy"),
        headlines=0,
    )
