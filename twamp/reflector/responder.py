"""The responder: Server, Session-Reflector, and all that lets an operator live with them.

Its life: making a :class:`Responder` binds every socket (as root, if need be); ``async with`` serves;
:meth:`~Responder.reload`, :meth:`~Responder.drain` and :meth:`~Responder.stop` are what the program ties to
signals.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Self, TypeVar

from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given, key_of, rows
from twamp.config.users import Users
from twamp.control.listeners import listening_error, open_light_sockets, open_listeners
from twamp.control.server import Server
from twamp.endpoint import Endpoint
from twamp.engine.privileges import identity
from twamp.engine.session_reflector import RECEIVE_BUFFER, SessionReflector
from twamp.engine.stamping import HardwareStamping, open_stamping
from twamp.engine.workers import Workers
from twamp.errors import ConfigError
from twamp.reflector.exporter import Exporter
from twamp.reflector.logs import Limiter
from twamp.reflector.state import ResponderState
from twamp.reflector.state_reader import StateReader
from twamp.reflector.status_socket import StatusSocket, open_status_socket
from twamp.reflector.systemd import Notifier, watchdog_interval
from twamp.reflector.watch import ClockWatch, Heartbeat, InterfaceWatch
from twamp.version import version

logger = logging.getLogger("twamp.responder")

Bound = TypeVar("Bound")

LOOK_EVERY = 1.0  # seconds between looks at clock, interface and loop
CLIENT_LOGS = (
    "twamp.server",
    "twamp.connection",
    "twamp.sessions",
    "twamp.exporter",
)  # clients make them speak
SCRAPE_WITHIN = 5.0  # seconds for the event loop to answer a scrape


@dataclass(frozen=True)
class Settings:
    """What command line and files say."""

    config: ReflectorConfig
    users: Users = field(default_factory=Users)
    given: dict[str, Given] = field(default_factory=dict)


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
        config = settings.config
        self._settings = settings
        self._read_settings = read_settings
        self._inherited = bool(inherited)
        self._notifier = Notifier()
        self._stopping = asyncio.Event()
        self._draining = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._control: socket.socket | None = None
        self._exporter: Exporter | None = None
        self._light_sessions: list[int] = []
        self._returned = False  # the interface is back, and nothing listens there yet
        self._obstacle = ""  # why not
        self._buffer_told = False
        with contextlib.ExitStack() as bound:
            self._listeners = list(inherited) or _bound("port", config, open_listeners)
            self._light = _bound("light-port", config, open_light_sockets) if config.light else []
            for sock in (*self._listeners, *chain(*self._light)):
                bound.callback(sock.close)
            self._open_control_socket(bound)
            if config.metrics_address is not None:
                self._exporter = self._open_exporter(config)
            self._stamping = _open_stamping(config)
            bound.pop_all()
        self._life = contextlib.AsyncExitStack()

    def _open_control_socket(self, bound: contextlib.ExitStack) -> None:
        config = self._settings.config
        path = config.control_socket
        if path.lower() == "none":
            return
        try:
            owner = identity(config.run_as_user, config.run_as_group)
            self._control = bound.enter_context(
                open_status_socket(path, None if os.geteuid() else owner)
            )
        except OSError as error:
            text = f"control-socket: cannot listen on {path}: {error.strerror}"
            if "control_socket" in self._settings.given:
                raise ConfigError(f"{text}; give another --control-socket, or none") from None
            # Nobody asked for it: an ordinary user's responder does without.
            logger.warning("%s; twampctl will not find this responder", text)

    def _open_exporter(self, config: ReflectorConfig) -> Exporter:
        assert config.metrics_address is not None
        try:
            return Exporter(*config.metrics_address, self._read_state)
        except OSError as error:
            raise ConfigError(
                f"metrics-address: cannot listen on {config.metrics_address}: {error.strerror}; "
                "give another --metrics-address"
            ) from None

    def close(self) -> None:
        """Closes what was bound, of a responder that never served."""
        for sock in (*self._listeners, *chain(*self._light), self._control):
            if sock is not None:
                sock.close()
        if self._exporter is not None:
            self._exporter.close()
        if self._stamping is not None:
            self._stamping.close()

    # ---- life ------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        config = self._settings.config
        self._limiter = Limiter(*CLIENT_LOGS)
        self._life.callback(self._limiter.close)
        try:
            if self._stamping is not None:
                self._life.callback(self._stamping.close)
            source = _source_of_stamps(config, self._stamping)
            self.reflector = await self._life.enter_async_context(_make_workers(config, source))
            if self._stamping is not None:
                reading = asyncio.create_task(self._stamping.run(self.reflector.set_clock_models))
                self._life.callback(reading.cancel)
            light = [self._add_light(socks) for socks in self._light]
            self.server = await self._life.enter_async_context(
                Server(config, self.reflector, self._settings.users, self._listeners)
            )
            self.snapshot = StateReader(
                server=self.server,
                reflector=self.reflector,
                version=version(),
                given=self._settings.given,
                light=light,
                stamping=self._stamping,
            )
            if self._control is not None:
                await self._life.enter_async_context(StatusSocket(self._control, self.snapshot))
            if self._exporter is not None:
                self._exporter.start()
                self._life.callback(self._exporter.close)
            watching = asyncio.create_task(self._watch())
            self._life.callback(watching.cancel)
        except BaseException:
            await self._life.aclose()
            raise
        return self

    def _add_light(self, socks: Sequence[socket.socket]) -> Endpoint:
        address = Endpoint.from_sockaddr(socks[0].getsockname())
        self._light_sessions += self.reflector.add_light(address, socks)
        for sock in socks:
            sock.close()  # the engine keeps a duplicate
        return address

    def _say_what_is_served(self) -> None:
        status = self.snapshot.status()
        logger.info(
            "listening on %s, test ports %s, modes offered: %s",
            ", ".join(status["listening"]),
            status["test_ports"],
            ", ".join(status["modes"]),
        )
        if status["light"]:
            logger.info("reflecting without TWAMP-Control on %s", ", ".join(status["light"]))
        if self._stamping is not None:
            logger.info("hardware timestamps: %s", self._stamping)
        if self._exporter is not None:
            logger.info("metrics at http://%s/metrics", self._exporter.address)
        self._notifier.ready(self._status_line())

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
        """Says that it serves, and returns when it has been stopped or drained.

        Raises :class:`OSError` when its loop failed.
        """
        self._say_what_is_served()
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
        """Lets what runs come to its end, unless it takes too long or somebody insists."""
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
        """Reads the settings again and applies what can be applied; every connection and session stays.

        False, a line in the log, and nothing changed, when they are not right.
        """
        self._notifier.reloading()
        try:
            self._apply(self._read_settings())
        except (ConfigError, OSError) as error:
            self.server.events["reload_failed"] += 1
            text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
            logger.error("reload refused, nothing has changed: %s", text)
            self._notifier.ready(self._status_line())
            return False
        self._notifier.ready(self._status_line())
        return True

    def _apply(self, settings: Settings) -> None:
        before = self.server.config
        waiting = {
            name: getattr(before, name)
            for name, row in rows(ReflectorConfig)
            if row.restart and getattr(before, name) != getattr(settings.config, name)
        }
        config = replace(settings.config, **waiting)
        self.server.reconfigure(config, settings.users)
        self.reflector.set_rate_limit(config.rate_limit)
        self.reflector.set_light_clients(config.client_list)
        changed = [
            key_of(name)
            for name, _ in rows(ReflectorConfig)
            if getattr(before, name) != getattr(config, name)
        ]
        self.snapshot.given = {
            name: given for name, given in settings.given.items() if name not in waiting
        } | {name: given for name, given in self._settings.given.items() if name in waiting}
        self._settings = replace(settings, config=config, given=self.snapshot.given)
        self.snapshot.reloads += 1
        self.snapshot.last_reload_ns = time.time_ns()
        self.snapshot.restart_needed = [key_of(name) for name in waiting]
        logger.info("reloaded; changed: %s", ", ".join(changed) or "no option")
        if waiting:
            logger.warning("a restart is needed for: %s", ", ".join(map(key_of, waiting)))

    # ---- sight -------------------------------------------------------------------------------------

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
        """For the threads of the exporter: the state is the event loop's to read."""

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

    # ---- what changes under us -----------------------------------------------------------------------

    async def _watch(self) -> None:
        config = self._settings.config
        clock = ClockWatch()
        heartbeat = Heartbeat()
        interface = InterfaceWatch(config.device, socket.if_nametoindex) if config.device else None
        pause = min(LOOK_EVERY, watchdog_interval() or LOOK_EVERY)
        while True:
            self._look_at_clock(clock)
            self._look_at_buffer()
            if interface is not None:
                self._look_at_interface(interface)
            if heartbeat.beats(self.reflector.stats().turns):
                self._notifier.watchdog()
            else:
                logger.error("the reflecting loop does not turn")
            self.reflector.nudge()
            self._notifier.status(self._status_line())
            self._limiter.report()
            await asyncio.sleep(pause)

    def _look_at_buffer(self) -> None:
        """Says once that the kernel gives less room for packets than was asked for."""
        granted = self.reflector.stats().receive_buffer
        if not self._buffer_told and 0 < granted < RECEIVE_BUFFER:
            self._buffer_told = True
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
            if self._stamping is not None:
                self._stamping.reset()
                self.reflector.set_clock_models([])

    def _look_at_interface(self, interface: InterfaceWatch) -> None:
        news = interface.look()
        device = self.server.config.device
        if news is not None:
            self._leave_interface()
            self._returned = news == "back"
            self._obstacle = ""
        if news == "lost":
            self.server.events["interface_lost"] += 1
            logger.error("interface %s is gone; waiting for it to come back", device)
        elif self._returned and news is None and not self.server.service.draining:
            # One look later: by then the loop has closed what it had there.
            self._listen_again()

    def _leave_interface(self) -> None:
        """What is bound to a device stays bound to the one that is gone, so nothing can come there."""
        reason = "its interface is gone"
        for connection in list(self.server.connections):
            connection.end(reason)
        for session in self.server.sessions:
            self.server.sessions.end(session, reason)
        for light in self._light_sessions:
            self.reflector.remove(light)
        self._light_sessions.clear()
        self.snapshot.light = []
        if not self._inherited:  # those are systemd's, which has a BindToDevice= of its own
            self.server.listen([])

    def _listen_again(self) -> None:
        """Listens on the interface that is back; its addresses may come later: each look tries anew."""
        config = self.server.config
        listeners: list[socket.socket] = []
        try:
            if not self._inherited:
                listeners = _bound("port", config, open_listeners)
            light = _bound("light-port", config, open_light_sockets) if config.light else []
        except ConfigError as error:
            for listener in listeners:
                listener.close()
            if str(error) != self._obstacle:  # once, not at each look
                logger.error(
                    "interface %s is back, but %s; trying again and again", config.device, error
                )
            self._obstacle = str(error)
            return
        self._returned = False
        if listeners:
            self.server.listen(listeners)
        self.snapshot.light = [self._add_light(socks) for socks in light]
        logger.warning("interface %s is back; listening there again", config.device)


