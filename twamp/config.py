"""The options of each program: one frozen dataclass per program, one row per option.

A row is :func:`option`: default, least, most, help, and how a value is read.  Everything derives
from the rows: field ``maximum_connections``, command line ``--maximum-connections``, key
``maximum-connections``.  Constructing a config reads and checks every row, whoever brings the
values, so a value may be text (command line), what TOML has for it, or the field's own type.
:class:`~twamp.errors.ConfigError` names the key, the value, the range and the remedy.
"""

import argparse
import contextlib
import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from typing import Any, TypeVar

from twamp.errors import ConfigError
from twamp.schedule import parse_intervals

HIGHEST_PORT = 65535
MOST_PACKETS = 10_000_000
MOST_PADDING = 65507 - 14  # what UDP over IPv4 carries, less a sender packet
UNITS = ("n", "u", "m", "s")  # nano-, micro-, milliseconds, seconds
_ROW = "twamp.option"

# RFC 2474, 2597, 3246, 5865, 8622.  CS0 has many names: BE, and those that perfSONAR's -D takes.
DSCP_NAMES: Mapping[str, int] = {
    **dict.fromkeys(("BE", "DF", "DEFAULT", "NONE"), 0),
    "LE": 1,
    **{f"CS{number}": 8 * number for number in range(8)},
    **{f"AF{group}{drop}": 8 * group + 2 * drop for group in range(1, 5) for drop in range(1, 4)},
    "VA": 44,
    "EF": 46,
}

# ---- readers: any spelling of a value -> the value; ValueError says what it should have been -----


def integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,20}\s*", value, re.ASCII):
        return int(value)
    raise ValueError("a whole number")


def seconds(value: object) -> Decimal:
    """Seconds, exactly as written; nanoseconds are the least that counts."""
    if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
        try:
            number = Decimal(str(value).strip())
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite() and abs(number) < 10**12:
            return number
    raise ValueError("a number of seconds such as 2 or 0.5")


def flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def dscp(value: object) -> int:
    """A DSCP: decimal, 0x hexadecimal or a name (RFC 2474), in any case of letters."""
    if isinstance(value, str):
        name = value.strip().upper()
        if name in DSCP_NAMES:
            return DSCP_NAMES[name]
        if re.fullmatch(r"0X[0-9A-F]{1,8}", name):
            return int(name, 16)
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
    """At most IFNAMSIZ - 1 octets; whether it is here is the kernel's to say."""
    if isinstance(value, str) and re.fullmatch(r"[^\s/\0]{1,15}", value):
        return value
    raise ValueError("the name of a network interface, as `ip link` lists them")


def intervals(value: object) -> str:
    """twping's ``-i``; stays text, :func:`~twamp.schedule.parse_intervals` reads it."""
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
    if isinstance(value, str) and value in UNITS:
        return value
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


MODES = ("unauthenticated", "authenticated", "encrypted", "mixed")


def mode_name(value: object) -> str:
    """A security mode, or with ``no-`` before it that it is not to be served (Vyatta's form)."""
    if isinstance(value, str) and value.strip().lower().removeprefix("no-") in MODES:
        return value.strip().lower()
    raise ValueError(f"a mode: {', '.join(MODES)}, or no- and one of these")


def auth_modes(value: object) -> str:
    """perfSONAR's letters, in any order: the strongest that is offered is taken."""
    if isinstance(value, str) and value and not set(value.upper()) - set("AEMO"):
        return "".join(letter for letter in "EAMO" if letter in value.upper())
    raise ValueError("letters of A (authenticated), E (encrypted), M (mixed), O (open), such as AE")


def power_of_two(value: object) -> int:
    number = integer(value)
    if number.bit_count() != 1:
        raise ValueError("a power of two such as 32768")
    return number


def user_name(value: object) -> str:
    if isinstance(value, str) and 1 <= len(value.encode()) <= 80 and "\0" not in value:
        return value
    raise ValueError("a user name of 1 to 80 octets")


def file_path(value: object) -> str:
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise ValueError("the name of a file")


