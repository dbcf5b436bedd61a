"""Classes of clients: the ``[class.NAME]`` tables of a TOML file, and which of them a client is in.

RFC 4656 section 6.5 has a Server limit clients by who they are.  A client is in one class: that of its user,
else that of the longest prefix that has its address, else that of unauthenticated clients, else in none.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from twamp.config.readers import dscp, flag, prefix, user_name
from twamp.config.row import Config, Given, field_of, option, require_none, settle
from twamp.errors import ConfigError

MOST_USERS = 1024
MOST_PREFIXES = 1024
NOBODY = "nobody is in this class; give users, clients or unauthenticated = true"


@dataclass(frozen=True, kw_only=True)
class ClientClass(Config):
    """The members of a class of clients and their limits; a limit that is not set is that of every client."""

    name: str = ""
    users: tuple[str, ...] = option((), "users in the class", read=user_name, entries=MOST_USERS)
    clients: tuple[IPv4Network | IPv6Network, ...] = option(
        (), "prefixes of clients in the class", read=prefix, entries=MOST_PREFIXES
    )
    unauthenticated: bool = option(False, "every client without a user", read=flag)
    maximum_connections: int | None = option(
        None, "control connections of the class at once", range="1-4096"
    )
    maximum_sessions: int | None = option(
        None, "test sessions of the class at once", range="1-65536"
    )
    session_rate_limit: int | None = option(
        None, "test packets of one session reflected per second; 0: no limit", range="0-10000000"
    )
    dscp_values: tuple[int, ...] = option(
        (), "DSCPs that may be asked for; without them all", read=dscp, range="0-63", entries=64
    )
    maximum_padding: int | None = option(
        None, "octets of padding that may be asked for", range="0-65493"
    )

    def contradictions(self) -> Iterator[str]:
        if self.name and not (self.users or self.clients or self.unauthenticated):
            yield f"users: {NOBODY}"


NO_CLASS = ClientClass()


class Classes:
    """The classes of a configuration; raises :class:`~twamp.errors.ConfigError` for a member of two."""

    def __init__(self, classes: Iterable[ClientClass] = ()) -> None:
        self._classes = tuple(classes)
        self._by_user: dict[str, ClientClass] = {}
        self._by_prefix: dict[IPv4Network | IPv6Network, ClientClass] = {}
        self._of_strangers = NO_CLASS
        for one in self._classes:
            for user in one.users:
                self._require_new(f"user {user!r}", self._by_user.setdefault(user, one), one)
            for network in one.clients:
                self._require_new(str(network), self._by_prefix.setdefault(network, one), one)
            if one.unauthenticated:
                if self._of_strangers is not NO_CLASS:
                    self._require_new("unauthenticated", self._of_strangers, one)
                self._of_strangers = one
        self._longest_first = sorted(
            self._by_prefix.items(), key=lambda item: item[0].prefixlen, reverse=True
        )

    @staticmethod
    def _require_new(member: str, found: ClientClass, mine: ClientClass) -> None:
        if found is not mine:
            raise ConfigError(
                f"class.{mine.name}: {member} is in class.{found.name}, too; leave one out"
            )

    def __iter__(self) -> Iterator[ClientClass]:
        return iter(self._classes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Classes) and self._classes == other._classes

    def __hash__(self) -> int:
        return hash(self._classes)

    def of(self, user: str | None, address: IPv4Address | IPv6Address) -> ClientClass:
        """The class of a client, the most specific one; :data:`NO_CLASS` if it is in none."""
        if user is not None and user in self._by_user:
            return self._by_user[user]
        for network, one in self._longest_first:
            if address in network:
                return one
        return self._of_strangers if user is None else NO_CLASS


def read_class_tables(tables: object, where: Callable[..., str]) -> list[ClientClass]:
    """The ``[class.NAME]`` tables of a file.

    ``where`` gives file and line of a key by its path.  Raises ConfigError with all that is wrong, a line
    each.
    """
    if not isinstance(tables, dict):
        raise ConfigError(f"{where('class')}: class: write a table [class.NAME] for each")
    found, errors = [], []
    for name, table in tables.items():
        try:
            found.append(_class(name, table, where))
        except ConfigError as error:
            errors += str(error).splitlines()
    require_none(errors)
    return found


def _class(name: str, table: object, where: Callable[..., str]) -> ClientClass:
    place = f"{where('class', name)}: class.{name}"
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: write a table [class.{name}]")
    given, errors = {"name": Given(name, place)}, []
    for key, value in table.items():
        origin = f"{where('class', name, key)}: class.{name}"
        try:
            given[field_of(ClientClass, key)] = Given(value, origin)
        except ConfigError as error:
            errors.append(f"{origin}: {error}")
    if not given.keys() & {"users", "clients", "unauthenticated"}:
        errors.append(f"{place}: {NOBODY}")
    return settle(ClientClass, given, errors=errors)[0]
