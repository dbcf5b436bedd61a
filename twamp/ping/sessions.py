"""Opens test sessions over TWAMP-Control (RFC 5357 section 3)."""

import asyncio
import contextlib
import functools
import random
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from twamp.config.ping import PingConfig
from twamp.config.target import Target
from twamp.control.client import (
    REQUESTS_AHEAD,
    AcceptedSession,
    ControlClient,
    Credentials,
    SessionRequest,
)
from twamp.control.dial import LONGEST_PATIENCE, VANISHED_AFTER
from twamp.endpoint import Endpoint, IPAddress
from twamp.engine.native import EngineClockModel
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.engine.session_source import OpenSession
from twamp.engine.stamping import open_stamping
from twamp.errors import Refused
from twamp.ping.credentials import modes_of
from twamp.protocol.registries import Modes
from twamp.protocol.schedule import make_schedule, parse_intervals
from twamp.protocol.timestamps import NS
from twamp.sockets import bind, ports_to_try, resolve

ONE_BY_ONE = 8  # sessions
# Of packets without padding, of Session-Sender and Session-Reflector (RFC 5357 sections 4.1.2, 4.2.1).
LENGTHS = {False: (14, 41), True: (48, 112)}


@dataclass(frozen=True)
class TwampOpenSessions:
    """Sessions that have been started on one control connection."""

    client: ControlClient
    sessions: Sequence[OpenSession]

    async def wait_for_the_end(self) -> None:
        await self.client.wait_for_the_end()

    async def stop(self) -> None:
        await self.client.stop_sessions()


