"""Judging a request: what it asks for, and each refusal with its Accept value and its reason."""

import errno
import os
from ipaddress import ip_address
from typing import Any

import pytest

from twamp.control.requests import (
    MAXIMUM_PADDING,
    REASONS,
    Asked,
    Limits,
    Refusal,
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


def request(**fields: Any) -> RequestTWSession:
    return RequestTWSession(**{"ip_version": 4, "sender_port": 7000, "receiver_port": 0} | fields)


def field(address: str) -> bytes:
    return ip_address(address).packed.ljust(16, b"\0")


def refusal(asked: RequestTWSession, limits: Limits = FREE) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judge(asked, SERVER, CLIENT, limits)
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
    asked = judge(other, SERVER, CLIENT, FREE)
    assert asked.peer == Endpoint(ip_address("198.51.100.1"), 7000)
    assert asked.local == Endpoint(ip_address("198.51.100.2"), 0)


def test_octets_behind_an_ipv4_address_are_ignored() -> None:
    dirty = request(receiver_address=field("198.51.100.2")[:4] + b"\xff" * 12)
    assert judge(dirty, SERVER, CLIENT, FREE).local.address == ip_address("198.51.100.2")


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
    )
    assert (asked.local.ip_version, asked.peer.ip_version) == (6, 6)


def test_a_link_local_address_is_on_the_interface_of_the_connection() -> None:
    server, client = LINK_LOCAL
    asked = judge(request(ip_version=6, sender_address=field("fe80::9")), server, client, FREE)
    assert (asked.local.scope_id, asked.peer.scope_id) == (3, 3)
    routed = request(ip_version=6, sender_address=field("2001:db8::9"))
    assert judge(routed, server, client, FREE).peer.scope_id == 0


NOT_SUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "IPVN 5": ({"ip_version": 5}, "IP version 5 is neither 4 nor 6"),
    "Conf-Sender": ({"conf_sender": 1}, "Conf-Sender and Conf-Receiver must be 0"),
    "Conf-Receiver": ({"conf_receiver": 1}, "Conf-Sender and Conf-Receiver must be 0"),
    "slots": ({"number_of_schedule_slots": 1}, "schedule slots and number of packets must be 0"),
    "packets": ({"number_of_packets": 1}, "schedule slots and number of packets must be 0"),
    "PHB in Type-P": ({"type_p_descriptor": 1 << 30}, "Type-P Descriptor 0x40000000 is no DSCP"),
    "low bits in Type-P": ({"type_p_descriptor": 1}, "Type-P Descriptor 0x00000001 is no DSCP"),
    "padding": ({"padding_length": 65507 - 111}, "padding of 65396 octets fits no datagram"),
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
