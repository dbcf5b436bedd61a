"""The bases of every message and packet: frozen dataclasses, each over one ``struct`` layout."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from struct import Struct, calcsize
from struct import error as StructError
from typing import Any, ClassVar, Final, Self, get_type_hints

from twamp.errors import LocalProtocolError, RemoteProtocolError
from twamp.protocol.registries import Accept, Command

BLOCK: Final = 16  # octets; every message but Set-Up-Response is a whole number of blocks


@dataclass(frozen=True, slots=True)
class Message:
    """The base: ``bytes(message)`` gives the octets, ``parse(octets)`` the message.

    A subclass declares its octets once, in ``LAYOUT``; its fields are the values of that layout, in order.
    Octets that MUST be zero are ``x`` there: sent as zero, ignored on receipt.  Annotations convert: a field
    declared ``Accept`` is made by ``Accept(value)``.
    """

    LAYOUT: ClassVar[Struct]

    def __bytes__(self) -> bytes:
        return self._pack(self._values())

    def __str__(self) -> str:
        """For logs: the fields that are not zero, octets in hexadecimal."""
        texts = {field.name: _text(getattr(self, field.name)) for field in fields(self)}
        said = [f"{name}={text}" for name, text in texts.items() if text]
        return " ".join([type(self).__name__, *said])

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """The message in these octets, all of them.

        Raises :class:`~twamp.errors.RemoteProtocolError` for a wrong length, and nothing else.
        """
        if len(octets) != cls.LAYOUT.size:
            raise RemoteProtocolError(
                f"{cls.__name__} has {cls.LAYOUT.size} octets, not {len(octets)}"
            )
        return cls(**cls._unpack(octets))

    def _values(self) -> list[Any]:
        """The fixed fields in the order of ``LAYOUT``."""
        return [getattr(self, name) for name in converters(type(self))]

    def _pack(self, values: list[Any]) -> bytes:
        for name, value in zip(converters(type(self)), values, strict=True):
            # struct would silently cut longer octets and pad shorter ones.
            expected = octet_sizes(type(self)).get(name)
            if expected is not None and len(value) != expected:
                raise LocalProtocolError(
                    f"{type(self).__name__}.{name} has {len(value)} octets; it takes {expected}"
                )
        try:
            return self.LAYOUT.pack(*values)
        except StructError:
            raise LocalProtocolError(self._misfit(values)) from None

    def _misfit(self, values: list[Any]) -> str:
        """Names the first value that its field cannot hold, and the range of that field."""
        codes = re.findall("[BHIQs]", self.LAYOUT.format)
        for name, value, code in zip(converters(type(self)), values, codes, strict=True):
            if code == "s":
                continue
            most = (1 << 8 * calcsize(f"!{code}")) - 1
            if not isinstance(value, int) or not 0 <= value <= most:
                return f"{type(self).__name__}.{name} is {value!r}; it takes 0..{most}"
        return f"{type(self).__name__} does not fit {self.LAYOUT.format}"

    @classmethod
    def _unpack(cls, octets: bytes) -> dict[str, Any]:
        """The fixed fields in the head of ``octets``, converted."""
        values = cls.LAYOUT.unpack_from(octets)
        return {
            name: value if convert is None else convert(value)
            for (name, convert), value in zip(converters(cls).items(), values, strict=True)
        }


@dataclass(frozen=True, slots=True)
class CommandMessage(Message):
    """A message whose first octet is its command number."""

    COMMAND: ClassVar[Command]

    def __bytes__(self) -> bytes:
        return bytes([self.COMMAND]) + self._pack(self._values())[1:]

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        if octets and octets[0] != cls.COMMAND:
            raise RemoteProtocolError(
                f"{cls.__name__} has command number {int(cls.COMMAND)}, not {octets[0]}"
            )
        # slots=True makes the class anew, which super() without arguments does not notice.
        return super(CommandMessage, cls).parse(octets)


@dataclass(frozen=True, slots=True)
class SidsMessage(CommandMessage):
    """A command whose fixed head is followed by ``sids`` and an HMAC (RFC 5938 section 3)."""

    sids: tuple[bytes, ...] = field(metadata={"variable": True})
    hmac: bytes = field(default=bytes(BLOCK), metadata={"variable": True})

    def __bytes__(self) -> bytes:
        if not self.sids or any(len(sid) != BLOCK for sid in self.sids) or len(self.hmac) != BLOCK:
            raise LocalProtocolError(
                f"{type(self).__name__} takes one SID or more and an HMAC, each of {BLOCK} octets",
                section="RFC 5938 section 3.2",
            )
        # Number of Sessions is the last value of every head.
        head = self._pack([*self._values(), len(self.sids)])
        return bytes([self.COMMAND]) + head[1:] + b"".join(self.sids) + self.hmac

    def _pack(self, values: list[Any]) -> bytes:
        return self.LAYOUT.pack(*values)

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        size = cls.LAYOUT.size
        if len(octets) < size or octets[0] != cls.COMMAND:
            raise RemoteProtocolError(f"these {len(octets)} octets begin no {cls.__name__}")
        *values, count = cls.LAYOUT.unpack_from(octets)
        if not count or len(octets) != size + BLOCK * (count + 1):
            raise RemoteProtocolError(
                f"{cls.__name__} counts {count} sessions in {len(octets)} octets",
                accept=Accept.NOT_SUPPORTED,
                section="RFC 5938 section 3.2",
            )
        blocks = [octets[start : start + BLOCK] for start in range(size, len(octets), BLOCK)]
        fixed = dict(zip(converters(cls), map(Accept, values), strict=True))
        return cls(tuple(blocks[:-1]), blocks[-1], **fixed)


def _text(value: Any) -> str:
    """A field as a log shows it; empty for zero."""
    if isinstance(value, tuple):
        return ",".join(sid.hex() for sid in value)
    if isinstance(value, bytes):
        return value.hex() if any(value) else ""
    # Unknown bits alone have no name.
    return str(getattr(value, "name", None) or int(value)) if value else ""


# Computed once for each class: resolving type hints every time costs 30 µs.
_CONVERTERS: dict[type[Message], Mapping[str, Callable[[Any], Any] | None]] = {}
_OCTET_SIZES: dict[type[Message], Mapping[str, int]] = {}


def converters(cls: type[Message]) -> Mapping[str, Callable[[Any], Any] | None]:
    """Each fixed field's name, in the order of the layout, and its converter (None: the value stays)."""
    if cls not in _CONVERTERS:
        hints = get_type_hints(cls)
        _CONVERTERS[cls] = {
            field.name: None if hints[field.name] in (int, bytes) else hints[field.name]
            for field in fields(cls)
            if not field.metadata.get("variable")
        }
    return _CONVERTERS[cls]


def octet_sizes(cls: type[Message]) -> Mapping[str, int]:
    """The fixed fields that are octets, and how many each has."""
    if cls not in _OCTET_SIZES:
        empty = cls.LAYOUT.unpack(bytes(cls.LAYOUT.size))
        _OCTET_SIZES[cls] = {
            name: len(value)
            for name, value in zip(converters(cls), empty, strict=False)
            if isinstance(value, bytes)
        }
    return _OCTET_SIZES[cls]
