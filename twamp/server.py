"""The Server: TWAMP-Control on TCP, one Conversation per connection (RFC 5357 section 3).

A connection is a coroutine that reads, asks the Conversation for the next message, and answers it; a
message is handled by the method ``on_`` + its name.  Whatever a client sends or fails to send ends its
own connection at most.
"""

import asyncio
import contextlib
import dataclasses
import errno
import functools
import logging
import operator
import secrets
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from twamp.config import MODES, ReflectorConfig
from twamp.endpoint import Endpoint
from twamp.errors import ConfigError, IntegrityError, ProtocolError
from twamp.protocol.control_messages import (
    SECURITY_MODES,
    Accept,
    AcceptSession,
    Modes,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartSessions,
    StopSessions,
)
from twamp.protocol.conversation import (
    SECOND,
    Conversation,
    Role,
    State,
    Timers,
    UnexpectedCommand,
    check_mode,
)
from twamp.protocol.crypto import SessionKeys, open_token, packet_keys, token_key
from twamp.protocol.message import Message
from twamp.protocol.timestamps import ntp_from_unix_ns
from twamp.session_reflector import SessionReflector
from twamp.sessions import (
    UNPROTECTED,
    GrantedSession,
    Protected,
    Refusal,
    Sessions,
    SessionState,
    read_request,
)
from twamp.users import Users

logger = logging.getLogger(__name__)

READ_SIZE = 4096
BACKLOG = 128
ACCEPT_PAUSE = 0.1  # seconds without accepting when descriptors have run out

# linux/tcp.h: lets the listening side see the client's SYN, and so its DSCP.
TCP_SAVE_SYN = 27
TCP_SAVED_SYN = 28