def _open_stamping(config: ReflectorConfig) -> HardwareStamping | None:
    """None where the network card is not to stamp, or cannot; ConfigError if it cannot and must."""
    if not config.hardware:
        return None
    assert config.iface is not None  # a rule of the config
    stamping, reason = open_stamping(config.iface, strict=config.hwtstamp == "strict")
    if stamping is None:
        logger.warning("%s", reason)
    return stamping


def _source_of_stamps(config: ReflectorConfig, stamping: HardwareStamping | None) -> str:
    if stamping is not None:
        return "hardware"
    return "auto" if config.timestamp == "hardware" else config.timestamp


def _make_workers(config: ReflectorConfig, timestamp: str) -> Workers:
    with contextlib.ExitStack() as made:
        reflectors = []
        for number in range(config.workers):
            cpu = config.cpu[number % len(config.cpu)] if config.cpu else None
            reflectors.append(_make_reflector(config, cpu, timestamp))
            made.callback(reflectors[-1].close)
        workers = Workers(reflectors, config.maximum_sessions)
        workers.set_light_clients(config.client_list)
        made.pop_all()
    return workers


def _make_reflector(config: ReflectorConfig, cpu: int | None, timestamp: str) -> SessionReflector:
    return SessionReflector(
        maximum_sessions=config.maximum_sessions,
        tx_batch=config.tx_batch,
        t3_budget_ns=config.t3_budget * 1000,
        t3_correction=config.t3_correction,
        hash_seed=secrets.randbits(64),
        rate_limit=config.rate_limit,
        timestamp=timestamp,
        timestamp_format=config.timestamp_format,
        spin_us=config.spin_us,
        cpu=cpu,
        realtime=config.realtime,
    )


def _bound(
    option: str, config: ReflectorConfig, opener: Callable[[ReflectorConfig], list[Bound]]
) -> list[Bound]:
    try:
        return opener(config)
    except OSError as error:
        raise listening_error(error, config, option) from None
