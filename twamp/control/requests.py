"""Judging a Request-TW-Session: what it asks for, or why it is refused (RFC 5357 section 3.5)."""

import errno
import functools
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from twamp.config.classes import NO_CLASS, ClientClass
from twamp.config.reflector import ReflectorConfig
from twamp.control.admission import ClientList
from twamp.endpoint import Endpoint, IPAddress
from twamp.protocol.control_messages import RequestTWSession, dscp_from_type_p_descriptor
from twamp.protocol.registries import Accept
from twamp.protocol.timestamps import ns_from_interval
from twamp.sockets import is_own_address

# A request fills a UDP datagram over IPv4 at most, and its reply is as long: 65,535 octets less both headers,
# and less what a Session-Sender's packet has before its padding.
LONGEST_PACKET = 65_507
MAXIMUM_PADDING = LONGEST_PACKET - 14
MAXIMUM_PADDING_SECURED = LONGEST_PACKET - 48

FIRST_SENDER_PORT = 1024  # services below it may answer what they are sent

# The reasons for which requests are refused, as they are counted.
REASONS = (
    *("class", "draining", "internal_error", "maximum_sessions", "maximum_sessions_per_connection"),
    *("no_port", "no_resources", "not_supported", "receiver_address", "sender_address"),
)


class Refusal(Exception):
    """A request that is not granted.

    ``accept`` goes to the client, ``reason`` (one of :data:`REASONS`) is counted, the text is logged.
    """

    def __init__(self, accept: Accept, reason: str, text: str) -> None:
        super().__init__(text)
        self.accept = accept
        self.reason = reason


class Limits(NamedTuple):
    """The state of the connection that a request came on."""

    draining: bool  # the Server shuts down and grants nothing more
    sessions: int  # the connection has
    maximum_sessions: int  # the connection may have
    secured: bool = False  # its test packets are authenticated or encrypted
    client_class: ClientClass = NO_CLASS  # of its client


class Rules(NamedTuple):
    """Which addresses and ports the sessions of a Server may have."""

    senders: ClientList | None  # addresses that are not the client's own; None: none
    listening: frozenset[IPAddress]  # empty: every address of this host
    test_ports: tuple[int, int]
    light_port: int
    is_own: Callable[[Endpoint], bool]  # whether an address is one of this host

    @classmethod
    def of(cls, config: ReflectorConfig) -> "Rules":
        """The rules that options make."""
        prefixes = config.sender_address_list
        return cls(
            senders=ClientList(prefixes) if prefixes else None,
            listening=frozenset(ip_address(host) for host in config.listen_address),
            test_ports=config.test_ports,
            light_port=config.light_port,
            is_own=functools.partial(is_own_address, device=config.device),
        )


class Asked(NamedTuple):
    """The session that a request asks for; its zero addresses are replaced, ``local.port`` 0 is any."""

    local: Endpoint
    peer: Endpoint
    dscp: int
    padding_length: int
    timeout_ns: int
    is_client: bool = True  # the peer's address is that of the client
    client_class: ClientClass = NO_CLASS


def judge(
    request: RequestTWSession, server: Endpoint, client: Endpoint, limits: Limits, rules: Rules
) -> Asked:
    """The session that a request asks for, on the connection between ``server`` and ``client``.

    Raises :class:`Refusal`: Accept 3 for what no Server of this kind supports, 5 for a limit.
    """
    if limits.draining:
        raise Refusal(Accept.TEMPORARY_RESOURCE_LIMITATION, "draining", "shutting down")
    fault = _fault_of(request, MAXIMUM_PADDING_SECURED if limits.secured else MAXIMUM_PADDING)
    if fault is not None:
        raise _not_supported(fault)
    local = _address_of(request.receiver_address, request.ip_version, server)
    peer = _address_of(request.sender_address, request.ip_version, client)
    _require_class(request, limits.client_class)
    _require_receiver(local, server, rules)
    _require_sender(peer._replace(port=request.sender_port), client, rules)
    if limits.sessions >= limits.maximum_sessions:
        raise Refusal(
            Accept.TEMPORARY_RESOURCE_LIMITATION,
            "maximum_sessions_per_connection",
            f"{limits.maximum_sessions} sessions on this connection"
            " (maximum-sessions-per-connection)",
        )
    return Asked(
        local=local._replace(port=request.receiver_port),
        peer=peer._replace(port=request.sender_port),
        dscp=request.type_p_descriptor >> 24,
        padding_length=request.padding_length,
        timeout_ns=ns_from_interval(request.timeout),
        is_client=peer.address == client.address,
        client_class=limits.client_class,
    )


