"""The Server: TWAMP-Control on TCP, one Connection per client (RFC 5357 section 3).

It listens, admits clients, and owns the connections; :mod:`twamp.control.connection` serves each, and
:mod:`twamp.control.sessions` holds the test sessions that they request.
"""

import asyncio
import contextlib
import functools
import logging
import operator
import resource
import secrets
import socket
import struct
import time
import traceback
from collections import Counter
from collections.abc import Collection, Sequence

from twamp.config.readers import MODES
from twamp.config.reflector import ReflectorConfig
from twamp.config.users import Users
from twamp.control.acceptor import Acceptor
from twamp.control.admission import Admission, client_of
from twamp.control.authenticator import Authenticator
from twamp.control.channel import Channel
from twamp.control.connection import Connection, Service
from twamp.control.listeners import follow_syn_dscp, open_listeners, prepare_listeners
from twamp.control.sessions import Sessions
from twamp.control.turns import Turns
from twamp.endpoint import Endpoint
from twamp.engine.workers import Reflector
from twamp.errors import ConfigError
from twamp.protocol.control_messages import ServerGreeting
from twamp.protocol.registries import Modes
from twamp.protocol.timestamps import ntp_from_unix_ns

logger = logging.getLogger("twamp.server")

DRAIN_LOOK = 0.05  # seconds between looks at what is left
MOST_HANDSHAKES = 8192
MOST_WAITING = 512  # connections of one client that wait for their turn
# Of a turn of the event loop: so many connections are accepted, or refused, in one.
ADMISSION_SHARE = 1 / 16
REFUSAL_SHARE = 1 / 64
# Descriptors that handshakes leave free: for status requests, and for connections that are closing.
SPARE_DESCRIPTORS = 16
RESERVED_CONNECTIONS = 8  # so many connections find a descriptor, whatever test ports there are


def offered_modes(names: Sequence[str], users: Users) -> Modes:
    """The modes that ``mode`` names (or all but its ``no-`` names); secured modes need users.

    Raises :class:`~twamp.errors.ConfigError` for a mode that cannot be served.
    """
    everything = {name: Modes[name.upper()] for name in MODES}
    positive = [name for name in names if not name.startswith("no-")]
    if not users:
        secured = [name for name in positive if name != "unauthenticated"]
        if secured:
            raise ConfigError(
                f"mode: {secured[0]} needs users; give --key-file or [user.NAME] tables"
            )
        everything = {"unauthenticated": Modes.UNAUTHENTICATED}
    chosen = positive or [name for name in everything if f"no-{name}" not in names]
    if not chosen:
        raise ConfigError(f"mode: {', '.join(names)} leaves nothing to offer without users")
    return functools.reduce(operator.or_, (everything[name] for name in chosen))


