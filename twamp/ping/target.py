"""Finds the two ends of a measurement from twping's options and host."""

import socket
from dataclasses import replace

from twamp.config.ping import PingConfig
from twamp.config.target import Target, read_target
from twamp.errors import ConfigError


def target_of(host: str, config: PingConfig, server: str | None = None) -> Target:
    """Returns the host to measure and its Server, which is the host unless another is given.

    Raises ConfigError for what is no host.
    """
    return read_target(host, server, default_port=config.control_port)


def with_source(config: PingConfig) -> PingConfig:
    """Returns the options, an interface that ``-S`` names made the one to bind to (as perfSONAR does).

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
