"""The Control-Client: asks a Server for test sessions (RFC 5357 section 3)."""

import asyncio
import contextlib
import errno
import functools
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from twamp.control.dial import VANISHED_AFTER, open_connection, prepare_socket
from twamp.endpoint import Endpoint, IPAddress
from twamp.errors import ProtocolError, Refused, RemoteProtocolError
from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartSessions,
    StopSessions,
    type_p_descriptor_from_dscp,
)
from twamp.protocol.conversation import Conversation, Timers
from twamp.protocol.crypto import PacketKeys, SessionKeys, packet_keys, seal_token, token_key
from twamp.protocol.message import Message
from twamp.protocol.registries import SECURITY_MODES, Accept, Modes
from twamp.protocol.states import Role, UnexpectedCommand
from twamp.protocol.timestamps import NS, interval_from_ns
from twamp.sockets import resolve

logger = logging.getLogger("twamp.control_client")

READ_SIZE = 4096
REQUESTS_AHEAD = 32
TIMEOUT = 10.0
MAXIMUM_COUNT = 32768  # RFC 5357 section 6
LONG_PADDING = 1400  # octets
LEAST_COUNT = 1024  # RFC 4656 section 3.1
PREFERENCE = (
    Modes.ENCRYPTED,
    Modes.AUTHENTICATED,
    Modes.MIXED,
    Modes.UNAUTHENTICATED,
)  # strongest first
SECURED = Modes.ENCRYPTED | Modes.AUTHENTICATED | Modes.MIXED

_MEANING = {
    Accept.FAILURE: "failure, reason unspecified",
    Accept.INTERNAL_ERROR: "internal error",
    Accept.NOT_SUPPORTED: "some aspect of the request is not supported",
    Accept.PERMANENT_RESOURCE_LIMITATION: "permanent resource limitation",
    Accept.TEMPORARY_RESOURCE_LIMITATION: "temporary resource limitation: try again later",
    Accept.SA_NOT_FOUND: "no such IKEv2 security association",
}

TEXT_OF_OTHERS = 12  # octets: the Unused field of a Server Greeting, which is no text

AnswerT = TypeVar("AnswerT", bound=Message)


class Credentials(NamedTuple):
    """A user of the Server and the passphrase, for the secured modes."""

    user: str
    passphrase: bytes

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, …)"


@dataclass(frozen=True, kw_only=True)
class SessionRequest:
    """The test session to request (RFC 5357 section 3.5).

    ``sender_address`` and ``receiver_address`` default to those of the control connection, and are sent as
    zero then.  ``padding_length`` in octets; ``start_time`` an NTP timestamp (0: at once);
    ``timeout_ns``: how long after Stop-Sessions the Session-Reflector still answers.
    """

    sender_port: int
    receiver_port: int
    padding_length: int = 0
    start_time: int = 0
    timeout_ns: int = 2 * NS
    dscp: int = 0
    sender_address: IPAddress | None = None
    receiver_address: IPAddress | None = None


@dataclass(frozen=True, kw_only=True)
class AcceptedSession:
    """A session that the Server has accepted: its SID, and the two ends of its test packets."""

    sid: bytes
    sender: Endpoint
    reflector: Endpoint
    mode: Modes = Modes.UNAUTHENTICATED  # of the test packets
    keys: PacketKeys | None = field(default=None, repr=False)  # where that mode protects them


