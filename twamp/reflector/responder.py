"""The responder: Server, Session-Reflector, and the means to operate them.

Making a :class:`Responder` binds every socket (as root, if need be); ``async with`` serves;
:meth:`~Responder.reload`, :meth:`~Responder.drain` and :meth:`~Responder.stop` are what the program ties to
signals.
"""

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from twamp.config.reflector import ReflectorConfig
from twamp.config.users import weaknesses
from twamp.control.server import Server, where_of
from twamp.engine.session_reflector import RECEIVE_BUFFER
from twamp.errors import ConfigError
from twamp.reflector.build import bind, make_workers
from twamp.reflector.interface_loss import InterfaceLoss
from twamp.reflector.light import LightSessions
from twamp.reflector.logs import Limiter
from twamp.reflector.settings import Change, Settings, plan_change
from twamp.reflector.state import ResponderState
from twamp.reflector.state_reader import StateReader
from twamp.reflector.status_socket import StatusSocket
from twamp.reflector.systemd import Notifier, watchdog_interval
from twamp.reflector.watch import ClockWatch, Heartbeat
from twamp.version import version

logger = logging.getLogger("twamp.responder")
logger_of_clients = logging.getLogger("twamp.server")  # its lines are limited

LOOK_EVERY = 1.0  # seconds between looks at clock, interface and loop
# Clients cause the lines of these loggers.
CLIENT_LOGS = ("twamp.server", "twamp.connection", "twamp.sessions", "twamp.exporter")
SCRAPE_WITHIN = 5.0  # seconds for the event loop to answer a scrape


