"""Combines several Session-Reflectors into one: each has a thread, and serves its share of the local ports.

A session belongs to the worker of its Receiver Port, so its numbers and counters are one loop's alone, and
nothing is shared between the loops.  The id of a session tells its worker.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Self

from twamp.endpoint import Endpoint
from twamp.engine.native import EngineClockModel
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.engine.statistics import EngineHistogram, ReflectorStats, SessionStats, T3ErrorStats


class Workers:
    """Serves as one Session-Reflector, and has its methods, while ``async with`` lasts.

    Each reflector has room for ``maximum_sessions``, since the port decides where a session goes; this
    object closes them.
    """

    def __init__(self, reflectors: Sequence[SessionReflector], maximum_sessions: int) -> None:
        self._reflectors = list(reflectors)
        self._maximum_sessions = maximum_sessions
        self._sessions = 0
        self._light: set[int] = set()
        self._running = contextlib.AsyncExitStack()

    def __len__(self) -> int:
        return len(self._reflectors)

    async def __aenter__(self) -> Self:
        try:
            for reflector in self._reflectors:
                await self._running.enter_async_context(reflector)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stops and closes all reflectors; raises OSError when one had failed."""
        await self._running.aclose()
        for reflector in self._reflectors:  # those that never ran
            reflector.close()

    async def wait(self) -> None:
        """Waits until one reflector ends; raises OSError when it failed."""
        waits = [asyncio.create_task(reflector.wait()) for reflector in self._reflectors]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waits:
                task.cancel()

    # ---- sessions --------------------------------------------------------------------------------

    def _of(self, session_id: int) -> tuple[SessionReflector, int]:
        own_id, worker = divmod(session_id, len(self._reflectors))
        return self._reflectors[worker], own_id

    def add(self, config: SessionConfig, sock: socket.socket | None) -> int:
        if self._sessions >= self._maximum_sessions:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        worker = config.local.port % len(self._reflectors)
        own_id = self._reflectors[worker].add(config, sock)
        self._sessions += 1
        return own_id * len(self._reflectors) + worker

    def add_light(self, local: Endpoint, socks: Sequence[socket.socket]) -> list[int]:
        """Adds a TWAMP Light session to each worker; the kernel distributes the peers among their sockets.

        ``socks`` has one socket for each worker, bound to ``local`` with SO_REUSEPORT.  Returns the ids.
        """
        ids = [
            reflector.add_light(local, sock) * len(self._reflectors) + worker
            for worker, (reflector, sock) in enumerate(zip(self._reflectors, socks, strict=True))
        ]
        self._light.update(ids)
        return ids

    def start(self, session_id: int) -> None:
        reflector, own_id = self._of(session_id)
        reflector.start(own_id)

    def finish(self, session_id: int, deadline_ns: int) -> None:
        reflector, own_id = self._of(session_id)
        reflector.finish(own_id, deadline_ns)

    def remove(self, session_id: int) -> None:
        reflector, own_id = self._of(session_id)
        reflector.remove(own_id)
        if session_id in self._light:
            self._light.remove(session_id)
        else:
            self._sessions -= 1

    def session_stats(self, session_id: int) -> SessionStats:
        reflector, own_id = self._of(session_id)
        return reflector.session_stats(own_id)

    def stats_of(self, session_ids: Sequence[int]) -> list[SessionStats | None]:
        found: dict[int, SessionStats | None] = {}
        for worker, reflector in enumerate(self._reflectors):
            mine = [one for one in session_ids if one % len(self._reflectors) == worker]
            own_ids = [one // len(self._reflectors) for one in mine]
            found.update(zip(mine, reflector.stats_of(own_ids), strict=True))
        return [found[one] for one in session_ids]

    # ---- all of them -----------------------------------------------------------------------------

    def set_rate_limit(self, rate_limit: int) -> None:
        """Sets the limit of each worker; a client with sessions at several has several times that."""
        for reflector in self._reflectors:
            reflector.set_rate_limit(rate_limit)

    def set_light_rate_limit(self, rate_limit: int) -> None:
        for reflector in self._reflectors:
            reflector.set_light_rate_limit(rate_limit)

    def set_light_clients(self, prefixes: Iterable[IPv4Network | IPv6Network]) -> None:
        prefixes = list(prefixes)
        for reflector in self._reflectors:
            reflector.set_light_clients(prefixes)

    def nudge(self) -> None:
        for reflector in self._reflectors:
            reflector.nudge()

    def each_stats(self) -> Iterator[ReflectorStats]:
        """Returns the statistics of each worker."""
        return (reflector.stats() for reflector in self._reflectors)

    def stats(self) -> ReflectorStats:
        """Sums the statistics; ``chunk`` and ``receive_buffer`` are the greatest of all workers."""
        return ReflectorStats.sum(list(self.each_stats()))

    def turns(self) -> tuple[int, ...]:
        """Returns how often the loop of each worker has turned."""
        return tuple(stats.counters["turns"] for stats in self.each_stats())

    def t3_error(self) -> T3ErrorStats:
        """Combines the T3 errors of all workers; ``correction_ns`` is the greatest."""
        return T3ErrorStats.sum([reflector.t3_error() for reflector in self._reflectors])

    def receive_lag(self) -> EngineHistogram:
        return EngineHistogram.sum([reflector.receive_lag() for reflector in self._reflectors])

    def set_clock_models(self, models: Sequence[EngineClockModel]) -> None:
        for reflector in self._reflectors:
            reflector.set_clock_models(models)


# What serves the sessions of a Server.
Reflector = SessionReflector | Workers
