"""Options of twping: each row reads every spelling of its values and refuses the rest by name."""

import argparse
import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from twamp.config.arguments import add_arguments, from_arguments
from twamp.config.ping import PingConfig
from twamp.config.readers import MOST_PACKETS
from twamp.config.row import rows
from twamp.errors import ConfigError


def read_ping(*arguments: str) -> PingConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser, PingConfig)
    return from_arguments(PingConfig, parser.parse_args(arguments))


def test_ping_defaults_are_the_published_ones() -> None:
    config = read_ping()
    assert config == PingConfig()
    assert (config.count, config.interval, config.loss_timeout) == (100, "0.1e", Decimal(2))
    assert (config.port_range, config.padding, config.units) == ((8760, 9960), None, "m")
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
        ("-n us", "units", "u"),
        ("-n ms", "units", "m"),
        ("-i 0.01F", "interval", "0.01F"),
        ("-D 056", "test_dscp_value", 46),
        ("-S ::1", "source_address", "::1"),
        ("-S probe.example", "source_address", "probe.example"),
        ("--wait 3", "loss_timeout", Decimal(3)),
        ("-E 1.5", "end_delay", Decimal("1.5")),
        ("--deadline 10", "deadline", Decimal(10)),
        ("-b 1e-05", "bucket_width", Decimal("0.00001")),
        ("-N 5", "packets_per_summary", 5),
        ("-p", "save_summaries", True),
        ("-d /tmp", "directory", "/tmp"),
        ("-B lo", "interface", "lo"),
        ("-4", "ipv4", True),
        ("-6", "ipv6", True),
        ("-Z", "zero_addresses", True),
        ("-z 1.5", "start_delay", Decimal("1.5")),
        ("--session-count 8", "session_count", 8),
        ("-r 8", "session_count", 8),
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
        ("--trust-clocks", "trust_clocks", True),
    ],
)
def test_ping_command_line_gives_typed_values(text: str, field: str, value: Any) -> None:
    config = read_ping(*text.split())
    assert getattr(config, field) == value
    assert dataclasses.replace(config, **{field: getattr(PingConfig(), field)}) == PingConfig()


def test_a_loss_timeout_of_0_is_the_default() -> None:
    assert read_ping("-L", "0") == PingConfig()


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
        ("-S a/b", "source-address"),
        ("-b 0", "bucket-width"),
        ("-N=-1", "packets-per-summary"),
        ("-E=-1", "end-delay"),
        ("--deadline soon", "deadline"),
        ("-p --json", "save-summaries"),
        ("-N 5 --json", "packets-per-summary"),
        ("-B this-name-is-too-long", "interface"),
        ("-4 -6", "ipv4"),
        ("-z soon", "start-delay"),
        ("--session-count 1025", "session-count"),
        ("--session-count 3 -P 9000-9001", "port-range"),
        ("--control-port 0", "control-port"),
        ("--verbose some", "verbose"),
        ("-a 50,101", "percentiles"),
        ("-a 50,,99", "percentiles"),
        ("--metrics-buckets 1", "metrics-buckets"),
        ("--metrics-buckets 0,1", "metrics-buckets"),
        ("--metrics-buckets 0.02,0.01", "metrics-buckets"),
        ("--metrics-buckets soon", "metrics-buckets"),
    ],
)
def test_ping_refuses_by_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_ping(*text.split())
    assert str(caught.value).startswith(f"{key}: ")
    assert len(str(caught.value).splitlines()) == 1


RANGES = {field: row for field, row in rows(PingConfig) if row.range}
# Of these the value 0 has a meaning of its own, or it is no single number.
WRITTEN = {"port_range": "{0}-{0}"}
TOGETHER: dict[str, dict[str, Any]] = {"bin": {"csv": True}, "session_count": {"port_range": 0}}


@pytest.mark.parametrize("field", RANGES)
def test_a_numeric_row_takes_its_bounds_and_nothing_beyond(field: str) -> None:
    row = RANGES[field]
    assert row.bounds is not None
    step = 1 if row.bounds[0] == int(row.bounds[0]) else Decimal("0.000000001")

    def config(number: Decimal) -> PingConfig:
        value = WRITTEN.get(field, "{0}").format(format(number, "f"))
        values: dict[str, Any] = {**TOGETHER.get(field, {}), field: value}
        return PingConfig(**values)

    least, most = row.bounds
    assert config(least) != config(most)
    for bad in (least - step, most + step):
        with pytest.raises(ConfigError, match=f"^{field.replace('_', '-')}: "):
            config(bad)


def test_padding_goes_as_far_as_a_packet_of_ipv4() -> None:
    largest_payload, sender_packet = 65507, 14
    assert RANGES["padding"].range == f"0-{largest_payload - sender_packet}"


@pytest.mark.parametrize(("modes", "padding"), [("AE", 65459), ("A", 65459), ("AO", 65493)])
def test_padding_goes_as_far_as_the_modes_allow(modes: str, padding: int) -> None:
    credentials: dict[str, Any] = {"user": "alice", "auth_mode": modes}
    assert PingConfig(padding=padding, **credentials).padding == padding
    with pytest.raises(ConfigError, match=r"^padding: "):
        PingConfig(padding=padding + 1, **credentials)


def test_thresholds_have_a_limit() -> None:
    most = dict(rows(PingConfig))["fail"].entries
    assert len(PingConfig(fail=most * ("loss>1%",)).fail) == most  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"fail: {most + 1} values are too many"):
        PingConfig(fail=(most + 1) * ("loss>1%",))  # type: ignore[arg-type]


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        PingConfig(ipv4=True, ipv6=True, samples=True)
    keys = {line.partition(":")[0] for line in str(caught.value).splitlines()}
    assert keys == {"ipv4", "samples"}
