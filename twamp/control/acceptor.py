"""Accepts TCP connections, a few in each turn of the event loop, and goes on whatever happens."""

import asyncio
import errno
import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable

from twamp.errors import explain

logger = logging.getLogger("twamp.server")

ACCEPT_PAUSE = 0.1  # seconds without accepting when descriptors have run out


class Acceptor:
    """Accepts what comes to one listening socket, and gives each connection to ``admit``.

    ``admit`` returns its share of a turn of the event loop, between 0 and 1: after a whole turn the others
    have theirs.  Nothing ends an acceptor but :meth:`close`: after an error, also one of ``admit``, it
    pauses and goes on.
    """

    def __init__(
        self,
        listener: socket.socket,
        admit: Callable[[socket.socket], float],
        events: Counter[str],
    ) -> None:
        self._listener = listener
        self._admit = admit
        self._events = events
        self._failing = False
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener, self._accept_some)

    def close(self) -> None:
        """Accepts nothing more; the listener stays open."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    def _accept_some(self) -> None:
        share = 0.0
        while share < 1:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except Exception as error:
                self._fail(error)
                return
            try:
                sock.setblocking(False)
                share += self._admit(sock)
            except Exception as error:
                sock.close()
                self._fail(error)
                return
            self._failing = False

    def _fail(self, error: Exception) -> None:
        # EMFILE, ENFILE, ENOBUFS: the backlog keeps the client; ECONNABORTED: it has gone.
        self._events["accept_failed"] += 1
        if not self._failing:  # once: there will be ten a second until it is over
            reason = (
                explain(error, accept_remedies())
                if isinstance(error, OSError)
                else f"{type(error).__name__} {error}"
            )
            logger.warning("cannot accept connections: %s", reason)
        self._failing = True
        if not (isinstance(error, OSError) and error.errno == errno.ECONNABORTED):
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(ACCEPT_PAUSE, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept_some)


def accept_remedies() -> dict[int, str]:
    """The remedies of an operator when accept() fails, by errno."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = f"all {descriptors} descriptors are in use: raise LimitNOFILE= or `ulimit -n`"
    return {errno.EMFILE: in_use}
