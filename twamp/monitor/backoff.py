"""Computes the wait before the next attempt: longer each time, and different for each client."""

from random import Random


class Backoff:
    """Seconds to wait before trying again: from ``first``, doubled each time up to ``most``.

    Each is multiplied by a random factor from 0.5 to 1, so that many clients of one Server do not come
    back together.
    """

    def __init__(self, random: Random, first: float = 1.0, most: float = 60.0) -> None:
        self._random = random
        self._first = first
        self._most = most
        self._next = first

    def next(self) -> float:
        """Returns the seconds to wait now, and doubles the next wait."""
        seconds, self._next = self._next, min(2 * self._next, self._most)
        return seconds * self._random.uniform(0.5, 1)

    def reset(self) -> None:
        """Starts again from the first wait, after a success."""
        self._next = self._first
