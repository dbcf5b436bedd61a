"""Readers: each makes the value of an option from its text or its TOML.

Each reader takes any spelling (text from a command line, what TOML has for it, or the value itself) and
returns the value; :class:`ValueError` says what it should have been.
"""

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise
from typing import NamedTuple

from twamp.metrics.threshold import Threshold, parse_threshold
from twamp.protocol.schedule import parse_intervals

HIGHEST_PORT = 65535
METRICS_PORT = 9861
LONGEST_SOCKET_PATH = 107
LOSS_TIMEOUT = Decimal(2)
MOST_PACKETS = 10_000_000
UNITS = ("n", "u", "m", "s")  # nano-, micro-, milliseconds, seconds
MODES = ("unauthenticated", "authenticated", "encrypted", "mixed")

# RFC 2474, 2597, 3246, 5865, 8622.  CS0 has many names: BE, and those that perfSONAR's -D takes.
DSCP_NAMES: Mapping[str, int] = {
    **dict.fromkeys(("BE", "DF", "DEFAULT", "NONE"), 0),
    "LE": 1,
    **{f"CS{number}": 8 * number for number in range(8)},
    **{f"AF{group}{drop}": 8 * group + 2 * drop for group in range(1, 5) for drop in range(1, 4)},
    "VA": 44,
    "EF": 46,
}


def integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,20}\s*", value, re.ASCII):
        return int(value)
    raise ValueError("a whole number")


def seconds(value: object) -> Decimal:
    """Seconds, exactly as written."""
    if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
        try:
            number = Decimal(str(value).strip())
        except (InvalidOperation, ValueError):  # no number, or one of thousands of digits
            number = Decimal("NaN")
        if number.is_finite() and abs(number) < 10**12:
            return number
    raise ValueError("a number of seconds such as 2 or 0.5")


def loss_timeout(value: object) -> Decimal:
    """Seconds; 0 means the default, as for perfSONAR's twping (pScheduler passes 0)."""
    return seconds(value) or LOSS_TIMEOUT


def flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def dscp(value: object) -> int:
    """A DSCP: decimal, 0x hexadecimal, 0 octal (as C has it) or a name (RFC 2474), in any case."""
    if isinstance(value, str):
        name = value.strip().upper()
        if name in DSCP_NAMES:
            return DSCP_NAMES[name]
        if re.fullmatch(r"0X[0-9A-F]{1,8}", name):
            return int(name, 16)
        if re.fullmatch(r"0[0-7]{1,8}", name):
            return int(name, 8)
    try:
        return integer(value)
    except ValueError:
        raise ValueError(
            "a number, or one of the names CS0-CS7, AF11-AF43, EF, VA, LE, BE, DF"
        ) from None


def address(value: object) -> str:
    """A numeric IPv4 or IPv6 address; a scope (``fe80::1%eth0``) stays."""
    if isinstance(value, str):
        try:
            ip_address(value.strip())
        except ValueError:
            pass
        else:
            return value.strip()
    raise ValueError("a numeric IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1")


def host_or_interface(value: object) -> str:
    """An address, or the name of a host or an interface; only its characters are checked."""
    if isinstance(value, str) and re.fullmatch(r"[^\s/\[\]\0]{1,255}", value.strip()):
        return value.strip()
    raise ValueError("an address, the name of a host or of a network interface")


def port_range(value: object) -> tuple[int, int]:
    """``LO-HI``, both included; one port is a range too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if isinstance(value, str) and (
        match := re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", value, re.ASCII)
    ):
        return int(match[1]), int(match[2] or match[1])
    if isinstance(value, tuple | list) and len(value) == 2:
        return integer(value[0]), integer(value[1])
    raise ValueError("a range of ports LO-HI such as 18760-19960, or one port")


def interface_name(value: object) -> str:
    """A name of at most IFNAMSIZ - 1 octets; whether there is such an interface is not checked."""
    if isinstance(value, str) and re.fullmatch(r"[^\s/\0]{1,15}", value) and value.isprintable():
        return value
    raise ValueError("the name of a network interface, as `ip link` lists them")


def intervals(value: object) -> str:
    """twping's ``-i``; stays text, :func:`~twamp.protocol.schedule.parse_intervals` reads it."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        parse_intervals(value)
        return value
    raise ValueError("a list VALUE[e|f],… in seconds such as 0.1e,2f")


def sender_ports(value: object) -> tuple[int, int]:
    """Like :func:`port_range`; (0, 0) leaves the choice to the system."""
    low, high = port_range(value)
    if (low == 0) != (high == 0):
        raise ValueError("a range of ports LO-HI such as 8760-9960, or 0 for any")
    return low, high


def packet_limit(value: object) -> int:
    """How many packets: a number, or ``all``."""
    if isinstance(value, str) and value.strip().lower() == "all":
        return MOST_PACKETS
    try:
        return integer(value)
    except ValueError:
        raise ValueError("a number of packets, or all") from None


