"""Which clients may connect to the Server, and how many at once.

A connection is *handshaking* from the moment it is accepted until its client has chosen a mode (and, in
the secured modes, proved its passphrase); only then is it *established* and counts against
``maximum-connections``.  So silent connections take no place of others: they have a deadline and a limit of
their own, and when that is reached the client with the most handshakes loses its oldest.

A *client* is an IPv4 address, or the /64 of an IPv6 address: a host can use every address of its /64.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

from twamp.config.reflector import ReflectorConfig
from twamp.endpoint import IPAddress

REASONS = (
    "class",
    "client_list",
    "maximum_connections",
    "maximum_connections_per_client",
    "handshakes",
)

ConnectionT = TypeVar("ConnectionT", bound=Hashable)


def client_of(address: IPAddress) -> str:
    """The client that an address belongs to."""
    if address.version == 4:
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


class ClientList:
    """``client-list``: the prefixes of clients that may connect; without any prefix, every client may."""

    def __init__(self, prefixes: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = [
            (prefix.version, int(prefix.netmask), int(prefix.network_address))
            for prefix in prefixes
        ]

    def __contains__(self, address: IPAddress) -> bool:
        version, number = address.version, int(address)
        return not self._networks or any(
            version == family and number & mask == network
            for family, mask, network in self._networks
        )


class Admission(Generic[ConnectionT]):
    """Counts the connections of a Server by client; at most ``most_handshakes`` handshake at once.

    Call :meth:`lists` and :meth:`is_full_for` before the greeting, :meth:`begin` when it is sent,
    :meth:`establish` when the client has answered it well, and :meth:`end` at the end.
    """

    def __init__(self, config: ReflectorConfig, most_handshakes: int) -> None:
        self._most_handshakes = most_handshakes
        self._handshaking: dict[str, dict[ConnectionT, None]] = {}
        self._handshakes = 0
        self._clients: dict[ConnectionT, str] = {}  # of all connections
        self._established: dict[ConnectionT, None] = {}
        self._per_client: Counter[str] = Counter()  # established
        self.reconfigure(config)

    def reconfigure(self, config: ReflectorConfig) -> None:
        """Sets new limits, for clients that connect from now on."""
        self._config = config
        self._client_list = ClientList(config.client_list)

    @property
    def handshaking(self) -> int:
        return self._handshakes

    @property
    def established(self) -> int:
        return len(self._established)

    def lists(self, address: IPAddress) -> bool:
        """Whether ``client-list`` lets this address connect."""
        return address in self._client_list

    def is_full_for(self, address: IPAddress) -> str | None:
        """The limit that this client has reached, or None."""
        if len(self._established) >= self._config.maximum_connections:
            return "maximum_connections"
        limit = self._config.maximum_connections_per_client
        if limit and self._per_client[client_of(address)] >= limit:
            return "maximum_connections_per_client"
        return None

    def begin(self, connection: ConnectionT, address: IPAddress) -> ConnectionT | None:
        """Adds a handshake; returns the connection that has to give way to it, if any."""
        crowded = self.give_way() if self._handshakes >= self._most_handshakes else None
        client = client_of(address)
        self._clients[connection] = client
        self._handshaking.setdefault(client, {})[connection] = None
        self._handshakes += 1
        return crowded

    def give_way(self) -> ConnectionT | None:
        """Ends and returns the oldest handshake of the client with the most; None when there is none."""
        if not self._handshaking:
            return None
        most = max(self._handshaking.values(), key=len)
        crowded = next(iter(most))
        self.end(crowded)
        return crowded

    def establish(self, connection: ConnectionT, address: IPAddress) -> str | None:
        """Moves a connection from handshaking to established, or returns the limit that forbids it."""
        full = self.is_full_for(address)
        if full is None:
            self._leave_handshake(connection)
            self._established[connection] = None
            self._per_client[self._clients[connection]] += 1
        return full

    def end(self, connection: ConnectionT) -> None:
        """Removes a connection, handshaking or established; a second call does nothing."""
        self._leave_handshake(connection)
        client = self._clients.pop(connection, None)
        if client is None or connection not in self._established:
            return
        del self._established[connection]
        self._per_client[client] -= 1
        if not self._per_client[client]:
            del self._per_client[client]

    def _leave_handshake(self, connection: ConnectionT) -> None:
        client = self._clients.get(connection)
        mine = self._handshaking.get(client) if client is not None else None
        if client is None or mine is None or connection not in mine:
            return
        del mine[connection]
        self._handshakes -= 1
        if not mine:
            del self._handshaking[client]