class TwampSessions:
    """A :class:`~twamp.engine.session_source.SessionSource`: asks the Server of ``target`` for sessions."""

    def __init__(
        self, config: PingConfig, target: Target, credentials: Credentials | None = None
    ) -> None:
        self.config = config
        self.target = target
        self.credentials = credentials
        self.warnings: list[str] = []
        if config.key_file is not None and credentials is None:
            self.warnings.append("key-file: not used, as the session has no user; see --user")
        self._senders: list[SessionSender] = []
        self._models: Sequence[EngineClockModel] = ()
        self._hardware = False

    @contextlib.asynccontextmanager
    async def open(self, start_time: int = 0) -> AsyncIterator[TwampOpenSessions]:
        """Connects, has every session accepted and started, and in the end closes the connection."""
        async with contextlib.AsyncExitStack() as stack:
            self._senders.clear()
            self._hardware = self._stamp_by_hardware(stack)
            client = await self._connect()
            await stack.enter_async_context(client)
            elsewhere = await self._elsewhere(client)
            ports = ports_to_try(self.config.port_range)
            socks = [
                stack.enter_context(
                    bind(client.local, ports, self.config.port_range, self.config.interface)
                )
                for _ in range(self.config.session_count)
            ]
            requests = [self._request(client, sock, elsewhere, start_time) for sock in socks]
            accepted = await self._ask(client, requests)
            sessions = [
                self._opened(*pair, elsewhere) for pair in zip(accepted, socks, strict=True)
            ]
            await client.start_sessions()
            yield TwampOpenSessions(client, sessions)

    def sender_config(self, session: OpenSession, start_ns: int) -> SenderConfig:
        """Returns what a session sends, from ``start_ns`` (CLOCK_MONOTONIC) on."""
        config = self.config
        draw = functools.partial(random.expovariate, 1.0)
        return SenderConfig(
            peer=session.destination,
            schedule=make_schedule(parse_intervals(config.interval), config.count, draw),
            start_ns=start_ns,
            loss_timeout_ns=ns_of(config.loss_timeout),
            padding_length=padding_of(config, session.mode),
            zero_padding=config.zero_padding,
            dscp=config.test_dscp_value,
            hardware=self._hardware,
            any_source=config.any_source,
            zero_estimate=config.zero_error_estimate == "accept",
            do_not_fragment=config.do_not_fragment,
            mode=session.mode,
            keys=session.keys,
        )

    def make_sender(self, session: OpenSession, config: SenderConfig) -> SessionSender:
        """Makes the Session-Sender and gives it the models of clocks; the caller closes it."""
        sender = SessionSender(session.sock, config)
        sender.set_clock_models(self._models)
        self._senders.append(sender)
        return sender

    # ---- hardware timestamps ---------------------------------------------------------------------

    def _stamp_by_hardware(self, stack: contextlib.AsyncExitStack) -> bool:
        """Turns hardware timestamps on until ``stack`` ends; returns False, with a warning, if it cannot."""
        if self.config.hwtstamp == "no":
            return False
        assert self.config.interface is not None  # a rule of the config
        strict = self.config.hwtstamp == "strict"
        stamping, reason = open_stamping(self.config.interface, strict=strict)
        if stamping is None:
            self.warnings.append(reason)
            return False
        stack.callback(stamping.close)
        reading = asyncio.create_task(stamping.run(self._know_clocks))
        stack.push_async_callback(_cancelled, reading)
        return True

    def _know_clocks(self, models: Sequence[EngineClockModel]) -> None:
        self._models = models
        for sender in self._senders:
            sender.set_clock_models(models)

    # ---- the control connection ------------------------------------------------------------------

    async def _connect(self) -> ControlClient:
        config, target = self.config, self.target
        family = 0
        if config.ipv4 or config.ipv6:
            family = socket.AF_INET if config.ipv4 else socket.AF_INET6
        try:
            return await ControlClient.connect(
                target.server,
                target.port,
                source_address=config.source_address,
                family=family,
                interface=config.interface,
                dscp=config.control_dscp_value,
                credentials=self.credentials,
                modes=modes_of(config.auth_mode),
                maximum_count=config.maximum_pbkdf2_count,
                # A finite run outlives a cut that heals; continuous measurement opens new sessions.
                vanished_after=VANISHED_AFTER if config.continuous else LONGEST_PATIENCE,
            )
        except socket.gaierror as error:
            raise OSError(
                0, f"{target.server}: {error.strerror}; is the name right, and of this IP version?"
            ) from None

    async def _elsewhere(self, client: ControlClient) -> IPAddress | None:
        """Returns where test packets go to if that is not the Server's address."""
        if self.target.host != self.target.server:
            family = socket.AF_INET if client.remote.ip_version == 4 else socket.AF_INET6
            try:
                found = await resolve(
                    self.target.host, family=family, interface=self.config.interface
                )
            except socket.gaierror as error:
                raise OSError(0, f"{self.target.host}: {error.strerror}") from None
            return Endpoint.from_sockaddr(found[0][4]).address
        return None

    def _request(
        self,
        client: ControlClient,
        sock: socket.socket,
        elsewhere: IPAddress | None,
        start_time: int,
    ) -> SessionRequest:
        port, zero = sock.getsockname()[1], self.config.zero_addresses
        return SessionRequest(
            sender_port=port,
            # Any will do; what perfSONAR's asks for is the number that the sender has.
            receiver_port=port,
            padding_length=padding_of(self.config, client.mode),
            start_time=start_time,
            timeout_ns=ns_of(self.config.loss_timeout),
            dscp=self.config.test_dscp_value,
            sender_address=None if zero else client.local.address,
            receiver_address=None if zero else elsewhere or client.remote.address,
        )

    async def _ask(
        self, client: ControlClient, requests: Sequence[SessionRequest]
    ) -> list[AcceptedSession]:
        granted: list[AcceptedSession] = []
        # Few are asked for one by one: some Servers may understand no more.
        ahead = 1 if len(requests) <= ONE_BY_ONE else REQUESTS_AHEAD
        try:
            async for session in client.request_sessions(requests, ahead):
                granted.append(session)  # noqa: PERF401 (those before a refusal count)
        except Refused as error:
            if not granted:
                raise
            raise Refused(
                f"{error}; it granted {len(granted)} of {len(requests)} sessions: "
                f"ask for fewer with --session-count {len(granted)}",
                accept=error.accept,
            ) from None
        return granted

    def _opened(
        self, accepted: AcceptedSession, sock: socket.socket, elsewhere: IPAddress | None
    ) -> OpenSession:
        destination = accepted.reflector
        if elsewhere is not None:  # also where the request does not say so (-Z)
            destination = destination._replace(address=elsewhere)
        return OpenSession(
            sid=accepted.sid,
            source=accepted.sender,
            destination=destination,
            sock=sock,
            source_host=self.config.source_address or "",
            destination_host=self.target.host,
            mode=accepted.mode,
            keys=accepted.keys,
        )


def padding_of(config: PingConfig, mode: Modes) -> int:
    """The octets of padding in a mode; by default packets are as long as their replies."""
    if config.padding is not None:
        return config.padding
    sender, reflector = LENGTHS[bool(mode & (Modes.AUTHENTICATED | Modes.ENCRYPTED))]
    return reflector - sender


def ip_octets(destination: Endpoint, mode: Modes, padding: int) -> int:
    """The length of a test packet with its headers of UDP and IP."""
    sender, _ = LENGTHS[bool(mode & (Modes.AUTHENTICATED | Modes.ENCRYPTED))]
    return sender + padding + 8 + (20 if destination.ip_version == 4 else 40)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    """Cancels a task and waits until it has gone."""
    task.cancel()
    await asyncio.wait([task])


def ns_of(seconds: Decimal) -> int:
    return int(seconds * NS)