def _fault_of(request: RequestTWSession, maximum_padding: int) -> str | None:
    """The first thing in a request that is not supported, or None."""
    if request.ip_version not in (4, 6):
        return f"IP version {request.ip_version} is neither 4 nor 6"
    if request.conf_sender or request.conf_receiver:
        return "Conf-Sender and Conf-Receiver must be 0"
    if request.number_of_schedule_slots or request.number_of_packets:
        return "schedule slots and number of packets must be 0"
    if dscp_from_type_p_descriptor(request.type_p_descriptor) is None:
        return f"Type-P Descriptor {request.type_p_descriptor:#010x} is no DSCP"
    if request.padding_length > maximum_padding:
        return (
            f"padding of {request.padding_length} octets fits no datagram:"
            f" it goes to {maximum_padding} in this mode"
        )
    if request.sender_port == 0:
        return "Sender Port 0 cannot be answered"
    return None


def _address_of(octets: bytes, ip_version: int, fallback: Endpoint) -> Endpoint:
    """The address in an address field; zero stands for the connection's own (RFC 5357 section 3.5)."""
    significant = octets[:4] if ip_version == 4 else octets
    if not any(significant):
        if fallback.ip_version != ip_version:
            raise _not_supported(
                f"a zero IPv{ip_version} address on an IPv{fallback.ip_version} connection"
            )
        return fallback
    address: IPAddress = IPv4Address(significant) if ip_version == 4 else IPv6Address(significant)
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise _not_supported(f"{address} is not the address of one host")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        raise _not_supported(f"{address} is an IPv4 address: ask with IP version 4")
    return Endpoint(address, 0, fallback.scope_id if address.is_link_local else 0)


def _require_class(request: RequestTWSession, allowed: ClientClass) -> None:
    """Refuses what the client's class may not ask for (RFC 4656 section 6.5)."""
    asked = request.type_p_descriptor >> 24
    fault = None
    if allowed.dscp_values and asked not in allowed.dscp_values:
        fault = f"DSCP {asked}"
    elif allowed.maximum_padding is not None and request.padding_length > allowed.maximum_padding:
        fault = f"padding of {request.padding_length} octets"
    if fault is not None:
        raise Refusal(Accept.NOT_SUPPORTED, "class", f"{fault} is not for class.{allowed.name}")


def _require_receiver(local: Endpoint, server: Endpoint, rules: Rules) -> None:
    """Refuses a Receiver Address at which the client could not be answered, or that is not offered."""
    if local.address == server.address:
        return
    fault = None
    if rules.listening and local.address not in rules.listening:
        fault = "not one of listen-address"
    elif local.address.is_loopback and not server.address.is_loopback:
        fault = "a loopback address, and the client is on another host"
    elif not rules.is_own(local):
        fault = (
            "no address of one host that this host has; behind NAT clients ask with zero addresses"
        )
    if fault is not None:
        raise Refusal(
            Accept.NOT_SUPPORTED, "receiver_address", f"Receiver Address {local.address} is {fault}"
        )


def _require_sender(peer: Endpoint, client: Endpoint, rules: Rules) -> None:
    """Refuses a Sender Address by which two responders could be made to talk to each other for ever."""
    if peer.address == client.address:
        return
    fault = None
    if rules.senders is None or peer.address not in rules.senders:
        fault = (
            f"Sender Address {peer.address} is not that of the client, {client.address}: behind NAT it"
            " asks with zero addresses; other senders need --sender-address-list"
        )
    elif (
        peer.port < FIRST_SENDER_PORT
        or peer.port == rules.light_port
        or rules.test_ports[0] <= peer.port <= rules.test_ports[1]
    ):
        fault = f"Sender Port {peer.port} of {peer.address} may be that of a service or a reflector"
    if fault is not None:
        raise Refusal(Accept.NOT_SUPPORTED, "sender_address", fault)


def _not_supported(text: str) -> Refusal:
    return Refusal(Accept.NOT_SUPPORTED, "not_supported", text)


_REFUSAL_OF_ERRNO = {
    errno.EADDRNOTAVAIL: (Accept.NOT_SUPPORTED, "not_supported"),
    errno.EMFILE: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENFILE: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENOBUFS: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENOMEM: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENODEV: (Accept.TEMPORARY_RESOURCE_LIMITATION, "no_resources"),
    errno.ENOSPC: (Accept.TEMPORARY_RESOURCE_LIMITATION, "maximum_sessions"),
}


def refusal_of(error: OSError, local: Endpoint) -> Refusal:
    """The refusal of a session that cannot be opened at ``local`` (RFC 4656 section 3.3)."""
    accept, reason = _REFUSAL_OF_ERRNO.get(
        error.errno or 0, (Accept.INTERNAL_ERROR, "internal_error")
    )
    text = "every session is in use" if error.errno == errno.ENOSPC else str(error)
    return Refusal(accept, reason, f"{local.address}: {text}")
