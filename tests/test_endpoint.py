"""Endpoints: an address and a port, to and from what the socket module and the wire have."""

from ipaddress import ip_address
from typing import Any

import pytest

from twamp.endpoint import Endpoint

CASES: dict[str, tuple[tuple[Any, ...], Endpoint]] = {
    "IPv4": (("192.0.2.1", 862), Endpoint(ip_address("192.0.2.1"), 862)),
    "IPv6": (("2001:db8::1", 862, 0, 0), Endpoint(ip_address("2001:db8::1"), 862)),
    "link-local": (("fe80::1%3", 9, 0, 3), Endpoint(ip_address("fe80::1"), 9, 3)),
    "mapped": (("::ffff:192.0.2.1", 5, 0, 0), Endpoint(ip_address("192.0.2.1"), 5)),
}


@pytest.mark.parametrize("name", CASES)
def test_from_sockaddr(name: str) -> None:
    sockaddr, endpoint = CASES[name]
    assert Endpoint.from_sockaddr(sockaddr) == endpoint


@pytest.mark.parametrize("name", CASES)
def test_sockaddr_is_read_back(name: str) -> None:
    _, endpoint = CASES[name]
    assert Endpoint.from_sockaddr(endpoint.sockaddr) == endpoint
    assert len(endpoint.sockaddr) == (2 if endpoint.ip_version == 4 else 4)


def test_an_address_field_has_ipv4_in_its_first_four_octets() -> None:
    assert Endpoint(ip_address("192.0.2.1"), 1).address_field == bytes([192, 0, 2, 1]) + bytes(12)
    ipv6 = ip_address("2001:db8::1")
    assert Endpoint(ipv6, 1).address_field == ipv6.packed


def test_text_has_brackets() -> None:
    assert str(Endpoint(ip_address("192.0.2.1"), 862)) == "[192.0.2.1]:862"
    assert str(Endpoint(ip_address("::1"), 862)) == "[::1]:862"
