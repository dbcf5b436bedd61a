"""The front door of the library: measures a path once, in one call."""

import difflib
import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypedDict, Unpack

from twamp.config.ping import PingConfig
from twamp.control.client import Credentials
from twamp.errors import ConfigError
from twamp.metrics.measure import Results
from twamp.ping.credentials import credentials_in_key_file
from twamp.ping.run import Run
from twamp.ping.sessions import TwampSessions
from twamp.ping.target import target_of, with_source

logger = logging.getLogger("twamp.ping")

Seconds = int | float | str | Decimal


class PathOptions(TypedDict, total=False):
    """The options of twping that say how to measure, with its names, defaults and ranges.

    ``twping --help`` explains each; :class:`~twamp.config.ping.PingConfig` has the defaults.
    """

    count: int
    interval: str | float | Decimal
    loss_timeout: Seconds
    end_delay: Seconds
    deadline: Seconds
    any_source: bool
    zero_error_estimate: str
    port_range: tuple[int, int] | str | int
    test_dscp_value: int | str
    control_dscp_value: int | str
    padding: int | None
    do_not_fragment: bool
    source_address: str | None
    interface: str | None
    hwtstamp: str
    ipv4: bool
    ipv6: bool
    zero_addresses: bool
    start_delay: Seconds
    session_count: int
    control_port: int
    auth_mode: str | None
    user: str | None
    key_file: str | None
    maximum_pbkdf2_count: int
    zero_padding: bool


async def measure_path(
    host: str,
    *,
    server: str | None = None,
    credentials: Credentials | None = None,
    **options: Unpack[PathOptions],
) -> Results:
    """Measures the path to ``host`` once, as ``twping`` does, and returns what became of each packet.

    ::

        results = await measure_path("192.0.2.1", count=100, interval=0.02)
        print(results.total.lost, results.total.round_trip.delay.median)

    ``host`` is a name or an address, also ``host:port`` or ``[IPv6 address]:port``; ``server`` is the
    TWAMP Server, if it is another.  ``credentials`` are those of the secured modes; ``user`` and
    ``key_file`` are another way to give them.  The options are those of :class:`PathOptions`.

    With no reply at all the results say so (``results.total.received`` is 0); that is no error.
    Warnings go to the logger ``twamp.ping``.  Several may run at once in one event loop.  When the
    call is cancelled, its connection, sockets and threads are gone before CancelledError goes on.

    Raises TypeError for an unknown option, ConfigError for a value that is wrong, Refused or
    ProtocolError when the Server does not grant the sessions, OSError when the network fails.
    """
    given: dict[str, Any] = {**options}
    _require_known(given)
    config, credentials = _with_credentials(given, credentials)
    config = with_source(config)
    run = Run(config, TwampSessions(config, target_of(host, config, server), credentials))
    try:
        return Results.of(await run.run())
    finally:
        for warning in run.warnings:
            logger.warning("%s: %s", host, warning)


def _require_known(options: Mapping[str, Any]) -> None:
    known = PathOptions.__annotations__
    for name in options.keys() - known.keys():
        near = difflib.get_close_matches(name, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise TypeError(f"measure_path() has no option {name!r}; {remedy}")


def _with_credentials(
    options: Mapping[str, Any], credentials: Credentials | None
) -> tuple[PingConfig, Credentials | None]:
    """Returns the options, and the credentials that they or the caller give; the user is not asked for any."""
    if credentials is None:
        config = PingConfig(**options, progress="off")
        if config.user is not None and config.key_file is None:
            raise ConfigError("user: the passphrase is missing; give key_file or credentials")
        return config, credentials_in_key_file(config)
    if "user" in options or "key_file" in options:
        raise ConfigError("credentials: they name the user; leave user and key_file out")
    return PingConfig(**options, user=credentials.user, progress="off"), credentials
