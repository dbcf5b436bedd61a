"""The engine as the two roles that run in it see it: its errors, its names, its addresses."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from twamp._native import ffi, lib
from twamp.endpoint import Endpoint
from twamp.protocol.crypto import PacketKeys

__all__ = [
    "EngineClockModel",
    "check",
    "enum_names",
    "ffi",
    "lib",
    "native_clock_models",
    "native_endpoint",
    "native_keys",
    "native_prefix",
    "wipe_keys",
]


def check(result: int) -> int:
    """A result of the engine; OSError for -errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def enum_names(enum: str, prefix: str) -> dict[str, int]:
    """Lower-case name -> value, of all but NONE and COUNT: a new row of csrc/api/ needs no edit here."""
    values: dict[int, str] = ffi.typeof(f"enum {enum}").elements
    names = {name.removeprefix(prefix).lower(): value for value, name in sorted(values.items())}
    return {name: value for name, value in names.items() if name not in ("none", "count")}


def native_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """What cffi makes a ``struct tw_endpoint`` of."""
    return {
        "address": endpoint.address_field,
        "scope_id": endpoint.scope_id,
        "port": endpoint.port,
        "ip_version": endpoint.ip_version,
    }


def native_prefix(prefix: IPv4Network | IPv6Network) -> dict[str, Any]:
    """What cffi makes a ``struct tw_prefix`` of."""
    return {
        "address": prefix.network_address.packed.ljust(16, b"\0"),
        "length": prefix.prefixlen,
        "ip_version": prefix.version,
    }


def native_keys(keys: PacketKeys | None) -> dict[str, bytes]:
    """What cffi makes a ``struct tw_test_keys`` of; zeros where the mode has none."""
    return {} if keys is None else {"aes": keys.aes, "hmac": keys.hmac}


def wipe_keys(native: Any) -> None:
    """Forgets the keys in a struct that has been handed over."""
    ffi.memmove(
        ffi.addressof(native, "keys"), bytes(ffi.sizeof(native.keys)), ffi.sizeof(native.keys)
    )


@dataclass(frozen=True, kw_only=True)
class EngineClockModel:
    """``struct tw_clock_model``: what the clock of a network device says of the system clock.

    When the device's clock showed ``device_ns`` the system clock showed ``unix_ns``; the latter runs faster
    by ``rate`` ns in 2^32 ns of the device's.  What is made of a stamp may be off by ``error_ns``.
    """

    interface: int  # index of the device
    device_ns: int
    unix_ns: int
    rate: int
    error_ns: int
    transmits: bool  # whether it stamps what leaves


def native_clock_models(models: Sequence[EngineClockModel]) -> Any:
    """What cffi makes an array of ``struct tw_clock_model`` of; ValueError for more than 8."""
    if len(models) > lib.TW_CLOCK_MODELS_MAX:
        raise ValueError(f"{len(models)} clock models: 0..{lib.TW_CLOCK_MODELS_MAX} are possible")
    return ffi.new("struct tw_clock_model[]", [vars(model) for model in models])
