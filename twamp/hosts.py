"""Whom to measure, as it is written: ``host``, ``host:port``, ``v6``, ``[v6]`` and ``[v6]:port``."""

import contextlib
import re
from ipaddress import ip_address
from typing import NamedTuple

from twamp.errors import ConfigError


class Target(NamedTuple):
    """Whom to measure, and whom to ask: both as written, the latter with its TCP port."""

    host: str
    server: str
    port: int

    @classmethod
    def of(cls, text: str, port: int) -> "Target":
        """A host that is its own Server; ``port`` where ``text`` has none."""
        host, written = split_host(text)
        return cls(host, host, port if written is None else written)


def split_host(text: str) -> tuple[str, int | None]:
    """Host and port of ``host``, ``host:port``, ``v6``, ``[v6]`` and ``[v6]:port``."""
    match = re.fullmatch(r"\[([^]]+)\](?::(\d{1,5}))?|([^:\[\]]+)(?::(\d{1,5}))?", text, re.ASCII)
    if match is None:
        with contextlib.suppress(ValueError):
            if ip_address(text).version == 6:
                return text, None
        raise ConfigError(f"{text!r} is no host; write host, host:port or [IPv6 address]:port")
    host, digits = match[1] or match[3], match[2] or match[4]
    if digits is not None and not 1 <= int(digits) <= 65535:
        raise ConfigError(f"{text!r}: port {digits} is out of range; it goes from 1 to 65535")
    return host, None if digits is None else int(digits)
