"""Judging a request: what it asks for, and each refusal with its Accept value and its reason."""

import errno
import os
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from twamp.config.reflector import ReflectorConfig
from twamp.control.requests import (
    MAXIMUM_PADDING,
    MAXIMUM_PADDING_SECURED,
    REASONS,
    Asked,
    Limits,
    Refusal,
    Rules,
    judge,
    refusal_of,
)
from twamp.endpoint import Endpoint
from twamp.protocol.control_messages import RequestTWSession, type_p_descriptor_from_dscp
from twamp.protocol.registries import Accept
from twamp.protocol.timestamps import NS, interval_from_ns

SERVER = Endpoint(ip_address("192.0.2.1"), 862)
CLIENT = Endpoint(ip_address("192.0.2.2"), 40000)
LINK_LOCAL = [Endpoint(ip_address(f"fe80::{host}"), 862, 3) for host in (1, 2)]
FREE = Limits(draining=False, sessions=0, maximum_sessions=1)


def rules(**options: Any) -> Rules:
    """Rules of a host that has every address but 203.0.113.0/24."""
    far = ip_network("203.0.113.0/24")
    made = Rules.of(ReflectorConfig(**options))
    return made._replace(is_own=lambda local: local.address not in far)


RULES = rules()
OTHERS = rules(sender_address_list=["198.51.100.0/24", "2001:db8::/32"])


def request(**fields: Any) -> RequestTWSession:
    return RequestTWSession(**{"ip_version": 4, "sender_port": 7000, "receiver_port": 0} | fields)


def field(address: str) -> bytes:
    return ip_address(address).packed.ljust(16, b"\0")


def refusal(
    asked: RequestTWSession, limits: Limits = FREE, rules: Rules = RULES, server: Endpoint = SERVER
) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judge(asked, server, CLIENT, limits, rules)
    assert caught.value.reason in REASONS
    return caught.value


def test_zero_addresses_are_those_of_the_connection() -> None:
    asked = judge(
        request(
            receiver_port=7001,
            padding_length=MAXIMUM_PADDING,
            timeout=interval_from_ns(2 * NS),
            type_p_descriptor=type_p_descriptor_from_dscp(46),
        ),
        SERVER,
        CLIENT,
        FREE,
        RULES,
    )
    assert asked == Asked(
        local=SERVER._replace(port=7001),
        peer=CLIENT._replace(port=7000),
        dscp=46,
        padding_length=MAXIMUM_PADDING,
        timeout_ns=2 * NS,
    )


def test_each_address_may_be_another_one() -> None:
    other = request(sender_address=field("198.51.100.1"), receiver_address=field("198.51.100.2"))
    asked = judge(other, SERVER, CLIENT, FREE, OTHERS)
    assert asked.peer == Endpoint(ip_address("198.51.100.1"), 7000)
    assert asked.local == Endpoint(ip_address("198.51.100.2"), 0)


def test_octets_behind_an_ipv4_address_are_ignored() -> None:
    dirty = request(receiver_address=field("198.51.100.2")[:4] + b"\xff" * 12)
    assert judge(dirty, SERVER, CLIENT, FREE, RULES).local.address == ip_address("198.51.100.2")


def test_ipv6_on_an_ipv4_connection_needs_both_addresses() -> None:
    asked = judge(
        request(
            ip_version=6,
            sender_address=field("2001:db8::2"),
            receiver_address=field("2001:db8::1"),
        ),
        SERVER,
        CLIENT,
        FREE,
        OTHERS,
    )
    assert (asked.local.ip_version, asked.peer.ip_version) == (6, 6)


def test_a_link_local_address_is_on_the_interface_of_the_connection() -> None:
    server, client = LINK_LOCAL
    asked = judge(
        request(ip_version=6, sender_address=field("fe80::2")), server, client, FREE, RULES
    )
    assert (asked.local.scope_id, asked.peer.scope_id) == (3, 3)
    routed = request(ip_version=6, sender_address=field("2001:db8::9"))
    assert judge(routed, server, client, FREE, OTHERS).peer.scope_id == 0


NOT_SUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "IPVN 5": ({"ip_version": 5}, "IP version 5 is neither 4 nor 6"),
    "Conf-Sender": ({"conf_sender": 1}, "Conf-Sender and Conf-Receiver must be 0"),
    "Conf-Receiver": ({"conf_receiver": 1}, "Conf-Sender and Conf-Receiver must be 0"),
    "slots": ({"number_of_schedule_slots": 1}, "schedule slots and number of packets must be 0"),
    "packets": ({"number_of_packets": 1}, "schedule slots and number of packets must be 0"),
    "PHB in Type-P": ({"type_p_descriptor": 1 << 30}, "Type-P Descriptor 0x40000000 is no DSCP"),
    "low bits in Type-P": ({"type_p_descriptor": 1}, "Type-P Descriptor 0x00000001 is no DSCP"),
    "padding": (
        {"padding_length": MAXIMUM_PADDING + 1},
        "padding of 65494 octets fits no datagram: it goes to 65493 in this mode",
    ),
    "Sender Port 0": ({"sender_port": 0}, "Sender Port 0 cannot be answered"),
    "multicast Receiver Address": (
        {"receiver_address": field("224.0.0.1")},
        "224.0.0.1 is not the address of one host",
    ),
    "broadcast Sender Address": (
        {"sender_address": field("255.255.255.255")},
        "255.255.255.255 is not the address of one host",
    ),
    "zero IPv6 addresses on IPv4": (
        {"ip_version": 6},
        "a zero IPv6 address on an IPv4 connection",
    ),
    "IPv4 in IPv6": (
        {"ip_version": 6, "receiver_address": field("::ffff:192.0.2.1")},
        f"{ip_address('::ffff:192.0.2.1')} is an IPv4 address: ask with IP version 4",
    ),
}


