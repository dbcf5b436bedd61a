"""How the host that twping measures is written."""

import re

import pytest

from twamp.config.target import Target, read_target, split_host
from twamp.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", None),
        ("192.0.2.1:8620", "192.0.2.1", 8620),
        ("router.example", "router.example", None),
        ("router.example:1", "router.example", 1),
        ("::1", "::1", None),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("[fe80::1%eth0]:862", "fe80::1%eth0", 862),
        ("[192.0.2.1]:", "192.0.2.1", None),
        ("[router.example]:862", "router.example", 862),
    ],
)
def test_host_forms(text: str, host: str, port: int | None) -> None:
    assert split_host(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "a:b", "host:0", "host:65536", "host:", "[::1", "::1]", "1:2:3", "[::1]:x", "[]:1"]
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(text))):
        split_host(text)


def test_a_port_of_the_host_has_no_meaning_beside_a_server() -> None:
    assert read_target("h:9", "s", default_port=862) == Target("h", "s", 862)
    assert read_target("h:9", "s:99", default_port=862) == Target("h", "s", 99)
    assert read_target("h:9", None, default_port=862) == Target("h", "h", 9)