def unit_of_time(value: object) -> str:
    """The first letter of it, so that ``us`` is ``u``."""
    if isinstance(value, str) and value in {*UNITS, *(f"{unit}s" for unit in UNITS)} - {"ss"}:
        return value[0]
    raise ValueError("a unit of time: n, u, m or s")


def percentile_list(value: object) -> tuple[Decimal, ...]:
    """A list, or its text with commas, of numbers from 0 to 100."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, tuple | list):
        with contextlib.suppress(ValueError):
            numbers = tuple(seconds(part) for part in parts)
            if all(0 <= number <= 100 for number in numbers):
                return numbers
    raise ValueError("a list of percentiles from 0 to 100 such as 50,95,99.9")


def bucket_bounds(value: object) -> tuple[Decimal, ...]:
    """A list, or its text with commas, of ascending bounds in seconds above 0; at most 200."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, tuple | list) and len(parts) <= 200:
        with contextlib.suppress(ValueError):
            bounds = [Decimal(0), *map(seconds, parts)]
            if all(low < high for low, high in pairwise(bounds)):
                return tuple(bounds[1:])
    raise ValueError("a list of at most 200 ascending seconds above 0 such as 0.01,0.025,0.05")


def mode_name(value: object) -> str:
    """A security mode, or ``no-`` and a mode to leave out (Vyatta's form)."""
    if isinstance(value, str) and value.strip().lower().removeprefix("no-") in MODES:
        return value.strip().lower()
    raise ValueError(f"a mode: {', '.join(MODES)}, or no- and one of these")


def auth_modes(value: object) -> str:
    """perfSONAR's letters of modes, in any order; the strongest mode that is offered is used."""
    if isinstance(value, str) and value and not set(value.upper()) - set("AEMO"):
        return "".join(letter for letter in "EAMO" if letter in value.upper())
    raise ValueError("letters of A (authenticated), E (encrypted), M (mixed), O (open), such as AE")


def power_of_two(value: object) -> int:
    number = integer(value)
    if number.bit_count() != 1:
        raise ValueError("a power of two such as 32768")
    return number


def user_name(value: object) -> str:
    with contextlib.suppress(UnicodeEncodeError):  # octets of a command line that are no text
        if isinstance(value, str) and 1 <= len(value.encode()) <= 80 and "\0" not in value:
            return value
    raise ValueError("a user name of 1 to 80 octets")


def file_path(value: object) -> str:
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise ValueError("the name of a file")


def socket_path(value: object) -> str:
    """The path of a UNIX socket, which has at most 107 octets (``sun_path``)."""
    path = file_path(value)
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(f"a path of at most {LONGEST_SOCKET_PATH} octets, as a UNIX socket takes")
    return path


def picture(value: object) -> str:
    """``terminal``, or the name of a PNG or SVG file."""
    name = file_path(value)
    if name == "terminal" or name.lower().endswith((".png", ".svg")):
        return name
    raise ValueError("the name of a .png or .svg file")


def one_of(*words: str) -> Callable[[object], str]:
    """A reader of one of these words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value.strip().lower() in words:
            return value.strip().lower()
        raise ValueError(f"one of {', '.join(words)}")

    return read


def prefix(value: object) -> IPv4Network | IPv6Network:
    """An address prefix, its host bits cleared; IPv4 mapped into IPv6 is IPv4."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            network = ip_network(value.strip(), strict=False)
            mapped = getattr(network.network_address, "ipv4_mapped", None)
            if mapped is None:
                return network
            if network.prefixlen >= 96:
                return IPv4Network((mapped, network.prefixlen - 96))
    raise ValueError("a prefix such as 192.0.2.0/24 or 2001:db8::/32, or one address")


class HostPort(NamedTuple):
    """A numeric address and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def metrics_endpoint(value: object) -> HostPort:
    """``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
    if isinstance(value, HostPort):
        return value
    if isinstance(value, str):
        text = value.strip()
        with contextlib.suppress(ValueError):
            return HostPort(address(text), METRICS_PORT)
        match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", text, re.ASCII)
        if match is not None and int(match[3] or METRICS_PORT) <= HIGHEST_PORT:
            with contextlib.suppress(ValueError):
                return HostPort(address(match[1] or match[2]), int(match[3] or METRICS_PORT))
    raise ValueError(
        f"an address and a port such as 127.0.0.1:{METRICS_PORT} or [::1]:{METRICS_PORT}"
    )


def threshold(value: object) -> Threshold:
    """A threshold; a count of packets that is no whole number is taken for a share without its %."""
    result = parse_threshold(value)
    figure, sign, limit = re.split("(>=|<=|>|<)", str(value).replace(" ", ""), maxsplit=1)
    if limit[-1] in "0123456789." and result.limit.denominator != 1:
        share = f"{figure}{sign}{float(limit) * 100:g}%"
        raise ValueError(f"a number of packets: write {share} for a share, or a whole number")
    return result


def account_name(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[^\s:\0]{1,32}", value):
        return value
    raise ValueError("the name of an account or a group of this system")