@pytest.mark.parametrize("name", NOT_SUPPORTED)
def test_what_is_not_supported_is_accept_3(name: str) -> None:
    fields, text = NOT_SUPPORTED[name]
    refused = refusal(request(**fields))
    assert (refused.accept, refused.reason) == (Accept.NOT_SUPPORTED, "not_supported")
    assert str(refused) == text


def test_the_longest_padding_is_that_of_the_mode() -> None:
    secured = FREE._replace(secured=True)
    longest = request(padding_length=MAXIMUM_PADDING_SECURED)
    assert judge(longest, SERVER, CLIENT, secured, RULES).padding_length == 65459
    refused = refusal(request(padding_length=MAXIMUM_PADDING_SECURED + 1), secured)
    assert "it goes to 65459 in this mode" in str(refused)
    assert refused.accept is Accept.NOT_SUPPORTED


# ---- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "options", "fault"),
    [
        ("127.0.0.1", {}, "a loopback address"),
        ("203.0.113.255", {}, "no address of one host"),
        ("192.0.2.9", {"listen_address": ["192.0.2.1", "192.0.2.8"]}, "not one of listen-address"),
    ],
)
def test_a_receiver_address_that_does_not_fit_is_refused(
    address: str, options: dict[str, Any], fault: str
) -> None:
    refused = refusal(request(receiver_address=field(address)), rules=rules(**options))
    assert (refused.accept, refused.reason) == (Accept.NOT_SUPPORTED, "receiver_address")
    assert str(refused).startswith(f"Receiver Address {address} is {fault}")


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("192.0.2.1", {"listen_address": ["192.0.2.8"]}),  # that of the connection
        ("192.0.2.8", {"listen_address": ["192.0.2.1", "192.0.2.8"]}),
        ("192.0.2.9", {}),
    ],
)
def test_a_receiver_address_that_fits_is_taken(address: str, options: dict[str, Any]) -> None:
    asked = request(receiver_address=field(address))
    assert judge(asked, SERVER, CLIENT, FREE, rules(**options)).local.address == ip_address(address)


def test_a_client_on_this_host_may_be_answered_at_any_loopback_address() -> None:
    server = SERVER._replace(address=ip_address("127.0.0.1"))
    asked = judge(request(receiver_address=field("127.0.0.3")), server, CLIENT, FREE, RULES)
    assert asked.local.address == ip_address("127.0.0.3")


def test_a_sender_that_is_not_the_client_is_refused_unless_it_is_listed() -> None:
    other = request(sender_address=field("198.51.100.7"))
    refused = refusal(other)
    assert (refused.accept, refused.reason) == (Accept.NOT_SUPPORTED, "sender_address")
    assert "behind NAT it asks with zero addresses" in str(refused)
    assert judge(other, SERVER, CLIENT, FREE, OTHERS).peer.port == 7000
    assert refusal(request(sender_address=field("192.0.2.7")), rules=OTHERS).reason == (
        "sender_address"
    )


@pytest.mark.parametrize("port", [7, 1023, 862, 18760, 19000, 19960])
def test_another_sender_may_not_have_the_port_of_a_service_or_a_reflector(port: int) -> None:
    asked = request(sender_address=field("198.51.100.7"), sender_port=port)
    assert refusal(asked, rules=OTHERS).reason == "sender_address"
    assert judge(request(sender_port=port), SERVER, CLIENT, FREE, RULES).peer.port == port


def test_a_full_connection_is_a_temporary_refusal() -> None:
    refused = refusal(request(), Limits(draining=False, sessions=3, maximum_sessions=3))
    assert refused.accept is Accept.TEMPORARY_RESOURCE_LIMITATION
    assert refused.reason == "maximum_sessions_per_connection"
    assert str(refused) == "3 sessions on this connection (maximum-sessions-per-connection)"


def test_while_the_server_shuts_down_nothing_is_granted() -> None:
    refused = refusal(request(conf_sender=1), FREE._replace(draining=True))
    assert refused.accept is Accept.TEMPORARY_RESOURCE_LIMITATION
    assert (refused.reason, str(refused)) == ("draining", "shutting down")


@pytest.mark.parametrize(
    ("number", "accept", "reason"),
    [
        (errno.EADDRNOTAVAIL, Accept.NOT_SUPPORTED, "not_supported"),
        (errno.EMFILE, Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
        (errno.ENODEV, Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
        (errno.ENOSPC, Accept.TEMPORARY_RESOURCE_LIMITATION, "maximum_sessions"),
        (errno.EIO, Accept.INTERNAL_ERROR, "internal_error"),
    ],
)
def test_an_error_of_the_system_has_the_accept_value_that_fits(
    number: int, accept: Accept, reason: str
) -> None:
    refused = refusal_of(OSError(number, os.strerror(number)), SERVER)
    assert (refused.accept, refused.reason) == (accept, reason)
    assert reason in REASONS
    assert str(refused).startswith("192.0.2.1: ")