# ---- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one option beside its name and type."""

    default: Any
    least: int | Decimal | None
    most: int | Decimal | None
    help: str
    read: Callable[[object], Any]
    flags: tuple[str, ...]
    multiple: bool
    metavar: str | None

    @property
    def range(self) -> str:
        return "" if self.least is None else f"{self.least}-{self.most}"

    def value(self, key: str, value: object) -> Any:
        """``value`` as the field's type, within the range; else :class:`ConfigError`."""
        if self.multiple:
            elements = value if isinstance(value, tuple | list) else (value,)
            return tuple(self._one(key, element) for element in elements)
        if value is None and self.default is None:
            return None
        return self._one(key, value)

    def _one(self, key: str, value: object) -> Any:
        try:
            result = self.read(value)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from None
        except ValueError as error:
            within = f" from {self.least} to {self.most}" if self.range else ""
            raise ConfigError(
                f"{key}: {_shown(value)} is not {error}{within}{self._example(key)}"
            ) from None
        if self.least is not None and self.most is not None:
            numbers = result if isinstance(result, tuple) else (result,)
            if not all(self.least <= number <= self.most for number in numbers):
                raise ConfigError(
                    f"{key}: {_shown(value)} is out of range; "
                    f"it goes from {self.least} to {self.most}{self._example(key)}"
                )
            if list(numbers) != sorted(numbers):
                raise ConfigError(
                    f"{key}: {_shown(value)} ends before it begins; write the lower port, from "
                    f"{self.least} to {self.most}, first{self._example(key)}"
                )
        return result

    def _example(self, key: str) -> str:
        text = default_text(self.default)
        return f"; for example --{key} {text}" if text else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…" + text[-1]


def default_text(default: object) -> str:
    """A default as one would write it on the command line; empty for none."""
    if default is None or default == () or isinstance(default, bool):
        return ""
    if isinstance(default, tuple):
        return "-".join(str(part) for part in default)
    return str(default)


def option(
    default: Any,
    least: int | Decimal | None = None,
    most: int | Decimal | None = None,
    help: str = "",
    *,
    read: Callable[[object], Any] = integer,
    flags: tuple[str, ...] = (),
    multiple: bool = False,
    metavar: str | None = None,
) -> Any:
    """A row: a dataclass field with default, range (both ends included) and help.

    ``flags`` are further spellings on the command line (``-c``, ``--interface``); a ``multiple``
    one may be given more than once and is a tuple.
    """
    row = Row(
        default=default,
        least=least,
        most=most,
        help=help,
        read=read,
        flags=flags,
        multiple=multiple,
        metavar=metavar,
    )
    return dataclasses.field(default=default, metadata={_ROW: row})


class Config:
    """Base of the programs' options: checks every row when it is made."""

    def __post_init__(self) -> None:
        for field, row in rows(type(self)):
            value = row.value(key_of(field), getattr(self, field))
            object.__setattr__(self, field, value)
        self.check_cross_rules()

    def check_cross_rules(self) -> None:
        """Rules over more than one option; raises :class:`ConfigError`."""


ConfigT = TypeVar("ConfigT", bound=Config)


def key_of(field: str) -> str:
    return field.replace("_", "-")


def rows(config_class: type[Config]) -> Sequence[tuple[str, Row]]:
    """The (field, row) pairs, in the order of declaration."""
    fields: Sequence[dataclasses.Field[Any]] = dataclasses.fields(config_class)  # type: ignore[arg-type]
    return [(field.name, field.metadata[_ROW]) for field in fields if _ROW in field.metadata]


# ---- the command line ----------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, config_class: type[Config]) -> None:
    """One command line option per row; what is not given is absent from the namespace."""
    for field, row in rows(config_class):
        keywords: dict[str, Any] = {"dest": field, "default": argparse.SUPPRESS}
        if row.read is flag:
            keywords["action"] = "store_true"
        else:
            keywords["metavar"] = row.metavar or field.rpartition("_")[2].upper()
            if row.multiple:
                keywords["action"] = "append"
        short = [name for name in row.flags if not name.startswith("--")]
        long = [name for name in row.flags if name.startswith("--")]
        parser.add_argument(
            *short, f"--{key_of(field)}", *long, help=_help(row).replace("%", "%%"), **keywords
        )


def _help(row: Row) -> str:
    if row.read is flag:
        return row.help
    parts = []
    if text := default_text(row.default):
        parts.append(f"default {text}")
    if row.range:
        parts.append(row.range)
    return f"{row.help} ({'; '.join(parts)})" if parts else row.help


def from_arguments(config_class: type[ConfigT], namespace: argparse.Namespace) -> ConfigT:
    """The config that a parsed command line asks for; what it does not say is the default."""
    return config_class(**given_fields(config_class, namespace))


