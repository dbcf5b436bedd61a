"""Converts between Python and the C engine: errors, names of enumerations, and structs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
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
    "python_endpoint",
    "wipe_keys",
]


def check(result: int) -> int:
    """Returns a result of the engine; raises OSError for -errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def enum_names(enum: str, prefix: str) -> dict[str, int]:
    """Maps the lower-case names of a C enumeration to their values, all but NONE and COUNT."""
    values: dict[int, str] = ffi.typeof(f"enum {enum}").elements
    names = {name.removeprefix(prefix).lower(): value for value, name in sorted(values.items())}
    return {name: value for name, value in names.items() if name not in ("none", "count")}


def native_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """Returns the fields of a ``struct tw_endpoint``, as cffi takes them."""
    return {
        "address": endpoint.address_field,
        "scope_id": endpoint.scope_id,
        "port": endpoint.port,
        "ip_version": endpoint.ip_version,
    }


def python_endpoint(native: Any) -> Endpoint | None:
    """Returns a ``struct tw_endpoint`` as an Endpoint; None where C has none (IP version 0)."""
    if not native.ip_version:
        return None
    address = ip_address(bytes(native.address)[: 4 if native.ip_version == 4 else 16])
    return Endpoint(address, native.port, native.scope_id)


def native_prefix(prefix: IPv4Network | IPv6Network) -> dict[str, Any]:
    """Returns the fields of a ``struct tw_prefix``, as cffi takes them."""
    return {
        "address": prefix.network_address.packed.ljust(16, b"\0"),
        "length": prefix.prefixlen,
        "ip_version": prefix.version,
    }


def native_keys(keys: PacketKeys | None) -> dict[str, bytes]:
    """Returns the fields of a ``struct tw_test_keys``; none, which is zeros, where the mode has no keys."""
    return {} if keys is None else {"aes": keys.aes, "hmac": keys.hmac}


def wipe_keys(native: Any) -> None:
    """Overwrites the keys in a struct that C has copied."""
    ffi.memmove(
        ffi.addressof(native, "keys"), bytes(ffi.sizeof(native.keys)), ffi.sizeof(native.keys)
    )


@dataclass(frozen=True, kw_only=True)
class EngineClockModel:
    """Converts stamps of a network device to Unix time (``struct tw_clock_model``).

    When the device's clock showed ``device_ns`` the system clock showed ``unix_ns``; the latter runs faster
    by ``rate`` ns in 2^32 ns of the device's.  A converted stamp may be off by ``error_ns``.
    """

    interface: int  # index of the device
    device_ns: int
    unix_ns: int
    rate: int
    error_ns: int
    transmits: bool  # whether it stamps what leaves


def native_clock_models(models: Sequence[EngineClockModel]) -> Any:
    """Returns an array of ``struct tw_clock_model``; raises ValueError for more than 8."""
    if len(models) > lib.TW_CLOCK_MODELS_MAX:
        raise ValueError(f"{len(models)} clock models: 0..{lib.TW_CLOCK_MODELS_MAX} are possible")
    return ffi.new("struct tw_clock_model[]", [vars(model) for model in models])
