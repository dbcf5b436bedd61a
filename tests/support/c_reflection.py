"""The reflection in C as Python calls it: the engine's own, or that of a mutant."""

from collections.abc import Callable
from typing import Any

from twamp._native import ffi, lib
from twamp.engine.native import enum_names
from twamp.protocol.reflect import LAYOUTS, Arrival, Drop

ROWS = enum_names("tw_layout_row", "TW_LAYOUT_")
GUARD = 64  # octets behind the longest reply allowed

Reflecting = Callable[[str, bytes, Arrival], bytes | Drop]


def result_of(length: int, reply: Any) -> bytes | Drop:
    """The reply, or why there is none."""
    if length >= 0:
        return bytes(ffi.buffer(reply, length))
    drops = [drop for drop in Drop if getattr(lib, f"TW_DROP_{drop.name}") == -length]
    assert drops, f"C drops it for reason {-length}, Python has no such reason"
    return drops[0]


def reflecting_by(tw_reflect: Any, tw_layout: Any) -> Reflecting:
    """A reflection in the layout of that name; every octet that is none of its business is watched."""

    def reflecting(name: str, request: bytes, arrival: Arrival) -> bytes | Drop:
        layout = tw_layout(ROWS[name])
        room = max(len(request), LAYOUTS[name].reply_octets)
        # Exactly as long as the request, so that AddressSanitizer sees a read beyond its end.
        octets = ffi.new("uint8_t[]", len(request))
        ffi.memmove(octets, request, len(request))
        reply = ffi.new("uint8_t[]", b"\xa5" * (room + GUARD))
        facts = ffi.new("struct tw_arrival *", arrival._asdict())
        length = tw_reflect(layout, octets, len(request), facts, reply)
        written = max(length, 0)
        assert written <= room
        assert bytes(reply)[written : room + GUARD] == b"\xa5" * (room + GUARD - written)
        assert bytes(octets) == request
        return result_of(length, reply)

    return reflecting


def in_place_by(tw_reflect: Any, tw_layout: Any) -> Reflecting:
    """The same, the reply written over its request: for requests no longer than the reply's head."""

    def reflecting(name: str, request: bytes, arrival: Arrival) -> bytes | Drop:
        octets = ffi.new("uint8_t[]", LAYOUTS[name].reply_octets)
        ffi.memmove(octets, request, len(request))
        facts = ffi.new("struct tw_arrival *", arrival._asdict())
        length = tw_reflect(tw_layout(ROWS[name]), octets, len(request), facts, octets)
        return result_of(length, octets)

    return reflecting


reflect_in_c = reflecting_by(lib.tw_reflect, lib.tw_layout)


def stamp_in_c(name: str, reply: bytes, timestamp: int) -> bytes:
    """The reply with T3."""
    octets = ffi.new("uint8_t[]", len(reply))
    ffi.memmove(octets, reply, len(reply))
    lib.tw_reflect_stamp(lib.tw_layout(ROWS[name]), octets, timestamp)
    return bytes(octets)
