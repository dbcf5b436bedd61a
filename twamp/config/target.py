"""The host that twping measures, and its spelling on the command line.

A host is a name or an address: ``host``, ``host:port``, ``v6``, ``[v6]`` or ``[v6]:port``.
"""

import contextlib
import re
from ipaddress import ip_address
from typing import NamedTuple

from twamp.config.readers import HIGHEST_PORT
from twamp.errors import ConfigError


class Target(NamedTuple):
    """The host to measure, and the Server to ask with its TCP port; both as written."""

    host: str
    server: str
    port: int


def split_host(text: str) -> tuple[str, int | None]:
    """Host and port (None: not given) of a host on the command line; ConfigError if it is none."""
    match = re.fullmatch(r"\[([^]]+)\](?::(\d{0,5}))?|([^:\[\]]+)(?::(\d{1,5}))?", text, re.ASCII)
    if match is None:
        with contextlib.suppress(ValueError):
            if ip_address(text).version == 6:
                return text, None
        raise ConfigError(f"{text!r} is no host; write host, host:port or [IPv6 address]:port")
    # Vyatta's twping writes [host]: for the default port.
    host, digits = match[1] or match[3], match[2] or match[4]
    if digits and not 1 <= int(digits) <= HIGHEST_PORT:
        raise ConfigError(
            f"{text!r}: port {digits} is out of range; it goes from 1 to {HIGHEST_PORT}"
        )
    return host, int(digits) if digits else None


def read_target(host: str, server: str | None, *, default_port: int) -> Target:
    """The target of HOST and SERVER; ConfigError for what is no host."""
    name, _ = split_host(host)  # beside a SERVER its port has no meaning, as with perfSONAR's
    asked, asked_port = split_host(server or host)
    return Target(name, asked, default_port if asked_port is None else asked_port)
