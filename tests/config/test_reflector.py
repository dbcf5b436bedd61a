"""Options of twampd: each row reads every spelling of its values and refuses the rest by name."""

import argparse
import contextlib
import dataclasses
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twamp.config.arguments import add_arguments, from_arguments
from twamp.config.classes import Classes
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import rows
from twamp.engine.native import lib
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
        "listen_wait": 0,
        "iface": None,
        "vrf": None,
        "client_list": (),
        "sender_address_list": (),
        "maximum_connections": 16,
        "maximum_connections_per_client": 0,
        "maximum_sessions_per_connection": 8,
        "maximum_sessions": 4096,
        "maximum_connection_duration": 0,
        "handshake_timeout": 30,
        "server_inactivity_timeout": 900,
        "test_inactivity_timeout": 900,
        "maximum_timeout": 10,
        "drain_timeout": 60,
        "mode": (),
        "key_file": None,
        "pbkdf2_count": 32768,
        "dscp_value": 0,
        "test_ports": (18760, 19960),
        "light": False,
        "light_port": 862,
        "timestamp": "auto",
        "hwtstamp": "no",
        "timestamp_format": "ntp",
        "rate_limit": 0,
        "light_rate_limit": 1000,
        "session_rate_limit": 0,
        "error_estimate": "accept",
        "port_translation": False,
        "t3_budget": 5,
        "t3_correction": True,
        "tx_batch": 0,
        "workers": 1,
        "cpu": (),
        "realtime": 0,
        "spin_us": 0,
        "metrics_address": None,
        "control_socket": "/run/twamp/reflector.sock",
        "run_as_user": None,
        "run_as_group": None,
        "log_format": "auto",
        "classes": Classes(),
    }


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--port", "8620"], "port", 8620),
        (["--port", "0"], "port", 0),
        (["--maximum-connections", "64"], "maximum_connections", 64),
        (["--client-list", "192.0.2.77/24"], "client_list", (ip_network("192.0.2.0/24"),)),
        (["--client-list", "2001:db8::1"], "client_list", (ip_network("2001:db8::1/128"),)),
        (["--client-list", "::ffff:192.0.2.1"], "client_list", (ip_network("192.0.2.1/32"),)),
        (["--vrf", "red"], "vrf", "red"),
        (["--light"], "light", True),
        (["--timestamp", "User"], "timestamp", "user"),
        (["--timestamp-format", "ptp"], "timestamp_format", "ptp"),
        (["--metrics-address", "127.0.0.1"], "metrics_address", ("127.0.0.1", 9861)),
        (["--metrics-address", "[::1]:1234"], "metrics_address", ("::1", 1234)),
        (["--user", "nobody"], "run_as_user", "nobody"),
        (["--group", "nogroup"], "run_as_group", "nogroup"),
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
        ("client_list", ("192.0.2.0/33",)),
        ("client_list", ("everybody",)),
        ("maximum_connections_per_client", -1),
        ("handshake_timeout", 0),
        ("timestamp", "hourglass"),
        ("timestamp_format", 1),
        ("rate_limit", -1),
        ("metrics_address", "127.0.0.1:65536"),
        ("metrics_address", "localhost:9861"),
        ("run_as_user", "a b"),
        ("control_socket", ""),
        ("light", "yes"),
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
    blamed = value[-1] if field in ("listen_address", "client_list") else value
    assert repr(blamed) in message
    assert len(message.splitlines()) == 1


def test_message_names_range_and_example() -> None:
    with pytest.raises(ConfigError) as caught:
        read("--maximum-connections", "5000")
    assert str(caught.value) == (
        "maximum-connections: '5000' is out of range; it goes from 1 to 4096; "
        "for example --maximum-connections 16"
    )


# These leave each limit its whole range: the rules over several options are tried by themselves.
ROOM: dict[str, Any] = {
    "client_list": "192.0.2.0/24",
    "maximum_connections": 1,
    "maximum_sessions_per_connection": 1,
    "maximum_sessions": 65536,
}
RANGES = {field: row for field, row in rows(ReflectorConfig) if row.range}
LISTS = {
    "listen_address": "127.0.0.1",
    "sender_address_list": "192.0.2.0/24",
    "client_list": "192.0.2.1",
    "mode": "unauthenticated",
    "cpu": 0,
}


@pytest.mark.parametrize("field", RANGES)
def test_a_numeric_row_takes_its_bounds_and_nothing_beyond(field: str) -> None:
    row = RANGES[field]
    assert row.bounds is not None

    def config(number: Decimal) -> ReflectorConfig:
        value = f"{number}-{number}" if field == "test_ports" else str(number)
        values: dict[str, Any] = {**ROOM, field: value}
        return ReflectorConfig(**values)

    least, most = row.bounds
    assert config(least) != config(most)
    for bad in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=f"^{field.replace('_', '-')}: "):
            config(bad)


