"""Admission: the client-list, and the limits of connections and handshakes."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twamp.config.reflector import ReflectorConfig
from twamp.control.admission import Admission, ClientList, client_of

ONE, TWO = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def admission(most_handshakes: int = 100, **options: Any) -> Admission[str]:
    return Admission(ReflectorConfig(**options), most_handshakes)


def test_a_client_is_an_ipv4_address_or_a_64_of_ipv6() -> None:
    assert client_of(ONE) != client_of(TWO)
    assert client_of(ip_address("2001:db8::1")) == client_of(ip_address("2001:db8::ffff:0:0:1"))
    assert client_of(ip_address("2001:db8::1")) != client_of(ip_address("2001:db8:0:1::1"))


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
NETWORKS = st.builds(
    lambda address, length: (
        ip_network((int(address), length), strict=False)
        if address.version == 6
        else ip_network((int(address), length % 33), strict=False)
    ),
    ADDRESSES,
    st.integers(0, 128),
)


@given(st.lists(NETWORKS, min_size=1, max_size=5), ADDRESSES)
def test_the_list_has_what_one_of_its_prefixes_has(prefixes: list[Any], address: Any) -> None:
    listed = ClientList(prefixes)
    assert (address in listed) == any(address in prefix for prefix in prefixes)
    assert all(prefix.network_address in listed for prefix in prefixes)


def test_without_prefixes_everybody_is_on_the_list() -> None:
    assert ONE in ClientList()
    assert ip_address("::1") in ClientList()


def test_handshakes_take_nobody_a_place() -> None:
    some = admission(maximum_connections=1)
    for number in range(50):
        assert some.begin(f"silent {number}", ONE) is None
    assert some.is_full_for(TWO) is None
    some.begin("speaks", TWO)
    assert some.establish("speaks", TWO) is None
    assert (some.established, some.handshaking) == (1, 50)
    assert some.is_full_for(TWO) == "maximum_connections"
    assert some.establish("silent 0", ONE) == "maximum_connections"
    some.end("speaks")
    assert some.establish("silent 0", ONE) is None


def test_one_client_has_so_many_connections() -> None:
    some = admission(maximum_connections_per_client=1)
    some.begin("a", ONE)
    assert some.establish("a", ONE) is None
    assert some.is_full_for(ONE) == "maximum_connections_per_client"
    assert some.is_full_for(TWO) is None
    some.end("a")
    some.end("a")
    assert some.is_full_for(ONE) is None
    assert (some.established, some.handshaking) == (0, 0)


def test_the_client_with_the_most_handshakes_gives_way_with_its_oldest() -> None:
    some = admission(most_handshakes=4)
    for number in range(3):
        some.begin(f"flood {number}", ONE)
    some.begin("honest", TWO)
    assert some.begin("flood 3", ONE) == "flood 0"
    assert some.begin("honest 2", TWO) == "flood 1"
    assert some.handshaking == 4
    assert some.establish("honest", TWO) is None
    some.end("flood 0")  # long gone
    assert some.handshaking == 3


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["begin", "establish", "end"]))))
def test_the_sums_hold_whatever_happens(steps: list[tuple[int, str]]) -> None:
    some: Admission[int] = Admission(ReflectorConfig(maximum_connections=2), 3)
    alive: set[int] = set()
    established: set[int] = set()
    for number, step in steps:
        address = (ONE, TWO)[number % 2]
        if step == "begin" and number not in alive:
            crowded = some.begin(number, address)
            if crowded is not None:
                alive.discard(crowded)
            alive.add(number)
        elif step == "establish" and number in alive - established:
            if some.establish(number, address) is None:
                established.add(number)
        elif step == "end":
            some.end(number)
            alive.discard(number)
            established.discard(number)
        assert some.established == len(established) <= 2
        assert some.handshaking == len(alive - established) <= 3


def test_new_limits_are_for_who_comes_now() -> None:
    some = admission()
    some.begin("a", ONE)
    some.establish("a", ONE)
    some.reconfigure(
        ReflectorConfig(maximum_connections=1, client_list=(ip_network("192.0.2.2/32"),))
    )
    assert some.established == 1
    assert some.is_full_for(TWO) == "maximum_connections"
    assert not some.lists(ONE)
    assert some.lists(TWO)


@pytest.mark.parametrize("address", ["192.0.2.255", "198.51.100.1", "::ffff:192.0.2.1"])
def test_what_is_not_listed_is_refused(address: str) -> None:
    assert not admission(client_list=("192.0.2.0/25", "2001:db8::/32")).lists(ip_address(address))
