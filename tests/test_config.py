"""Options: each row reads every spelling of its values and refuses the rest by name."""

import argparse
import contextlib
import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twamp.config import (
    DSCP_NAMES,
    MOST_PACKETS,
    Config,
    PingConfig,
    ReflectorConfig,
    add_arguments,
    dscp,
    from_arguments,
    port_range,
    rows,
    seconds,
)
from twamp.errors import ConfigError


def read(*arguments: str) -> ReflectorConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ReflectorConfig)
    return from_arguments(ReflectorConfig, parser.parse_args(arguments))


def test_defaults_are_the_published_ones() -> None:
    config = read()
    assert config == ReflectorConfig()
    assert dataclasses.asdict(config) == {
        "listen_address": (),
        "port": 862,
        "iface": None,
        "test_ports": (18760, 19960),
        "maximum_connections": 16,
        "maximum_sessions_per_connection": 8,
        "maximum_sessions": 4096,
        "server_inactivity_timeout": 900,
        "test_inactivity_timeout": 900,
        "dscp_value": 0,
        "tx_batch": 2,
        "mode": (),
        "key_file": None,
        "pbkdf2_count": 32768,
    }


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--port", "8620"], "port", 8620),
        (["--port", "0"], "port", 0),
        (["--maximum-connections", "4096"], "maximum_connections", 4096),
        (["--test-ports", "20000-20001"], "test_ports", (20000, 20001)),
        (["--test-ports", "862"], "test_ports", (862, 862)),
        (["--iface", "eth0"], "iface", "eth0"),
        (["--interface", "eth0"], "iface", "eth0"),
        (["--dscp-value", "EF"], "dscp_value", 46),
        (["--dscp-value", "af41"], "dscp_value", 34),
        (["--dscp-value", "0x2e"], "dscp_value", 46),
        (["--dscp-value", "46"], "dscp_value", 46),
        (["--tx-batch", "64"], "tx_batch", 64),
        (
            ["--listen-address", "127.0.0.1", "--listen-address", "::1"],
            "listen_address",
            ("127.0.0.1", "::1"),
        ),
    ],
)
def test_command_line_gives_typed_values(arguments: list[str], field: str, value: Any) -> None:
    config = read(*arguments)
    assert getattr(config, field) == value
    assert dataclasses.replace(config, **{field: getattr(ReflectorConfig(), field)}) == read()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", -1),
        ("port", 65536),
        ("port", "http"),
        ("port", True),
        ("port", 8.5),
        ("maximum_connections", 0),
        ("maximum_connections", 4097),
        ("maximum_sessions_per_connection", 1025),
        ("maximum_sessions", 65537),
        ("server_inactivity_timeout", 0),
        ("test_inactivity_timeout", 3601),
        ("tx_batch", 65),
        ("test_ports", "0-10"),
        ("test_ports", "100-65536"),
        ("test_ports", "200-100"),
        ("test_ports", "a-b"),
        ("test_ports", (1, 2, 3)),
        ("dscp_value", 64),
        ("dscp_value", "0x40"),
        ("dscp_value", "AF44"),
        ("listen_address", ("localhost",)),
        ("listen_address", ("127.0.0.1", "256.0.0.1")),
        ("iface", "a name that is too long"),
        ("iface", "a/b"),
        ("iface", ""),
    ],
)
def test_bad_value_is_refused_with_key_value_and_remedy(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        ReflectorConfig(**{field: value})
    message = str(caught.value)
    assert message.startswith(field.replace("_", "-") + ": ")
    blamed = value[-1] if field == "listen_address" else value
    assert repr(blamed) in message
    assert len(message.splitlines()) == 1


def test_message_names_range_and_example() -> None:
    with pytest.raises(ConfigError) as caught:
        read("--maximum-connections", "5000")
    assert str(caught.value) == (
        "maximum-connections: '5000' is out of range; it goes from 1 to 4096; "
        "for example --maximum-connections 16"
    )


def test_every_numeric_row_takes_its_bounds_and_nothing_beyond() -> None:
    checked = 0
    for field, row in rows(ReflectorConfig):
        if row.least is None or row.most is None:
            continue
        values: dict[str, Any] = {}
        for good in (row.least, row.most):
            values[field] = (good, good) if field == "test_ports" else good
            ReflectorConfig(**values)
        for bad in (row.least - 1, row.most + 1):
            values[field] = (bad, bad) if field == "test_ports" else bad
            with pytest.raises(ConfigError):
                ReflectorConfig(**values)
        checked += 1
    assert checked == 10


def test_each_row_has_help_and_an_option_of_its_name() -> None:
    programs: list[type[Config]] = [ReflectorConfig, PingConfig]
    for config_class in programs:
        parser = argparse.ArgumentParser()
        add_arguments(parser, config_class)
        text = parser.format_help()
        for field, row in rows(config_class):
            assert f"--{field.replace('_', '-')}" in text
            assert row.help
        assert len(rows(config_class)) == len(dataclasses.fields(config_class))  # type: ignore[arg-type]


def test_help_shows_default_and_range() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ReflectorConfig)
    text = " ".join(parser.format_help().split())
    assert "(default 18760-19960; 1-65535)" in text
    assert "(default 900; 1-3600)" in text


def test_dscp_names_are_the_registered_code_points() -> None:
    # IANA's registry of DSCP values: class selectors, AF11..AF43, EF, VOICE-ADMIT, LE.
    known = {"CS0": 0, "CS7": 56, "AF11": 10, "AF23": 22, "AF43": 38, "EF": 46, "VA": 44, "LE": 1}
    assert known.items() <= DSCP_NAMES.items()
    # and perfSONAR's further names of CS0
    also = {"DF": 0, "DEFAULT": 0, "NONE": 0}
    assert also.items() <= DSCP_NAMES.items()
    assert len(DSCP_NAMES) == 8 + 12 + 4 + len(also)
    assert all(dscp(name.lower()) == value for name, value in DSCP_NAMES.items())