def offered_modes(names: Sequence[str], users: Users) -> Modes:
    """What ``mode`` asks for (names, or ``no-`` names) of what can be served; secured modes need users.

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


class Server:
    """Listens for TWAMP-Control and grants test sessions of ``reflector``.

    ``async with Server(config, reflector) as server:`` listens; ``server.addresses`` says where.  Raises
    :class:`OSError` when it cannot listen.  The reflector is the caller's to close, after the Server.
    """

    def __init__(
        self, config: ReflectorConfig, reflector: SessionReflector, users: Users | None = None
    ) -> None:
        self.config = config
        self.users = users or Users()
        self.offered = offered_modes(config.mode, self.users)
        # What went wrong, by name, since the start.
        self.counters: Counter[str] = Counter()
        # Keys are derived one at a time: a flood of clients takes one core at most, and never the loop.
        self._key_deriver = ThreadPoolExecutor(1, thread_name_prefix="twamp-keys")
        # An unknown user costs what a known one does.
        self._nobody = secrets.token_bytes(16)
        self.sessions = Sessions(
            reflector,
            test_ports=config.test_ports,
            refwait_ns=config.test_inactivity_timeout * SECOND,
            clock=time.monotonic_ns,
            interface=config.iface,
        )
        # RFC 4656 section 3.1: the same for every client of this instance.
        self.start_time = ntp_from_unix_ns(time.time_ns())
        self._sid_time = 0
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()

    # ---- life ------------------------------------------------------------------------------------

    async def __aenter__(self) -> "Server":
        try:
            for address in self.config.listen_address or (None,):
                self._listeners.append(self._listen(address))
        except BaseException:
            await self.aclose()
            raise
        for listener in self._listeners:
            self._spawn(self._accept_connections(listener))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Accepts no more, ends every connection and every session."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self.sessions.end_stopped()
        self._key_deriver.shutdown(wait=False, cancel_futures=True)

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """Where TWAMP-Control is listened for."""
        return [Endpoint.from_sockaddr(listener.getsockname()) for listener in self._listeners]

    async def open_token(
        self, greeting: ServerGreeting, message: SetUpResponse
    ) -> SessionKeys | None:
        """The session keys of a client, or None: unknown user or wrong passphrase, who could tell which."""
        name = message.key_id.rstrip(b"\0").decode("utf-8", "replace")
        passphrase = self.users.get(name)
        key = await asyncio.get_running_loop().run_in_executor(
            self._key_deriver,
            token_key,
            self._nobody if passphrase is None else passphrase,
            greeting.salt,
            greeting.count,
        )
        keys = open_token(key, greeting.challenge, message.token)
        return None if passphrase is None else keys

    def next_sid(self, local: Endpoint) -> bytes:
        """A fresh SID: address ‖ timestamp ‖ random (RFC 4656 section 3.5)."""
        # Never the same timestamp twice, so that never the same SID twice.
        self._sid_time = max(self._sid_time + 1, ntp_from_unix_ns(time.time_ns()))
        return (
            local.address.packed[-4:]
            + (self._sid_time & (1 << 64) - 1).to_bytes(8)
            + secrets.token_bytes(4)
        )

    # ---- accepting ---------------------------------------------------------------------------------

    def _listen(self, address: str | None) -> socket.socket:
        family = socket.AF_INET if address and ":" not in address else socket.AF_INET6
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.config.iface is not None:
                listener.setsockopt(
                    socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.config.iface.encode()
                )
            if family == socket.AF_INET6:
                listener.setsockopt(
                    socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address is None else 1
                )
            with contextlib.suppress(OSError):  # an old kernel: replies keep dscp-value
                listener.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, 1)
            set_dscp(listener, self.config.dscp_value)
            listener.bind(
                socket.getaddrinfo(
                    address or "::", self.config.port, family, flags=socket.AI_NUMERICHOST
                )[0][4]
            )
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def _spawn(self, coroutine: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept_connections(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:
                # EMFILE, ENFILE, ENOBUFS: the backlog keeps the client; ECONNABORTED: it has gone.
                logger.warning("cannot accept a connection: %s", error)
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(ACCEPT_PAUSE)
                continue
            self._spawn(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        try:
            local = Endpoint.from_sockaddr(sock.getsockname())
            remote = Endpoint.from_sockaddr(sock.getpeername())
            if not self.config.dscp_value:
                follow_syn_dscp(sock)
            reader, writer = await asyncio.open_connection(sock=sock, limit=READ_SIZE)
        except OSError as error:
            logger.info("a client left at once: %s", error)
            sock.close()
            return
        full = len(self._connections) >= self.config.maximum_connections
        connection = Connection(self, reader, writer, local, remote)
        if full:
            await connection.turn_away(f"{len(self._connections)} connections are open")
            return
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)


class Connection:
    """One TWAMP-Control connection and the test sessions asked for on it."""

    def __init__(
        self,
        server: Server,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        local: Endpoint,
        remote: Endpoint,
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._local = local
        self._remote = remote
        self._sessions: list[GrantedSession] = []
        self._timer: asyncio.TimerHandle | None = None
        self._expired = ""
        self._greeting = ServerGreeting(
            server.offered,
            challenge=secrets.token_bytes(16),
            salt=secrets.token_bytes(16),
            count=server.config.pbkdf2_count,
        )
        self._keys: SessionKeys | None = None
        self._mode = Modes(0)
        self._conversation = Conversation(
            Role.SERVER,
            now_ns=time.monotonic_ns(),
            timers=Timers(servwait_ns=server.config.server_inactivity_timeout * SECOND),
        )
        self._handlers: dict[type, Callable[..., Awaitable[Message | None]]] = {
            SetUpResponse: self.on_set_up_response,
            RequestTWSession: self.on_request_tw_session,
            StartSessions: self.on_start_sessions,
            StopSessions: self.on_stop_sessions,
            UnexpectedCommand: self.on_unexpected_command,
        }

    async def turn_away(self, reason: str) -> None:
        """Greets with Modes 0, which means no (RFC 4656 section 3.1), and closes."""
        logger.warning("%s turned away: %s", self._remote, reason)
        self._send(dataclasses.replace(self._greeting, modes=Modes(0)))
        await self._close()

    async def serve(self) -> None:
        """The whole life of the connection; sessions that are not stopped end with it."""
        logger.info("%s connected to %s", self._remote, self._local)
        reason = "cancelled"
        try:
            reason = await self._converse()
        except IntegrityError as error:
            self._server.counters["hmac_failed"] += 1
            reason = f"tampered with, or broken: {error}"
        except ProtocolError as error:
            self._server.counters["protocol_error"] += 1
            reason = f"protocol error: {error}"
        except OSError as error:
            reason = f"connection lost: {error}"
        finally:
            for session in self._sessions:
                # What was stopped still reflects until its Timeout; all else ends with the connection.
                if session.state is not SessionState.STOPPED:
                    self._server.sessions.end(session, "its control connection ended")
            logger.info("%s disconnected: %s", self._remote, reason)
            await self._close()

    async def _converse(self) -> str:
        """Reads and answers until one end has had enough; returns why."""
        self._send(self._greeting)
        while self._conversation.state is not State.CLOSED:
            self._watch()
            await self._writer.drain()
            octets = await self._reader.read(READ_SIZE)
            now_ns = time.monotonic_ns()
            if not octets:
                self._conversation.receive_eof(now_ns)
                return self._expired or "closed by the client"
            self._conversation.receive_data(octets, now_ns)
            while (message := self._conversation.next_message(time.monotonic_ns())) is not None:
                logger.debug("%s > %s", self._remote, message)
                answer = await self._handlers[type(message)](message)
                if answer is not None:
                    self._send(answer)
        return self._expired or "closed by the server"

    def _send(self, message: Message) -> None:
        logger.debug("%s < %s", self._remote, message)
        self._writer.write(self._conversation.send(message, time.monotonic_ns()))

    def _watch(self) -> None:
        """Arms the timer for the conversation's next deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ns = self._conversation.get_timer()
        if due_ns is not None:
            delay = max(0, due_ns - time.monotonic_ns()) / SECOND
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        expiry = self._conversation.handle_timer(time.monotonic_ns())
        if expiry is None:
            self._watch()
        else:
            self._expired = f"timer: {expiry.value}"
            self._writer.transport.abort()

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._writer.close()
        # A client that does not read must not keep us: what it has not taken by then is lost to it.
        try:
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    # ---- what the client says ----------------------------------------------------------------------

    async def on_set_up_response(self, message: SetUpResponse) -> Message | None:
        """RFC 4656 section 3.1: the client has chosen; what was not offered is refused."""
        if not message.mode:
            return None  # it declined, and the conversation is closed
        fault = check_mode(self._server.offered, message.mode)
        if fault is not None:
            self._server.counters["mode_refused"] += 1
            logger.warning("%s refused: %s", self._remote, fault)
            return ServerStart(Accept.NOT_SUPPORTED)
        self._mode = message.mode & SECURITY_MODES
        if self._mode is not Modes.UNAUTHENTICATED:
            self._keys = await self._server.open_token(self._greeting, message)
            user = message.key_id.rstrip(b"\0").decode("utf-8", "backslashreplace")
            if self._keys is None:
                self._server.counters["authentication_failed"] += 1
                logger.warning("%s refused: no such user and passphrase, %r", self._remote, user)
                return ServerStart(Accept.FAILURE)
            logger.info("%s is %r, %s", self._remote, user, str(self._mode.name).lower())
            self._conversation.use_keys(self._keys)
        return ServerStart(
            Accept.OK, server_iv=self._server_iv(), start_time=self._server.start_time
        )

    def _server_iv(self) -> bytes:
        return secrets.token_bytes(16) if self._keys is not None else bytes(16)

    async def on_request_tw_session(self, message: RequestTWSession) -> Message:
        """RFC 5357 section 3.5: every request gets one Accept-Session; a refusal keeps the connection."""
        try:
            session = self._grant(message)
        except Refusal as refusal:
            logger.warning("%s session refused, %s: %s", self._remote, refusal.accept.name, refusal)
            return AcceptSession(refusal.accept)
        logger.info(
            "%s %s accepted: %s to %s, DSCP %d, padding %d",
            self._remote,
            session,
            session.asked.peer,
            session.local,
            session.asked.dscp,
            session.asked.padding_length,
        )
        return AcceptSession(Accept.OK, port=session.local.port, sid=session.sid)

    def _grant(self, request: RequestTWSession) -> GrantedSession:
        asked = read_request(request, self._local, self._remote)
        maximum = self._server.config.maximum_sessions_per_connection
        if len(self._sessions) >= maximum:
            raise Refusal(
                Accept.TEMPORARY_RESOURCE_LIMITATION,
                f"{maximum} sessions on this connection (maximum-sessions-per-connection)",
            )
        sid = self._server.next_sid(asked.local)
        session = self._server.sessions.accept(sid, asked, self._protected(sid))
        self._sessions.append(session)
        return session

    def _protected(self, sid: bytes) -> Protected:
        """RFC 5618 section 3.1: in mixed mode the test packets are not protected."""
        if self._keys is None or self._mode is Modes.MIXED:
            return UNPROTECTED
        return Protected(self._mode, packet_keys(sid, self._keys))

    async def on_start_sessions(self, _: StartSessions) -> Message:
        """RFC 5357 section 3.7: all accepted sessions begin, and the answer goes at once."""
        for session in self._sessions:
            self._server.sessions.start(session, self._on_refwait)
        logger.info("%s started %d sessions", self._remote, len(self._sessions))
        return StartAck(Accept.OK)

    async def on_stop_sessions(self, message: StopSessions) -> None:
        """RFC 5357 section 3.8: no answer; packets on their way are reflected until Timeout."""
        logger.info(
            "%s stopped %d sessions, %s", self._remote, len(self._sessions), message.accept.name
        )
        for session in self._sessions:
            if session.state is not SessionState.ENDED:
                self._server.sessions.stop(session)
        self._sessions.clear()

    async def on_unexpected_command(self, message: UnexpectedCommand) -> Message:
        """RFC 5357 section 3.5: Accept-Session with Accept 3."""
        logger.warning("%s sent command %d, unexpected here", self._remote, message.command)
        return AcceptSession(Accept.NOT_SUPPORTED)

    def _on_refwait(self) -> None:
        """A session has ended by REFWAIT; with the last one, SERVWAIT runs again (RFC 5357 section 3.1)."""
        if all(session.state is SessionState.ENDED for session in self._sessions):
            self._conversation.resume_servwait(time.monotonic_ns())
            self._watch()


def set_dscp(sock: socket.socket, dscp: int) -> None:
    """Marks what a TCP socket sends; a dual-stack socket marks both families."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    with contextlib.suppress(OSError):  # IPv6 only
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def follow_syn_dscp(sock: socket.socket) -> None:
    """Answers with the DSCP of the client's SYN (RFC 5357 section 3.1), where the kernel tells it."""
    try:
        header = sock.getsockopt(socket.IPPROTO_TCP, TCP_SAVED_SYN, 128)
    except OSError:
        return
    if len(header) < 2:
        return
    if header[0] >> 4 == 4:
        set_dscp(sock, header[1] >> 2)
    else:
        set_dscp(sock, (header[0] & 0xF) << 2 | header[1] >> 6)