class Responder:
    """A TWAMP responder as ``twampd`` runs it.

    ``read_settings`` reads command line and files again, for a reload; ``inherited`` are listening sockets
    of systemd.  Raises :class:`~twamp.errors.ConfigError`, naming the option and the remedy, when something
    cannot be bound.
    """

    def __init__(
        self,
        settings: Settings,
        read_settings: Callable[[], Settings],
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        self._settings = settings
        self._read_settings = read_settings
        self._notifier = Notifier()
        self._stopping = asyncio.Event()
        self._draining = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._buffer_reported = False
        self._bound = bind(settings, inherited, self._read_state)
        self._life = contextlib.AsyncExitStack()

    def close(self) -> None:
        """Closes what was bound, of a responder that never served."""
        self._bound.close()

    # ---- life ------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_unhandled)
        self._limiter = Limiter(*CLIENT_LOGS)
        self._life.callback(self._limiter.close)
        try:
            await self._serve(self._settings.config)
        except BaseException:
            await self._life.aclose()
            raise
        return self

    async def _serve(self, config: ReflectorConfig) -> None:
        bound, life = self._bound, self._life
        if bound.stamping is not None:
            life.callback(bound.stamping.close)
        self.reflector = await life.enter_async_context(make_workers(config, bound.stamping))
        if bound.stamping is not None:
            reading = asyncio.create_task(bound.stamping.run(self.reflector.set_clock_models))
            life.callback(reading.cancel)
        light = LightSessions(self.reflector)
        light.open(bound.light)
        self.server = await life.enter_async_context(
            Server(config, self.reflector, self._settings.users, bound.listeners)
        )
        self.snapshot = StateReader(
            server=self.server,
            reflector=self.reflector,
            version=version(),
            given=self._settings.given,
            light=light.addresses,
            stamping=bound.stamping,
        )
        if bound.status_socket is not None:
            await life.enter_async_context(StatusSocket(bound.status_socket, self.snapshot))
        if bound.exporter is not None:
            bound.exporter.start()
            life.callback(bound.exporter.close)
        loss = None
        if config.device is not None:
            loss = InterfaceLoss(config.device, self.server, light, keeps_listeners=bound.inherited)
        watching = asyncio.create_task(self._watch(loss))
        life.callback(watching.cancel)

    def _report_service(self) -> None:
        status = self.snapshot.status()
        logger.info(
            "listening on %s, test ports %s, modes offered: %s",
            ", ".join(status["listening"]),
            status["test_ports"],
            ", ".join(status["modes"]),
        )
        if status["light"]:
            logger.info("reflecting without TWAMP-Control on %s", ", ".join(status["light"]))
        if self._bound.stamping is not None:
            logger.info("hardware timestamps: %s", self._bound.stamping)
        if self._bound.exporter is not None:
            logger.info("metrics at http://%s/metrics", self._bound.exporter.address)
        self._warn_of(self._settings)
        self._notifier.ready(self._status_line())

    def _warn_of(self, settings: Settings) -> None:
        for weakness in weaknesses(settings.users):
            logger.warning("%s", weakness)

    async def __aexit__(self, *_: object) -> None:
        self._notifier.stopping()
        await self._life.aclose()
        stats = self.reflector.stats()
        drops = ", ".join(f"{count} {name}" for name, count in stats.drops.items() if count)
        logger.info(
            "%d test packets received, %d reflected, dropped: %s",
            stats.received,
            stats.reflected,
            drops or "none",
        )

    async def wait(self) -> None:
        """Reports that it serves, and returns when it has been stopped or drained.

        Raises :class:`OSError` when its loop failed.
        """
        self._report_service()
        loop_over = asyncio.create_task(self.reflector.wait())
        waits = [
            asyncio.create_task(self._stopping.wait()),
            asyncio.create_task(self._draining.wait()),
        ]
        try:
            await asyncio.wait([loop_over, *waits], return_when=asyncio.FIRST_COMPLETED)
            if loop_over.done():
                await loop_over
            if self._draining.is_set() and not self._stopping.is_set():
                await self._finish(waits[0])
        finally:
            for task in (loop_over, *waits):
                task.cancel()

    async def _finish(self, stopped: asyncio.Task[bool]) -> None:
        """Lets sessions finish, until ``drain-timeout`` or a second signal."""
        limit = self.server.config.drain_timeout
        logger.info(
            "stopping: %d sessions have %d s to finish; another signal ends them",
            len(self.server.sessions),
            limit,
        )
        self._notifier.stopping()
        draining = asyncio.create_task(self.server.drain(limit))
        await asyncio.wait([draining, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            draining.cancel()
        elif not draining.result():
            logger.warning("%d sessions did not finish", len(self.server.sessions))

    def stop(self) -> None:
        """Ends everything now."""
        logger.info("stopping")
        self._stopping.set()

    def drain(self) -> None:
        """Ends everything once it has finished, or ``drain-timeout`` has passed; at once when called again."""
        if self._draining.is_set():
            self.stop()
        self._draining.set()

    # ---- reload ------------------------------------------------------------------------------------

    def reload(self) -> bool:
        """Reads the settings again and applies them; every connection and session stays.

        Everything is read and checked first.  If anything is wrong nothing changes, the log has the reason,
        and the result is False.
        """
        self._notifier.reloading()
        try:
            change = plan_change(self._settings, self._read_settings())
            self._configure_engine(change.settings.config)
        except Exception as error:
            self.server.events["reload_failed"] += 1
            for reason in _reasons(error):
                logger.error("reload refused, nothing has changed: %s", reason)
            return False
        else:
            self._apply(change)
            return True
        finally:
            self._notifier.ready(self._status_line())

    def _configure_engine(self, config: ReflectorConfig) -> None:
        """The part of a reload that the system may refuse: then the engine has its former options."""
        before = self._settings.config
        try:
            self.reflector.set_light_clients(config.client_list)
            self.reflector.set_rate_limit(config.rate_limit)
            self.reflector.set_light_rate_limit(config.light_rate_limit)
        except OSError:
            self.reflector.set_light_clients(before.client_list)
            self.reflector.set_rate_limit(before.rate_limit)
            self.reflector.set_light_rate_limit(before.light_rate_limit)
            raise

    def _apply(self, change: Change) -> None:
        self._settings = change.settings
        self.server.reconfigure(change.settings.config, change.settings.users)
        self.snapshot.given = change.settings.given
        self.snapshot.reloads += 1
        self.snapshot.last_reload_ns = time.time_ns()
        self.snapshot.restart_needed = change.restart_needed
        logger.info("reloaded; changed: %s", ", ".join(change.changed) or "no option")
        self._warn_of(change.settings)
        if change.restart_needed:
            logger.warning("a restart is needed for: %s", ", ".join(change.restart_needed))

    # ---- what an operator sees -----------------------------------------------------------------------

    def dump(self) -> None:
        """The state as lines of the log (SIGUSR1)."""
        logger.info("status: %s", json.dumps(self.snapshot.status()))
        logger.info("counters: %s", json.dumps(self.snapshot.counters()))
        for connection in self.snapshot.connections():
            logger.info("connection: %s", json.dumps(connection))
        for some in self.snapshot.sessions():
            for session in some:
                logger.info("session: %s", json.dumps(session))

    def _read_state(self) -> ResponderState:
        """The state, for the exporter's threads: only the event loop may read it."""

        async def read() -> ResponderState:
            return ResponderState(status=self.snapshot.status(), counters=self.snapshot.counters())

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(read(), self._loop).result(SCRAPE_WITHIN)

    def _status_line(self) -> str:
        admission = self.server.service.admission
        return (
            f"{admission.established} connections, {len(self.server.sessions)} sessions, "
            f"{self.reflector.stats().reflected} packets reflected"
        )

    def _on_unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error that nobody awaited: a line under the limit of lines, and a count."""
        error = context.get("exception")
        self.server.events["unhandled"] += 1
        logger_of_clients.error(
            "unhandled: %s: %s", context.get("message"), "" if error is None else where_of(error)
        )

    # ---- what changes while it runs ------------------------------------------------------------------

    async def _watch(self, loss: InterfaceLoss | None) -> None:
        clock = ClockWatch()
        heartbeat = Heartbeat()
        pause = min(LOOK_EVERY, watchdog_interval() or LOOK_EVERY)
        while True:
            self._look_at_clock(clock)
            self._look_at_buffer()
            if loss is not None:
                loss.look()
            if heartbeat.beats(self.reflector.turns()):
                self._notifier.watchdog()
            else:
                logger.error("the reflecting loop does not turn")
            self.reflector.nudge()
            self._notifier.status(self._status_line())
            self._limiter.report()
            await asyncio.sleep(pause)

    def _look_at_buffer(self) -> None:
        """Warns once if the kernel grants smaller receive buffers than were asked for."""
        granted = self.reflector.stats().receive_buffer
        if not self._buffer_reported and 0 < granted < RECEIVE_BUFFER:
            self._buffer_reported = True
            logger.warning(
                "the kernel grants receive buffers of %d octets, not %d: a burst may overflow them;"
                " raise net.core.rmem_max, or give CAP_NET_ADMIN",
                granted,
                RECEIVE_BUFFER,
            )

    def _look_at_clock(self, clock: ClockWatch) -> None:
        step_ns = clock.look(time.time_ns(), time.monotonic_ns())
        if step_ns is not None:
            self.server.events["clock_stepped"] += 1
            logger.warning("the system clock has stepped by %+.3f s", step_ns / 1e9)
            if self._bound.stamping is not None:
                self._bound.stamping.reset()
                self.reflector.set_clock_models([])


def _reasons(error: Exception) -> Sequence[str]:
    """Why a reload is refused, a line for each error."""
    if isinstance(error, OSError):
        return [f"{error.filename}: {error.strerror}" if error.filename else str(error)]
    if isinstance(error, ConfigError):
        return str(error).splitlines()
    logger.error("a reload failed unexpectedly", exc_info=error)
    return [f"{type(error).__name__}: {error}"]
