"""The base of every message, by itself: on a class of its own, with each kind of field."""

import dataclasses
import typing
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Any, ClassVar

import pytest

from twamp.errors import LocalProtocolError, RemoteProtocolError
from twamp.protocol import control_messages, message, packets
from twamp.protocol.control_messages import AcceptSession, SetUpResponse, StartNAck
from twamp.protocol.message import Message
from twamp.protocol.registries import Accept, Modes


class Fruit(IntEnum):
    APPLE = 1
    PEAR = 2

    @classmethod
    def _missing_(cls, value: object) -> "Fruit":
        return cls.APPLE


@dataclass(frozen=True, slots=True)
class Basket(Message):
    """Every kind of field, with octets that must be zero between them."""

    LAYOUT: ClassVar[Struct] = Struct("!BxH2xI4sQ")
    fruit: Fruit
    half: int
    word: int
    octets: bytes = bytes(4)
    long: int = 0


BASKET = Basket(Fruit.PEAR, 0x0102, 0x03040506, b"\7\7\7\7", 0x08090A0B0C0D0E0F)
WIRE = bytes.fromhex("02 00 0102 0000 03040506 07070707 08090a0b0c0d0e0f")


def test_fields_stand_in_the_order_of_the_layout_in_network_order() -> None:
    assert bytes(BASKET) == WIRE
    assert Basket.parse(WIRE) == BASKET


def test_annotations_convert() -> None:
    assert Basket.parse(WIRE).fruit is Fruit.PEAR
    assert Basket.parse(b"\x63" + WIRE[1:]).fruit is Fruit.APPLE


def test_octets_that_must_be_zero_are_ignored_and_sent_as_zero() -> None:
    dirty = bytearray(WIRE)
    dirty[1] = dirty[4] = dirty[5] = 0xFF
    assert Basket.parse(bytes(dirty)) == BASKET
    assert bytes(Basket.parse(bytes(dirty))) == WIRE


@pytest.mark.parametrize("length", [0, 1, len(WIRE) - 1, len(WIRE) + 1, 2 * len(WIRE)])
def test_a_wrong_length_names_both_lengths(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"^Basket has 22 octets, not {length}$"):
        Basket.parse((WIRE * 2)[:length])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"fruit": 256}, "Basket.fruit is 256; it takes 0..255"),
        ({"half": 1 << 16}, "Basket.half is 65536; it takes 0..65535"),
        ({"half": -1}, "Basket.half is -1; it takes 0..65535"),
        ({"word": 1 << 32}, "Basket.word is 4294967296; it takes 0..4294967295"),
        ({"word": 1.5}, "Basket.word is 1.5; it takes 0..4294967295"),
        ({"long": 1 << 64}, f"Basket.long is {1 << 64}; it takes 0..{(1 << 64) - 1}"),
        ({"octets": b"123"}, "Basket.octets has 3 octets; it takes 4"),
        ({"octets": b"12345"}, "Basket.octets has 5 octets; it takes 4"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_with_its_value_and_range(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        bytes(dataclasses.replace(BASKET, **change))
    assert str(caught.value) == complaint


@pytest.mark.parametrize("most", [("fruit", 255), ("half", 0xFFFF), ("word", 0xFFFFFFFF)])
def test_the_largest_value_fits(most: tuple[str, int]) -> None:
    name, value = most
    assert len(bytes(dataclasses.replace(BASKET, **{name: value}))) == len(WIRE)  # type: ignore[arg-type]


def test_what_a_class_means_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, slots=True)
    class Fresh(Message):
        LAYOUT: ClassVar[Struct] = Struct("!B")
        number: int
        padding: bytes = field(default=b"", metadata={"variable": True})

    resolved = []

    def counting(kind: type) -> dict[str, Any]:
        resolved.append(kind)
        return typing.get_type_hints(kind)

    monkeypatch.setattr(message, "get_type_hints", counting)
    for number in range(10):
        assert Fresh.parse(bytes([number])).number == bytes(Fresh(number))[0] == number
    assert resolved == [Fresh]


def declared(module: Any) -> list[type[Message]]:
    return [
        kind for kind in vars(module).values() if isinstance(kind, type) and "LAYOUT" in vars(kind)
    ]


@pytest.mark.parametrize(
    "kind", declared(control_messages) + declared(packets), ids=lambda kind: kind.__name__
)
def test_every_message_is_frozen_has_slots_and_is_in_network_order(kind: type[Message]) -> None:
    assert dataclasses.is_dataclass(kind)
    parameters = kind.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen
    assert "__slots__" in vars(kind)
    assert kind.LAYOUT.format.startswith("!")


def test_the_text_of_a_message_leaves_out_what_is_zero() -> None:
    assert str(AcceptSession(Accept.NOT_SUPPORTED)) == "AcceptSession accept=NOT_SUPPORTED"
    assert str(SetUpResponse(Modes.UNAUTHENTICATED)) == "SetUpResponse mode=UNAUTHENTICATED"
    message = AcceptSession(Accept.OK, port=862, sid=b"\xab" * 15 + b"\0")
    assert str(message) == f"AcceptSession port=862 sid={'ab' * 15}00"
    acks = StartNAck((b"\xab" * 16, bytes(16)), accept=Accept.FAILURE)
    assert str(acks) == f"StartNAck sids={'ab' * 16},{'00' * 16} accept=FAILURE"


def test_modes_without_a_name_are_numbers_in_the_text() -> None:
    assert str(SetUpResponse(Modes(1 << 30))) == f"SetUpResponse mode={1 << 30}"