def given_fields(config_class: type[Config], namespace: argparse.Namespace) -> dict[str, Any]:
    """The fields that a parsed command line sets."""
    given = vars(namespace)
    return {field: given[field] for field, _ in rows(config_class) if field in given}


# ---- a file --------------------------------------------------------------------------------------


def from_table(config_class: type[Config], table: Mapping[str, object]) -> dict[str, Any]:
    """The fields that a TOML table sets; an unknown key is refused with the nearest known one."""
    known = {key_of(field): field for field, _ in rows(config_class)}
    for key in table.keys() - known.keys():
        near = difflib.get_close_matches(key, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise ConfigError(f"{key!r} is no option; {remedy}")
    return {known[key]: value for key, value in table.items()}


# ---- the programs --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ReflectorConfig(Config):
    """Options of the responder (``twampd``)."""

    listen_address: tuple[str, ...] = option(
        (), help="where TWAMP-Control listens; repeatable; without, any address of IPv4 and IPv6",
        read=address, multiple=True,
    )  # fmt: skip
    port: int = option(
        862, 0, HIGHEST_PORT, "TCP port of TWAMP-Control; 0 takes a free one and logs it"
    )
    iface: str | None = option(
        None, help="bind to this network interface", read=interface_name, flags=("--interface",)
    )
    test_ports: tuple[int, int] = option(
        (18760, 19960), 1, HIGHEST_PORT, "UDP ports for test sessions",
        read=port_range, metavar="LO-HI",
    )  # fmt: skip
    maximum_connections: int = option(16, 1, 4096, "control connections at once")
    maximum_sessions_per_connection: int = option(8, 1, 1024, "test sessions of one connection")
    maximum_sessions: int = option(4096, 1, 65536, "test sessions in all")
    server_inactivity_timeout: int = option(
        900, 1, 3600, "seconds without a control message after which a connection ends (SERVWAIT)"
    )
    test_inactivity_timeout: int = option(
        900, 1, 3600, "seconds without a test packet after which a session ends (REFWAIT)"
    )
    dscp_value: int = option(
        0, 0, 63, "DSCP of the control packets, a number or a name such as EF", read=dscp
    )
    tx_batch: int = option(
        2, 1, 64, "replies sent by one system call; the error of T3 grows with each"
    )
    mode: tuple[str, ...] = option(
        (), help="security mode to offer, repeatable; or no-MODE to leave one out; "
        "without, all that can be served",
        read=mode_name, multiple=True, metavar="MODE",
    )  # fmt: skip
    key_file: str | None = option(
        None, help="users of the secured modes: lines of identity and hexadecimal passphrase",
        read=file_path, flags=("-k",), metavar="FILE",
    )  # fmt: skip
    pbkdf2_count: int = option(
        32768, 1024, 1 << 24, "iterations that make a key of a passphrase, a power of two",
        read=power_of_two,
    )  # fmt: skip

    def check_cross_rules(self) -> None:
        self._check_modes()
        self._check_sessions()

    def _check_modes(self) -> None:
        negative = [name for name in self.mode if name.startswith("no-")]
        if negative and len(negative) != len(self.mode):
            raise ConfigError(
                f"mode: {', '.join(self.mode)} says both what to offer and what not to; "
                "give modes, or no- modes"
            )
        if len(set(negative)) == len(MODES):
            raise ConfigError("mode: nothing is left to offer; leave one of the no- modes out")

    def _check_sessions(self) -> None:
        """Who chooses both factors means their product; the default of the other promises nothing."""
        connections, each = self.maximum_connections, self.maximum_sessions_per_connection
        default = type(self)
        chosen = (
            connections != default.maximum_connections
            and each != default.maximum_sessions_per_connection
        )
        if chosen and connections * each > self.maximum_sessions:
            raise ConfigError(
                f"maximum-sessions: {self.maximum_sessions} is less than maximum-connections, "
                f"{connections}, times maximum-sessions-per-connection, {each}; give at least "
                f"{connections * each} (it goes to 65536), or lower one of these"
            )


@dataclass(frozen=True, kw_only=True)
class PingConfig(Config):
    """Options of ``twping``.  The short ones mean what they mean to perfSONAR's."""

    count: int = option(100, 1, MOST_PACKETS, "test packets of each session", flags=("-c",))
    interval: str = option(
        "0.1e",
        help="waits between packets in seconds, in turn: VALUE[e|f],…; e exponential, f fixed",
        read=intervals,
        flags=("-i",),
    )
    loss_timeout: Decimal = option(  # noqa: RUF009
        2, 0, 3600, "seconds after which a packet is lost",
        read=seconds, flags=("-L",),
    )  # fmt: skip
    port_range: tuple[int, int] = option(
        (8760, 9960), 0, HIGHEST_PORT, "UDP ports to send from; 0: any",
        read=sender_ports, flags=("-P",), metavar="LO-HI|0",
    )  # fmt: skip
    test_dscp_value: int = option(
        0, 0, 63, "DSCP of the test packets, a number or a name such as EF",
        read=dscp, flags=("-D",), metavar="DSCP",
    )  # fmt: skip
    padding: int = option(
        27, 0, MOST_PADDING,
        "octets added to a test packet; 27 makes it as long as its reply", flags=("-s",),
    )  # fmt: skip
    source_address: str | None = option(
        None, help="local address of control and test packets", read=address, flags=("-S",)
    )
    interface: str | None = option(
        None, help="bind to this network interface", read=interface_name, flags=("-B",)
    )
    ipv4: bool = option(False, help="IPv4 only", read=flag, flags=("-4",))
    ipv6: bool = option(False, help="IPv6 only", read=flag, flags=("-6",))
    zero_addresses: bool = option(
        False,
        help="name no addresses in the request, so that test packets may cross a NAT",
        read=flag,
        flags=("-Z",),
    )
    start_delay: Decimal = option(  # noqa: RUF009
        0, 0, 3600, "seconds to wait before the first packet is due",
        read=seconds, flags=("-z",),
    )  # fmt: skip
    session_count: int = option(1, 1, 1024, "test sessions at once, on one connection")
    control_port: int = option(862, 1, HIGHEST_PORT, "TCP port where HOST names none")
    loopback: bool = option(
        False, help="measure a responder inside this program, on a port of its own", read=flag
    )
    verbose: int = option(
        0, 0, MOST_PACKETS, "a line for each packet, or for the first N (-vN)",
        read=packet_limit, metavar="N|all",
    )  # fmt: skip
    raw: bool = option(False, help="rows of 16 columns, and no summary", read=flag, flags=("-R",))
    unix_time: bool = option(
        False, help="Unix times in the line of each packet", read=flag, flags=("-U",)
    )
    machine: bool = option(False, help="summary as keys and values", read=flag, flags=("-M",))
    json: bool = option(False, help="report as JSON, in nanoseconds", read=flag)
    auth_mode: str | None = option(
        None, help="modes to accept, of A, E, M, O: authenticated, encrypted, mixed, open; "
        "without, O, or AEM with a user",
        read=auth_modes, flags=("-A",), metavar="AEMO",
    )  # fmt: skip
    user: str | None = option(None, help="user of the secured modes", read=user_name, flags=("-u",))
    key_file: str | None = option(
        None, help="file with the user's passphrase; without, it is asked for on the terminal",
        read=file_path, flags=("-k",), metavar="FILE",
    )  # fmt: skip
    maximum_pbkdf2_count: int = option(
        32768, 1024, 1 << 31, "most iterations to spend on a key at a Server's wish"
    )
    zero_padding: bool = option(False, help="padding of zeros, not of random octets", read=flag)
    units: str = option("m", help="unit of times: n, u, m or s", read=unit_of_time, flags=("-n",))
    quiet: bool = option(False, help="no summary", read=flag, flags=("-Q",))
    percentiles: tuple[Decimal, ...] = option(
        (), help="percentiles of the round-trip time to report, such as 95,99.9",
        read=percentile_list, flags=("-a",), metavar="LIST",
    )  # fmt: skip

    def check_cross_rules(self) -> None:
        if self.key_file is not None and self.user is None:
            raise ConfigError("key-file: whose passphrase? give --user too")
        if self.user is None and set(self.auth_mode or "O") != {"O"}:
            raise ConfigError(f"auth-mode: {self.auth_mode} needs a user; give --user NAME")
        if self.ipv4 and self.ipv6:
            raise ConfigError("ipv4: true excludes ipv6: true; give one of -4 and -6")
        low, high = self.port_range
        if low and high - low + 1 < self.session_count:
            raise ConfigError(
                f"port-range: {low}-{high} has fewer ports than session-count, "
                f"{self.session_count}; give as many, or --port-range 0 for any"
            )