class ControlClient:
    """One TWAMP-Control connection.

    ::

        async with await ControlClient.connect("192.0.2.1") as client:
            session = await client.request_session(SessionRequest(…))
            await client.start_sessions()
            …                                # a SessionSender measures
            await client.stop_sessions()

    Every method raises :class:`~twamp.errors.Refused` when the Server refuses,
    :class:`~twamp.errors.ProtocolError` when it breaks the rules or does not answer in time, and
    :class:`OSError` when the connection fails.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.local = Endpoint.from_sockaddr(writer.get_extra_info("sockname"))
        self.remote = Endpoint.from_sockaddr(writer.get_extra_info("peername"))
        self._keys: SessionKeys | None = None
        self._first = b""  # the first octets that came
        self._conversation = Conversation(
            Role.CONTROL_CLIENT,
            now_ns=time.monotonic_ns(),
            timers=Timers(response_ns=int(timeout * NS)),
        )

    # ---- life ------------------------------------------------------------------------------------

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int = 862,
        *,
        timeout: float = TIMEOUT,
        source_address: str | None = None,
        family: int = 0,
        interface: str | None = None,
        dscp: int = 0,
        credentials: Credentials | None = None,
        modes: Modes | None = None,
        maximum_count: int = MAXIMUM_COUNT,
        vanished_after: float = VANISHED_AFTER,
    ) -> Self:
        """Connects to the first address of ``host`` that answers, and agrees on a mode.

        That is the strongest of ``modes`` that the Server offers.  The default is unauthenticated, and with
        ``credentials`` any other mode, so that nothing is less protected than the caller meant.  Raises
        :class:`~twamp.errors.Refused`, too, for a Server that asks for more than ``maximum_count``
        iterations to make a key.

        ``timeout``: seconds for the connection and for every answer; ``family``: ``AF_INET``,
        ``AF_INET6`` or 0; ``source_address``: an address of this machine, or a name of one; ``dscp``
        marks the control packets; ``vanished_after``: seconds of silence of the Server's host after which
        the connection has failed, up to ``LONGEST_PATIENCE`` (a cut that heals earlier does no harm).
        Raises ValueError for a port or a DSCP that there cannot be.
        """
        _require_possible(port, dscp)
        prepare = functools.partial(
            prepare_socket,
            source_address=source_address,
            interface=interface,
            dscp=dscp,
            vanished_after=vanished_after,
        )
        candidates = await resolve(host, port, family=family, interface=interface)
        sock = await open_connection(candidates, timeout, source_address, prepare)
        try:
            reader, writer = await asyncio.open_connection(sock=sock, limit=READ_SIZE)
            client = cls(reader, writer, timeout)
        except BaseException:
            sock.close()
            raise
        try:
            await client._set_up(credentials, modes, maximum_count)
        except BaseException:
            await client.aclose()
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connection; the Server then ends sessions that were not stopped."""
        self._conversation.close(time.monotonic_ns())
        with contextlib.suppress(OSError), self._failures():
            self._writer.close()
            await self._writer.wait_closed()

    # ---- the conversation --------------------------------------------------------------------------

    @property
    def mode(self) -> Modes:
        """The security mode of the connection."""
        return self._conversation.mode & SECURITY_MODES

    async def _set_up(
        self, credentials: Credentials | None, modes: Modes | None, maximum_count: int
    ) -> None:
        if modes is None:
            modes = Modes.UNAUTHENTICATED if credentials is None else SECURED
        greeting = await self._receive(ServerGreeting)
        self._require_twamp()
        if not greeting.modes:
            raise Refused(
                f"{self.remote} offers no mode: it does not want to talk to us now",
                accept=Accept.FAILURE,
                section="RFC 4656 section 3.1",
            )
        acceptable = modes if credentials else modes & ~SECURED
        mode = next((mode for mode in PREFERENCE if mode & acceptable & greeting.modes), Modes(0))
        if not mode:
            await self._decline()
            remedy = (
                "--user gives the secured modes a user"
                if credentials is None
                else "see --auth-mode"
            )
            raise Refused(
                f"{self.remote} offers {_names(greeting.modes)}, acceptable would be"
                f" {_names(acceptable)}: {remedy}",
                accept=Accept.NOT_SUPPORTED,
                section="RFC 4656 section 3.1",
            )
        if credentials is None or mode is Modes.UNAUTHENTICATED:
            self._send(SetUpResponse(mode))
        else:
            await self._prove(greeting, mode, credentials, maximum_count)
        start = await self._receive(ServerStart)
        if start.accept is Accept.FAILURE and self._keys is not None:
            raise Refused(
                f"{self.remote} refused the connection: unknown user or wrong passphrase (Accept 1)",
                accept=start.accept,
                section="RFC 4656 section 3.1",
            )
        self._insist(start.accept, "the connection", "RFC 4656 section 3.1")

    async def _decline(self) -> None:
        self._send(SetUpResponse(Modes(0)))
        await self._drain()

    async def _prove(
        self, greeting: ServerGreeting, mode: Modes, credentials: Credentials, maximum_count: int
    ) -> None:
        """Sends the Token, which proves the passphrase and holds the keys of this connection."""
        if not LEAST_COUNT <= greeting.count <= maximum_count:
            await self._decline()
            raise Refused(
                f"{self.remote} wants {greeting.count} iterations for a key; we do {LEAST_COUNT} to"
                f" {maximum_count} (--maximum-pbkdf2-count)",
                accept=Accept.NOT_SUPPORTED,
                section="RFC 5357 section 6",
            )
        key = await asyncio.get_running_loop().run_in_executor(
            None, token_key, credentials.passphrase, greeting.salt, greeting.count
        )
        self._keys = SessionKeys(secrets.token_bytes(16), secrets.token_bytes(32))
        self._conversation.use_keys(self._keys)
        self._send(
            SetUpResponse(
                mode,
                key_id=credentials.user.encode().ljust(80, b"\0"),
                token=seal_token(key, greeting.challenge, self._keys),
                client_iv=secrets.token_bytes(16),
            )
        )

    async def request_session(self, request: SessionRequest) -> AcceptedSession:
        """Requests a session; the Server may choose another Receiver Port than the requested one."""
        self._send_request(request)
        return await self._receive_accept(request)

    async def request_sessions(
        self, requests: Iterable[SessionRequest], ahead: int = REQUESTS_AHEAD
    ) -> AsyncIterator[AcceptedSession]:
        """Requests many sessions, in that order, with up to ``ahead`` (1..) requests unanswered.

        That saves a round trip each.  :class:`~twamp.errors.Refused` ends it: later requests stay
        unanswered, and the connection cannot be used any more.
        """
        waiting: deque[SessionRequest] = deque()
        for request in requests:
            self._send_request(request)
            waiting.append(request)
            if len(waiting) == ahead:
                yield await self._receive_accept(waiting.popleft())
        while waiting:
            yield await self._receive_accept(waiting.popleft())

    def _send_request(self, request: SessionRequest) -> None:
        reflector = request.receiver_address or self.remote.address
        self._send(
            RequestTWSession(
                ip_version=reflector.version,
                sender_port=request.sender_port,
                receiver_port=request.receiver_port,
                sender_address=_address_field(request.sender_address),
                receiver_address=_address_field(request.receiver_address),
                padding_length=request.padding_length,
                start_time=request.start_time,
                timeout=interval_from_ns(request.timeout_ns),
                type_p_descriptor=type_p_descriptor_from_dscp(request.dscp),
            )
        )

    async def _receive_accept(self, request: SessionRequest) -> AcceptedSession:
        sender = request.sender_address or self.local.address
        reflector = request.receiver_address or self.remote.address
        answer = await self._receive(AcceptSession)
        self._insist(answer.accept, "the session", "RFC 5357 section 3.5", _remedy(request))
        return AcceptedSession(
            sid=answer.sid,
            sender=self.local._replace(address=sender, port=request.sender_port),
            reflector=self.remote._replace(address=reflector, port=answer.port),
            mode=Modes.UNAUTHENTICATED if self.mode is Modes.MIXED else self.mode,
            keys=self._packet_keys(answer.sid),
        )

    def _packet_keys(self, sid: bytes) -> PacketKeys | None:
        """RFC 5618 section 3.1: in mixed mode the test packets are not protected."""
        if self._keys is None or self.mode is Modes.MIXED:
            return None
        return packet_keys(sid, self._keys)

    async def start_sessions(self) -> None:
        """Starts the sessions: the Session-Reflector answers from now on (RFC 5357 section 3.7)."""
        self._send(StartSessions())
        answer = await self._receive(StartAck)
        self._insist(answer.accept, "to start the sessions", "RFC 4656 section 3.7")

    async def stop_sessions(self, accept: Accept = Accept.OK) -> None:
        """Stops the sessions that were started; there is no answer (RFC 5357 section 3.8)."""
        self._send(StopSessions(accept, number_of_sessions=len(self._conversation.accepted)))
        await self._drain()

    async def wait_for_the_end(self) -> None:
        """Waits while sessions run; never returns, but raises when the Server ends them or the connection.

        TCP notices after ``vanished_after`` seconds that a Server has vanished.
        """
        octets = await self._read()
        if not octets:
            self._hang_up()
        raise RemoteProtocolError(f"{self.remote} has ended the sessions")

    # ---- octets ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Makes each failure of the connection an :class:`OSError` that names the Server.

        A transport of uvloop that is closed raises RuntimeError.
        """
        try:
            yield
        except RuntimeError as error:
            raise ConnectionResetError(
                errno.ECONNRESET, f"{self.remote}: the connection is closed"
            ) from error
        except OSError as error:
            number = error.errno or errno.ECONNRESET
            raise OSError(number, f"{self.remote}: {os.strerror(number)}") from error

    def _send(self, message: Message) -> None:
        logger.debug("%s < %s", self.remote, message)
        octets = self._conversation.send(message, time.monotonic_ns())
        with self._failures():
            self._writer.write(octets)

    async def _drain(self) -> None:
        with self._failures():
            await self._writer.drain()

    async def _read(self) -> bytes:
        with self._failures():
            return await self._reader.read(READ_SIZE)

    async def _receive(self, kind: type[AnswerT]) -> AnswerT:
        """Waits for the answer that is due, which can only be of one kind."""
        while True:
            now_ns = time.monotonic_ns()
            message = self._next_message(now_ns)
            if message is not None:
                logger.debug("%s > %s", self.remote, message)
                assert isinstance(message, kind)
                return message
            due_ns = self._conversation.get_timer()
            assert due_ns is not None, "an answer is owed, so it has a deadline"
            try:
                async with asyncio.timeout(max(0, due_ns - now_ns) / NS) as answer_time:
                    octets = await self._read()
            except TimeoutError:
                if not answer_time.expired():
                    raise
                self._require_twamp()
                state = self._conversation.state
                if self._conversation.handle_timer(time.monotonic_ns()) is None:
                    continue
                raise RemoteProtocolError(
                    f"{self.remote} does not answer ({state.value}): is it a TWAMP Server?"
                ) from None
            if not octets:
                self._require_twamp()
                self._hang_up()
            if len(self._first) < TEXT_OF_OTHERS:
                self._first += octets[:TEXT_OF_OTHERS]
            self._conversation.receive_data(octets, time.monotonic_ns())

    def _require_twamp(self) -> None:
        """Raises when the far end began with text, as servers of mail, of the web and of shells do."""
        text = self._first[:TEXT_OF_OTHERS]
        if len(text) > 3 and all(octet in b"\t\r\n" or 32 <= octet < 127 for octet in text):
            said = text.decode("ascii").split("\r")[0].split("\n")[0]
            raise RemoteProtocolError(
                f"{self.remote} is no TWAMP Server: it says {said!r}; --control-port names another port"
            )

    def _next_message(self, now_ns: int) -> Message | UnexpectedCommand | None:
        try:
            return self._conversation.next_message(now_ns)
        except ProtocolError as error:
            raise type(error)(f"{self.remote}: {error}", accept=error.accept) from None

    def _hang_up(self) -> None:
        try:
            self._conversation.receive_eof(time.monotonic_ns())
        except ProtocolError as error:
            raise RemoteProtocolError(f"{self.remote} closed the connection: {error}") from None
        raise RemoteProtocolError(f"{self.remote} closed the connection")

    def _insist(self, accept: Accept, what: str, section: str, remedy: str = "") -> None:
        if accept is not Accept.OK:
            hint = f"; {remedy}" if remedy and accept is Accept.NOT_SUPPORTED else ""
            raise Refused(
                f"{self.remote} refused {what}: Accept {int(accept)}, {_MEANING[accept]}{hint}",
                accept=accept,
                section=section,
            )


def _require_possible(port: int, dscp: int) -> None:
    if not 1 <= port <= 65535:  # the system would take it modulo 65536
        raise ValueError(f"port {port} is out of range; it goes from 1 to 65535")
    if not 0 <= dscp <= 63:
        raise ValueError(f"DSCP {dscp} is out of range; it goes from 0 to 63")


def _remedy(request: SessionRequest) -> str:
    """A remedy for a Server that does not support the request."""
    addresses = [each for each in (request.receiver_address, request.sender_address) if each]
    hints = []
    if addresses:
        said = " and ".join(map(str, addresses))
        hints.append(f"it may not know {said} where a NAT is on the way: try -Z (--zero-addresses)")
    if request.padding_length > LONG_PADDING:
        hints.append(f"{request.padding_length} octets of --padding may be too many for it")
    return "; ".join(hints)


def _names(modes: Modes) -> str:
    known = [str(mode.name).lower() for mode in PREFERENCE if mode & modes]
    return ", ".join(known) or "no mode that we know"


def _address_field(address: IPAddress | None) -> bytes:
    return bytes(16) if address is None else address.packed.ljust(16, b"\0")
