"""The two ends of a measurement, of the options and the host."""

import pytest

from twamp.config.ping import PingConfig
from twamp.config.target import Target
from twamp.errors import ConfigError
from twamp.ping.target import target_of, with_source


def test_the_server_is_the_host_unless_there_is_another() -> None:
    config = PingConfig(control_port=8620)
    assert target_of("192.0.2.1", config) == Target("192.0.2.1", "192.0.2.1", 8620)
    assert target_of("192.0.2.1:99", config) == Target("192.0.2.1", "192.0.2.1", 99)
    assert target_of("192.0.2.1", config, "[::1]:99") == Target("192.0.2.1", "::1", 99)


def test_a_port_of_the_host_has_no_meaning_beside_a_server() -> None:
    """As with perfSONAR's twping."""
    zero = PingConfig(zero_addresses=True)
    assert target_of("192.0.2.1:9", zero, "192.0.2.2") == Target("192.0.2.1", "192.0.2.2", 862)


def test_a_source_that_is_an_interface_is_bound_to() -> None:
    config = with_source(PingConfig(source_address="lo"))
    assert (config.source_address, config.interface) == (None, "lo")
    config = with_source(PingConfig(source_address="lo", interface="lo"))
    assert (config.source_address, config.interface) == (None, "lo")
    with pytest.raises(ConfigError, match="lo is an interface, but other is asked for"):
        with_source(PingConfig(source_address="lo", interface="other"))


def test_a_source_that_is_an_address_stays() -> None:
    config = PingConfig(source_address="127.0.0.1", interface="lo")
    assert with_source(config) == config
