"""An IP address with a UDP or TCP port, in the forms of Python, the socket module and the wire."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

IPAddress = IPv4Address | IPv6Address


class Endpoint(NamedTuple):
    """One end of a TWAMP-Control connection or of a TWAMP-Test session.

    ``scope_id`` is the interface of an IPv6 link-local address, else 0.
    """

    address: IPAddress
    port: int
    scope_id: int = 0

    @classmethod
    def from_sockaddr(cls, sockaddr: tuple[Any, ...]) -> "Endpoint":
        """From the result of ``getsockname`` and its like; an IPv4-mapped IPv6 address becomes IPv4."""
        address = ip_address(sockaddr[0].partition("%")[0])
        scope_id = sockaddr[3] if len(sockaddr) > 3 else 0
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            return cls(address.ipv4_mapped, sockaddr[1])
        return cls(address, sockaddr[1], scope_id)

    @property
    def ip_version(self) -> int:
        return self.address.version

    @property
    def sockaddr(self) -> tuple[Any, ...]:
        """The argument of ``bind`` and ``connect``."""
        if self.address.version == 4:
            return (str(self.address), self.port)
        return (str(self.address), self.port, 0, self.scope_id)

    @property
    def address_field(self) -> bytes:
        """The 16 octets of an address field: IPv4 in the first four (RFC 4656 section 3.5)."""
        return self.address.packed.ljust(16, b"\0")

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}"
