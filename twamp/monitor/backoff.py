"""How long to wait before another attempt: longer each time, and not all clients at once."""

from random import Random


class Backoff:
    """Seconds to wait before trying again: from ``first``, doubled each time up to ``most``.

    Each is multiplied by chance, 0.5 to 1, so that many clients of one Server do not come back together.
    """

    def __init__(self, random: Random, first: float = 1.0, most: float = 60.0) -> None:
        self._random = random
        self._first = first
        self._most = most
        self._next = first

    def next(self) -> float:
        seconds, self._next = self._next, min(2 * self._next, self._most)
        return seconds * self._random.uniform(0.5, 1)

    def reset(self) -> None:
        """All is well again."""
        self._next = self._first
