"""The two ends of a measurement, as twping's options and host say them."""

import socket
from dataclasses import replace

from twamp.config.ping import PingConfig
from twamp.config.target import Target, read_target
from twamp.errors import ConfigError


def target_of(host: str, config: PingConfig, server: str | None = None) -> Target:
    """The host that is measured and its Server, the host itself unless there is another.

    Raises ConfigError for what is no host, or for a host and a Server that contradict each other.
    """
    port, zero_addresses = config.control_port, config.zero_addresses
    return read_target(host, server, default_port=port, zero_addresses=zero_addresses)


def with_source(config: PingConfig) -> PingConfig:
    """The options with an interface that ``-S`` names as the one to bind to, as perfSONAR takes it.

    Raises ConfigError when ``--interface`` names another one.
    """
    name = config.source_address
    if name is None or name not in (interface for _, interface in socket.if_nameindex()):
        return config
    if config.interface not in (None, name):
        raise ConfigError(
            f"source-address: {name} is an interface, but {config.interface} is asked for"
        )
    return replace(config, source_address=None, interface=name)