def most_handshakes() -> int:
    """The limit of handshakes: half of the descriptors; the rest is for sessions and connections."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(MOST_HANDSHAKES, descriptors // 2))


class Server:
    """Listens for TWAMP-Control and grants test sessions of ``reflector``.

    ``async with Server(config, reflector) as server:`` listens; ``server.addresses`` tells where.  Raises
    :class:`OSError` when it cannot listen.  ``listeners`` are sockets that listen already, and the Server's
    from now on.  The reflector is the caller's to close, after the Server.
    """

    def __init__(
        self,
        config: ReflectorConfig,
        reflector: Reflector,
        users: Users | None = None,
        listeners: Sequence[socket.socket] | None = None,
    ) -> None:
        users = users or Users()
        self.service = Service(
            config=config,
            offered=offered_modes(config.mode, users),
            start_time=ntp_from_unix_ns(time.time_ns()),
            admission=Admission(config, most_handshakes()),
            authenticator=Authenticator(users),
            sessions=Sessions(reflector, config, descriptors=self._first_reserved_descriptor),
            events=Counter(),
            turns=Turns(),
        )
        self.accepted = 0  # TCP connections since the start, also refused ones
        self.ended = 0
        # The kernel gives the lowest number that is free, so a number tells how many are left.
        self._high_descriptor = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS
        self._listeners = list(listeners or ())
        self._acceptors: list[Acceptor] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: dict[Connection, None] = {}

    def _first_reserved_descriptor(self) -> int:
        """The number from which on descriptors are not for test ports.

        They are for control connections that are still to come, status requests and scrapes.
        """
        established = self.service.admission.established
        return self._high_descriptor - max(0, RESERVED_CONNECTIONS - established)

    @property
    def config(self) -> ReflectorConfig:
        """The options in force."""
        return self.service.config

    @property
    def sessions(self) -> Sessions:
        return self.service.sessions

    @property
    def connections(self) -> Collection[Connection]:
        """All connections, handshaking or established."""
        return self._connections.keys()

    @property
    def events(self) -> Counter[str]:
        """The number of events since the start, by name (:data:`~twamp.control.connection.EVENTS`)."""
        return self.service.events

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """The addresses and ports that the Server listens on."""
        return [Endpoint.from_sockaddr(listener.getsockname()) for listener in self._listeners]

    # ---- life ------------------------------------------------------------------------------------

    async def __aenter__(self) -> "Server":
        self.listen(self._listeners or open_listeners(self.config))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def listen(self, listeners: Sequence[socket.socket]) -> None:
        """Accepts connections on these sockets from now on, and closes the sockets before."""
        listeners = list(listeners)
        self._stop_accepting(but=listeners)
        self._listeners = listeners
        prepare_listeners(self._listeners, self.config.dscp_value)
        self.service.authenticator.ring(self.config.pbkdf2_count)  # derives the first keys
        for listener in self._listeners:
            self._acceptors.append(Acceptor(listener, self._admit, self.events))

    def reconfigure(self, config: ReflectorConfig, users: Users) -> None:
        """Applies other options to all connections and sessions, and ends none of them.

        Raises :class:`~twamp.errors.ConfigError`, and changes nothing, for modes that cannot be served.
        """
        offered = offered_modes(config.mode, users)
        self.service.config = config
        self.service.offered = offered
        self.service.authenticator.replace_users(users)
        self.service.admission.reconfigure(config)
        self.sessions.reconfigure(config)
        prepare_listeners(self._listeners, config.dscp_value)
        for connection in self._connections:
            connection.reconfigure()

    async def drain(self, seconds: float) -> bool:
        """Accepts nothing more and waits until all sessions end; False when ``seconds`` were too few."""
        self.service.draining = True
        self._stop_accepting()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._connections or len(self.sessions):
                    for connection in self._connections:
                        if not connection.has_sessions:
                            connection.end("shutting down")
                    await asyncio.sleep(DRAIN_LOOK)
        return not self._connections and not len(self.sessions)

    async def aclose(self) -> None:
        """Stops accepting, and ends every connection and every session."""
        self._stop_accepting()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.sessions.end_stopped()
        self.service.authenticator.close()

    def _stop_accepting(self, but: Sequence[socket.socket] = ()) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        for listener in self._listeners:
            if listener not in but:
                listener.close()
        self._listeners.clear()

    # ---- accepting ---------------------------------------------------------------------------------

    def _admit(self, sock: socket.socket) -> float:
        """Admits a client, or refuses it before spending anything on it; returns the share of a turn."""
        self.accepted += 1
        try:
            local = Endpoint.from_sockaddr(sock.getsockname())
            remote = Endpoint.from_sockaddr(sock.getpeername())
        except OSError as error:
            logger.info("a client left before it was greeted: %s", error)
            sock.close()
            return REFUSAL_SHARE
        if not self.service.admission.lists(remote.address):
            self._reject("client_list", remote)
            reset(sock)
            return REFUSAL_SHARE
        full = self.service.admission.is_full_for(remote.address)
        if full is not None:
            self._reject(full, remote)
            self._turn_away(sock)
            return REFUSAL_SHARE
        if self.service.turns.waiting(client_of(remote.address)) >= MOST_WAITING:
            self._reject("handshakes", remote)
            reset(sock)
            return REFUSAL_SHARE
        if not self.config.dscp_value:
            follow_syn_dscp(sock)
        no_room = sock.fileno() >= self._high_descriptor
        connection = Connection(self.service, Channel(sock), local, remote)
        if no_room:  # two end for one that begins, so that there are fewer
            self._drop(self.service.admission.give_way())
            self._drop(self.service.admission.give_way())
        self._drop(self.service.admission.begin(connection, remote.address))
        self._connections[connection] = None
        task = connection.serve()
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._on_end, connection))
        return 1.0 if no_room else ADMISSION_SHARE

    def _on_end(self, connection: Connection, task: asyncio.Task[None]) -> None:
        """Leaves nothing of a connection, whatever has ended it, nor more than a line of its errors."""
        self.ended += 1
        self._tasks.discard(task)
        del self._connections[connection]
        self.service.admission.end(connection)
        connection.channel.sock.close()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.events["connection_failed"] += 1
            logger.error("%s failed: %s", connection.remote, where_of(error))

    def _reject(self, reason: str, remote: Endpoint) -> None:
        self.service.rejected[reason] += 1
        logger.warning(
            "%s turned away: %s",
            remote,
            reason.replace("_", "-"),
            extra={
                "fields": {"event": "connection_refused", "client": str(remote), "reason": reason}
            },
        )

    def _turn_away(self, sock: socket.socket) -> None:
        """Greets with Modes 0, which refuses the connection (RFC 4656 section 3.1), and closes it."""
        greeting = ServerGreeting(
            Modes(0),
            challenge=secrets.token_bytes(16),
            salt=secrets.token_bytes(16),
            count=self.config.pbkdf2_count,
        )
        with contextlib.suppress(OSError), sock:
            sock.send(bytes(greeting))  # a new socket has room for 64 octets

    def _drop(self, crowded: Connection | None) -> None:
        if crowded is not None:
            self._reject("handshakes", crowded.remote)
            crowded.end("others wait for their handshake")


def reset(sock: socket.socket) -> None:
    """Closes a TCP connection with a reset, so that the kernel keeps no state of it."""
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def where_of(error: BaseException) -> str:
    """An unforeseen error and the line of the program that raised it, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f", {frames[-1].filename} line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__} {error}{place}"
