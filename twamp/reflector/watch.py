"""Watches what changes while a responder runs: its clock, its interface, the loops of its engine.

Each is called at intervals and reports news; none has a clock or a thread of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

STEP_NS = 100_000_000  # a slewed clock gains or loses half a millisecond a second at most


@dataclass(slots=True)
class ClockWatch:
    """Notices steps of the system clock, by its distance from the monotonic one."""

    _distance_ns: int | None = None

    def look(self, unix_ns: int, monotonic_ns: int) -> int | None:
        """The step of the clock since the last look in ns (forward positive), or None."""
        before, self._distance_ns = self._distance_ns, unix_ns - monotonic_ns
        if before is None or abs(self._distance_ns - before) < STEP_NS:
            return None
        return self._distance_ns - before


class InterfaceWatch:
    """Notices that an interface has gone, or has come back as another one of that name.

    ``index_of`` gives the kernel's index of a name, or raises :class:`OSError`: a socket that is bound to a
    device stays bound to the index, even if another device gets the name.
    """

    def __init__(self, name: str, index_of: Callable[[str], int]) -> None:
        self._name = name
        self._index_of = index_of
        self._index = self._look()
        self._lost = False

    def look(self) -> str | None:
        """``"lost"`` or ``"back"`` if that is news, else None."""
        index = self._look()
        if index == self._index and not (index is not None and self._lost):
            return None
        if index is None:
            self._lost, self._index = True, None
            return "lost"
        self._lost, self._index = False, index
        return "back"

    def _look(self) -> int | None:
        try:
            return self._index_of(self._name)
        except OSError:
            return None


@dataclass(slots=True)
class Heartbeat:
    """Whether every loop turns: they are nudged after each look, and have turned until the next one."""

    _turns: tuple[int, ...] | None = None

    def beats(self, turns: tuple[int, ...]) -> bool:
        """``turns`` is how often each loop has turned."""
        former = self._turns
        alive = former is None or all(now != then for now, then in zip(turns, former, strict=True))
        self._turns = turns
        return alive
