"""The picture in each docstring, Python's layout and C's struct say the same."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from twamp._native import ffi
from twamp.protocol import control_messages, packets
from twamp.protocol.message import Message, SidsMessage, converters

OCTET = 16  # columns of a diagram
MBZ = ("mbz", "unused", "command")  # in the picture, not among the fields


class Box(NamedTuple):
    name: str
    offset: int
    size: int


def messages_of(module: object) -> list[type[Message]]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Message) and "LAYOUT" in vars(kind)
    ]


CONTROL = messages_of(control_messages)
PACKETS = messages_of(packets)


def snake(label: str) -> str:
    return label.lower().replace(" ", "_")


def boxes(picture: str) -> list[Box]:
    """The boxes of a diagram in order; a blank cell goes on with the field before it."""
    found: list[Box] = []
    offset = 0
    for line in picture.splitlines():
        row = line.strip()
        if not row.startswith("|") or len(row) != 65 or "+" in row:
            continue
        for cell in row[1:-1].split("|"):
            label = cell.strip()
            size = (len(cell) + 1) // OCTET
            if long := re.fullmatch(r"(.*) \((\d+) octets\)", label):
                label, size = long[1], int(long[2])
            if label:
                found.append(Box(snake(label), offset, size))
            else:
                found[-1] = found[-1]._replace(size=found[-1].size + size)
            offset += size
    return found


def fixed(picture: str) -> Iterator[Box]:
    """The boxes before the first one of variable length."""
    for box in boxes(picture):
        if box.name.endswith("_..."):
            return
        yield box


def layout_fields(kind: type[Message]) -> list[Box]:
    """Offset and size of each field, found by setting one at a time to all ones."""
    names = list(converters(kind))
    size = kind.LAYOUT.size
    zeros, ones = kind.LAYOUT.unpack(bytes(size)), kind.LAYOUT.unpack(b"\xff" * size)
    if issubclass(kind, SidsMessage):
        names.append("number_of_sessions")
    found = []
    for position, name in enumerate(names):
        values = [*zeros[:position], ones[position], *zeros[position + 1 :]]
        touched = [at for at, octet in enumerate(kind.LAYOUT.pack(*values)) if octet]
        found.append(Box(name, touched[0], len(touched)))
    return found


@pytest.mark.parametrize("kind", CONTROL + PACKETS, ids=lambda kind: kind.__name__)
def test_the_picture_is_the_layout(kind: type[Message]) -> None:
    drawn = list(fixed(kind.__doc__ or ""))
    named = [box for box in drawn if not box.name.startswith(MBZ)]
    assert named == layout_fields(kind)
    assert sum(box.size for box in drawn) == kind.LAYOUT.size


@pytest.mark.parametrize("kind", PACKETS, ids=lambda kind: kind.__name__)
def test_the_picture_is_the_struct_in_c(kind: type[Message]) -> None:
    struct = ffi.typeof("struct tw" + re.sub("([A-Z])", r"_\1", kind.__name__).lower())
    in_c = [
        Box(re.sub(r"_\d+$", "", name), field.offset, ffi.sizeof(field.type))
        for name, field in struct.fields
    ]
    assert in_c == list(fixed(kind.__doc__ or ""))
    assert ffi.sizeof(struct) == kind.LAYOUT.size


def test_there_is_a_picture_for_every_message() -> None:
    assert len(CONTROL) == 12
    assert len(PACKETS) == 4


@pytest.mark.parametrize(
    "spoil",
    [
        lambda picture: picture.replace("Receive Timestamp", "Receive Time     "),
        lambda picture: picture.replace("|  Sender TTL   |", "|  Sender TTL           |", 1),
    ],
)
def test_a_wrong_picture_is_noticed(spoil: object) -> None:
    assert callable(spoil)
    right = packets.ReflectorPacket.__doc__ or ""
    assert list(fixed(spoil(right))) != list(fixed(right))
