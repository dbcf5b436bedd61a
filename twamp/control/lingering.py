"""The sessions that are stopped and wait for their Timeout, oldest first: they give way to new sessions."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

SessionT = TypeVar("SessionT", bound=Hashable)


class Lingering(Generic[SessionT]):
    """An ordered set of sessions; ``keys`` gives the groups that a session belongs to.

    Adding, discarding and finding the oldest of a group take constant time.
    """

    def __init__(self, keys: Callable[[SessionT], tuple[Hashable, ...]]) -> None:
        self._keys = keys
        self._all: OrderedDict[SessionT, None] = OrderedDict()
        self._groups: dict[Hashable, OrderedDict[SessionT, None]] = {}

    def __iter__(self) -> Iterator[SessionT]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def add(self, session: SessionT) -> None:
        self._all[session] = None
        for key in self._keys(session):
            self._groups.setdefault(key, OrderedDict())[session] = None

    def discard(self, session: SessionT) -> None:
        """Removes a session; does nothing if it is not here."""
        if session not in self._all:
            return
        del self._all[session]
        for key in self._keys(session):
            group = self._groups[key]
            del group[session]
            if not group:
                del self._groups[key]

    def count(self, key: Hashable) -> int:
        """How many sessions are in the group."""
        return len(self._groups.get(key, ()))

    def oldest(self, key: Hashable = None) -> SessionT | None:
        """The session of the group that has lingered longest; without a key, of all."""
        group = self._all if key is None else self._groups.get(key)
        return next(iter(group), None) if group else None
