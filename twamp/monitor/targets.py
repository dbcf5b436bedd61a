"""Reads many targets from one TOML file.

::

    report-interval = 10
    metrics-address = "127.0.0.1:9862"

    [module.voice]
    interval = "0.02f"
    test-dscp-value = "EF"

    [target.paris]
    host = "192.0.2.1:862"
    module = "voice"
    padding = 160

    [probe]
    allow = ["198.51.100.0/24"]

The top holds options of the program, and options of measurement for all targets.  A target's own options
precede those of its module, which precede those at the top.  ``[probe]`` lists the addresses that may be
measured on request beside the targets: see :mod:`twamp.monitor.probe`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from twamp.config.ping import PingConfig
from twamp.config.readers import prefix
from twamp.config.row import Given, field_of, require_none, settle
from twamp.config.toml_text import TomlText
from twamp.errors import ConfigError

# Options of the program as a whole: at the top only.
OF_THE_PROGRAM = frozenset(
    {
        *("report_interval", "output", "rotate_size", "rotate_count", "metrics_address"),
        *("json", "csv", "influx", "units", "percentiles", "quiet"),
    }
)
# Options of one measurement.
OF_A_TARGET = frozenset(
    {
        *("count", "interval", "loss_timeout", "port_range", "test_dscp_value", "padding"),
        "control_dscp_value",
        *("source_address", "interface", "ipv4", "ipv6", "zero_addresses", "session_count"),
        *("hwtstamp", "control_port", "auth_mode", "user", "key_file", "maximum_pbkdf2_count"),
        *("zero_padding", "fail"),
    }
)
SHORT = {"port": "control-port", "dscp": "test-dscp-value", "mode": "auth-mode"}
# The defaults of a module for probes: a second of measurement.
OF_A_PROBE: Mapping[str, object] = {"count": 10, "interval": "0.1f", "loss_timeout": 1}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """One target: its host as written, and how to measure it."""

    name: str
    host: str
    config: PingConfig


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The content of a file; ``modules`` and ``allow`` say how and where to probe on request."""

    options: PingConfig
    targets: tuple[TargetConfig, ...]
    modules: Mapping[str, PingConfig]
    allow: tuple[IPv4Network | IPv6Network, ...]


def read_targets(path: str, command_line: Mapping[str, Given]) -> Targets:
    """Reads the file; options of the command line precede those at the top of the file.

    Raises :class:`OSError` for a file that cannot be read, :class:`~twamp.errors.ConfigError` with file
    and line for one that is not right.
    """
    text = TomlText(path)
    table = text.table
    file = _File(text)
    tables = {key: file.tables(key, table.pop(key, {})) for key in ("module", "target")}
    allow = _allow(file, table.pop("probe", {}))
    top = {
        **file.options(table, "", OF_THE_PROGRAM | OF_A_TARGET),
        **command_line,
        "continuous": Given(True, "command line"),
    }
    inherited = OF_A_TARGET | {"report_interval"}
    common = {key: value for key, value in top.items() if key in inherited}
    modules = {
        name: file.options(each, f"module.{name}", OF_A_TARGET)
        for name, each in tables["module"].items()
    }
    targets = [
        _target(file, name, each, common, modules) for name, each in tables["target"].items()
    ]
    probes = {name: _probe(file, name, given, common) for name, given in modules.items()}
    options = file.settled(top)
    require_none(
        list(dict.fromkeys(file.errors))
    )  # once each: those at the top are in every target
    assert options is not None, "what is wrong has been told"
    return Targets(
        options=options,
        targets=tuple(each for each in targets if each is not None),
        modules={name: config for name, config in probes.items() if config is not None},
        allow=allow,
    )