def test_every_list_has_a_limit_that_is_tried() -> None:
    assert set(LISTS) == {field for field, row in rows(ReflectorConfig) if row.multiple}
    assert len(RANGES) == 25


@pytest.mark.parametrize("field", LISTS)
def test_a_list_takes_its_most_entries_and_no_more(field: str) -> None:
    row = dict(rows(ReflectorConfig))[field]
    values: dict[str, Any] = {field: row.entries * (LISTS[field],), "workers": 64}
    assert len(getattr(ReflectorConfig(**values), field)) == row.entries
    values[field] += (LISTS[field],)
    with pytest.raises(ConfigError) as caught:
        ReflectorConfig(**values)
    assert str(caught.value) == (
        f"{field.replace('_', '-')}: {row.entries + 1} values are too many; "
        f"give at most {row.entries}"
    )


def test_the_client_list_goes_as_far_as_the_engine() -> None:
    assert dict(rows(ReflectorConfig))["client_list"].entries == lib.TW_LIGHT_CLIENTS_MAX


def test_a_socket_path_is_as_long_as_a_unix_socket_takes() -> None:
    assert ReflectorConfig(control_socket="/" + 106 * "a")
    with pytest.raises(ConfigError, match=r"control-socket: .* at most 107 octets"):
        ReflectorConfig(control_socket="/" + 107 * "a")


@pytest.mark.parametrize(
    ("addresses", "sessions"), [((), 2), (("127.0.0.1",), 1), (("127.0.0.1", "::1", "::2"), 3)]
)
def test_light_leaves_room_for_test_sessions(addresses: tuple[str, ...], sessions: int) -> None:
    values: dict[str, Any] = {"light": True, "listen_address": addresses}
    assert ReflectorConfig(maximum_sessions=sessions + 1, **values)
    assert ReflectorConfig(maximum_sessions=sessions)
    with pytest.raises(ConfigError, match=f"^maximum-sessions: .* give at least {sessions + 1}$"):
        ReflectorConfig(maximum_sessions=sessions, **values)


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ReflectorConfig(workers=2, test_ports=(862, 862), cpu=(0, 1, 2), timestamp="hardware")
    keys = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert keys == ["timestamp", "workers", "cpu"]


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    for field, _ in rows(ReflectorConfig):
        values: dict[str, Any] = {field: text}
        with contextlib.suppress(ConfigError):
            ReflectorConfig(**values)


def test_connections_times_sessions_of_each_fit_the_maximum() -> None:
    with pytest.raises(ConfigError) as caught:
        read("--maximum-connections", "60", "--maximum-sessions-per-connection", "100")
    assert str(caught.value) == (
        "maximum-sessions: 4096 is less than maximum-connections, 60, times "
        "maximum-sessions-per-connection, 100; give at least 6000 (it goes to 65536), "
        "or lower one of these"
    )
    both: dict[str, Any] = {"maximum_connections": 60, "maximum_sessions_per_connection": 100}
    assert ReflectorConfig(maximum_sessions=6000, **both).maximum_sessions == 6000
    with pytest.raises(ConfigError, match="give at least 6000"):
        ReflectorConfig(maximum_sessions=5999, **both)
    with pytest.raises(ConfigError, match="there are 65536 at most"):
        ReflectorConfig(
            maximum_connections=4096,
            client_list=(ip_network("::/0"),),
            maximum_sessions_per_connection=1024,
        )
    # One factor is enough to mean the product; as long as both are the default they promise nothing.
    with pytest.raises(ConfigError, match="give at least 16384"):
        ReflectorConfig(maximum_sessions_per_connection=1024)
    assert ReflectorConfig(maximum_sessions=1).maximum_sessions == 1


def test_many_connections_need_to_know_the_clients() -> None:
    assert ReflectorConfig(maximum_connections=64)
    with pytest.raises(ConfigError) as caught:
        ReflectorConfig(maximum_connections=65)
    assert str(caught.value) == (
        "maximum-connections: 65 is more than 64, which needs to know the clients; "
        "give a client-list, or --mode no-unauthenticated"
    )
    knowing_ones: list[dict[str, Any]] = [
        {"client_list": "192.0.2.0/24"},
        {"mode": "no-unauthenticated"},
        {"mode": ("encrypted", "mixed")},
    ]
    for knowing in knowing_ones:
        assert ReflectorConfig(maximum_connections=65, **knowing)
    ignorant_ones: list[dict[str, Any]] = [
        {"mode": "no-mixed"},
        {"mode": ("encrypted", "unauthenticated")},
    ]
    for ignorant in ignorant_ones:
        with pytest.raises(ConfigError, match="needs to know the clients"):
            ReflectorConfig(maximum_connections=65, **ignorant)