@given(st.integers(0, 63))
def test_dscp_numbers_read_alike_in_every_notation(value: int) -> None:
    assert dscp(value) == dscp(str(value)) == dscp(hex(value)) == value


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_port_range_reads_what_is_written(low: int, high: int) -> None:
    assert port_range(f"{low}-{high}") == port_range([low, high]) == (low, high)


@pytest.mark.parametrize(
    ("value", "number"), [("0.1", "0.1"), (2, "2"), (0.1, "0.1"), ("1e-3", "0.001")]
)
def test_seconds_are_exact(value: object, number: str) -> None:
    assert seconds(value) == Decimal(number)


@pytest.mark.parametrize("value", ["nan", "inf", "", "two", True, None, "1e400"])
def test_seconds_refuses_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        seconds(value)


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    for field, _ in rows(ReflectorConfig):
        values: dict[str, Any] = {field: text}
        with contextlib.suppress(ConfigError):
            ReflectorConfig(**values)


def test_connections_times_sessions_of_each_fit_the_maximum_if_both_were_chosen() -> None:
    with pytest.raises(ConfigError) as caught:
        read("--maximum-connections", "100", "--maximum-sessions-per-connection", "50")
    assert str(caught.value) == (
        "maximum-sessions: 4096 is less than maximum-connections, 100, times "
        "maximum-sessions-per-connection, 50; give at least 5000 (it goes to 65536), "
        "or lower one of these"
    )
    both: dict[str, Any] = {"maximum_connections": 100, "maximum_sessions_per_connection": 50}
    assert ReflectorConfig(maximum_sessions=5000, **both).maximum_sessions == 5000
    with pytest.raises(ConfigError, match="give at least 5000"):
        ReflectorConfig(maximum_sessions=4999, **both)
    # One of them says nothing of the other.
    assert ReflectorConfig(maximum_connections=4096).maximum_sessions == 4096
    assert ReflectorConfig(maximum_sessions_per_connection=1024).maximum_sessions == 4096
    assert ReflectorConfig(maximum_sessions=1).maximum_sessions == 1


def test_config_without_rows_checks_nothing() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Nothing(Config):
        plain: int = 5

    assert rows(Nothing) == []
    assert Nothing(plain=-1).plain == -1


# ---- twping --------------------------------------------------------------------------------------


def read_ping(*arguments: str) -> PingConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser, PingConfig)
    return from_arguments(PingConfig, parser.parse_args(arguments))


def test_ping_defaults_are_the_published_ones() -> None:
    config = read_ping()
    assert config == PingConfig()
    assert (config.count, config.interval, config.loss_timeout) == (100, "0.1e", Decimal(2))
    assert (config.port_range, config.padding, config.units) == ((8760, 9960), 27, "m")
    assert isinstance(config.loss_timeout, Decimal)
    assert isinstance(config.start_delay, Decimal)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("-c 5", "count", 5),
        ("--count 5", "count", 5),
        ("-i 0.1f,2e", "interval", "0.1f,2e"),
        ("-L 0.25", "loss_timeout", Decimal("0.25")),
        ("-P 9000-9001", "port_range", (9000, 9001)),
        ("-P 0", "port_range", (0, 0)),
        ("-D CS7", "test_dscp_value", 56),
        ("-s 0", "padding", 0),
        ("-S ::1", "source_address", "::1"),
        ("-B lo", "interface", "lo"),
        ("-4", "ipv4", True),
        ("-6", "ipv6", True),
        ("-Z", "zero_addresses", True),
        ("-z 1.5", "start_delay", Decimal("1.5")),
        ("--session-count 8", "session_count", 8),
        ("--control-port 8620", "control_port", 8620),
        ("--loopback", "loopback", True),
        ("--verbose all", "verbose", MOST_PACKETS),
        ("--verbose 3", "verbose", 3),
        ("-R", "raw", True),
        ("-U", "unix_time", True),
        ("-M", "machine", True),
        ("--json", "json", True),
        ("-n u", "units", "u"),
        ("-Q", "quiet", True),
        ("-a 50,99.9", "percentiles", (Decimal(50), Decimal("99.9"))),
    ],
)
def test_ping_command_line_gives_typed_values(text: str, field: str, value: Any) -> None:
    config = read_ping(*text.split())
    assert getattr(config, field) == value
    assert dataclasses.replace(config, **{field: getattr(PingConfig(), field)}) == PingConfig()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("-c 0", "count"),
        ("-c many", "count"),
        ("-i 1x", "interval"),
        ("-i nan", "interval"),
        ("-L 3601", "loss-timeout"),
        ("-L=-1", "loss-timeout"),
        ("-P 10-5", "port-range"),
        ("-P 0-5", "port-range"),
        ("-P 65535-65536", "port-range"),
        ("-D 64", "test-dscp-value"),
        ("-s 65494", "padding"),
        ("-S nowhere", "source-address"),
        ("-B this-name-is-too-long", "interface"),
        ("-4 -6", "ipv4"),
        ("-z soon", "start-delay"),
        ("--session-count 1025", "session-count"),
        ("--session-count 3 -P 9000-9001", "port-range"),
        ("--control-port 0", "control-port"),
        ("--verbose some", "verbose"),
        ("-n ms", "units"),
        ("-a 50,101", "percentiles"),
        ("-a 50,,99", "percentiles"),
    ],
)
def test_ping_refuses_by_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_ping(*text.split())
    assert str(caught.value).startswith(f"{key}: ")
    assert len(str(caught.value).splitlines()) == 1