def _target(
    file: "_File",
    name: str,
    table: dict[str, Any],
    common: Mapping[str, Given],
    modules: Mapping[str, Mapping[str, Given]],
) -> TargetConfig | None:
    """A target; None where it is wrong, which ``file`` has noted."""
    section = f"target.{name}"
    host, module = file.take(table, section, "host"), file.take(table, section, "module")
    if host is None:
        file.errors.append(
            f"{file.where(section)}: host is missing; give the name or address to measure"
        )
    if module and module not in modules:
        known = ", ".join(modules) or "none"
        file.errors.append(f"{file.where(section)}: there is no module {module!r}; known: {known}")
    own = file.options(table, section, OF_A_TARGET)
    config = file.settled(common, modules.get(module or "", {}), own, section=section)
    return (
        None
        if host is None or config is None
        else TargetConfig(name=name, host=host, config=config)
    )


def _probe(
    file: "_File", name: str, own: Mapping[str, Given], common: Mapping[str, Given]
) -> PingConfig | None:
    default = {key: Given(value, "default") for key, value in OF_A_PROBE.items()}
    without = {key: value for key, value in common.items() if key not in OF_A_PROBE}
    return file.settled(without, default, own, section=f"module.{name}")


def _allow(file: "_File", table: object) -> tuple[IPv4Network | IPv6Network, ...]:
    if not isinstance(table, dict) or not set(table) <= {"allow"}:
        raise ConfigError(f"{file.where('probe')}: one key is known: allow, a list of prefixes")
    entries = table.get("allow", [])
    try:
        if not isinstance(entries, list):
            raise ValueError("a list of prefixes")
        return tuple(prefix(entry) for entry in entries)
    except ValueError as error:
        raise ConfigError(f"{file.where('probe')}: allow: {entries!r} is not {error}") from None


class _File:
    """The text of a file, to say in which line an error is; ``errors`` are those found so far."""

    def __init__(self, text: TomlText) -> None:
        self.errors: list[str] = []
        self._text = text

    def where(self, section: str, key: str = "") -> str:
        """Returns file, line, and the table's name."""
        path = tuple(filter(None, (*section.split(".", 1), key)))
        return self._text.where(*path) if key else f"{self._text.where(*path)}, {section}"

    def tables(self, key: str, value: object) -> dict[str, dict[str, Any]]:
        if not isinstance(value, dict) or not all(
            isinstance(each, dict) for each in value.values()
        ):
            raise ConfigError(f"{self.where('', key)}: write a table [{key}.NAME] for each {key}")
        for name in value:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{self.where('', key)}: {key} {name!r}: a name has 1 to 64 letters, digits, "
                    "dots, dashes and underscores"
                )
        return value

    def take(self, table: dict[str, Any], section: str, key: str) -> str | None:
        value = table.pop(key, None)
        if value is not None and (not isinstance(value, str) or not value):
            self.errors.append(f"{self.where(section, key)}: {key}: {value!r} is no text")
            return ""  # which is no second error
        return value

    def options(
        self, table: Mapping[str, Any], section: str, allowed: frozenset[str]
    ) -> dict[str, Given]:
        """The options of a table by field; notes the keys that are none, or not there."""
        given = {}
        for key, value in table.items():
            origin = self.where(section, key)
            try:
                field = field_of(PingConfig, SHORT.get(key, key))
            except ConfigError as error:
                self.errors.append(f"{origin}: {error}")
                continue
            if field not in allowed:
                place = "in a table" if section else "in a file"
                self.errors.append(f"{origin}: {key!r} has no place {place}; take it out")
                continue
            given[field] = Given(value, origin)
        return given

    def settled(self, *sources: Mapping[str, Given], section: str = "") -> PingConfig | None:
        """The options that the sources make, of a section without secrets; notes what is wrong with them."""
        try:
            config, _ = settle(PingConfig, *sources)
        except ConfigError as error:
            self.errors.extend(str(error).splitlines())
            return None
        if section and config.user is not None and config.key_file is None:
            self.errors.append(
                f"{self.where(section)}: user: the passphrase cannot be asked for here; give key-file"
            )
        return config
