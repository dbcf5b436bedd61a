"""One run of twping: a connection, the sessions on it, and what came of their packets."""

import asyncio
import contextlib
import errno
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from twamp.config.ping import PingConfig
from twamp.config.target import Target
from twamp.control.client import (
    REQUESTS_AHEAD,
    AcceptedSession,
    ControlClient,
    Credentials,
    SessionRequest,
)
from twamp.endpoint import Endpoint, IPAddress
from twamp.engine.native import EngineClockModel
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.engine.stamping import open_stamping
from twamp.errors import TWPING_REMEDIES, Refused, TwampError, explain
from twamp.metrics.sample import Measurement
from twamp.monitor.watch import OpenSessions
from twamp.ping.credentials import credentials_of, modes_of
from twamp.ping.progress import progress
from twamp.protocol.schedule import make_schedule, parse_intervals
from twamp.protocol.timestamps import NS, ntp_from_unix_ns
from twamp.sockets import bind, ports_to_try

# The kernel turns timestamps on some milliseconds after they were asked for, and each session's
# thread takes its time to begin.
LEAD_NS = 50_000_000
LEAD_OF_EACH_NS = 1_000_000
ONE_BY_ONE = 8  # sessions
# After Ctrl-C replies on their way are still read for so many seconds.
DRAIN = 1.0


@dataclass(frozen=True)
class OpenSession:
    """A session that the Server has accepted, and our end of it."""

    accepted: AcceptedSession
    sock: socket.socket


class Run:
    """One run: connect, request every session, start, send, stop."""

    def __init__(
        self, config: PingConfig, target: Target, credentials: Credentials | None = None
    ) -> None:
        self.config = config
        self.target = target
        self.credentials = credentials
        self.interrupted = False
        self.warnings: list[str] = []
        self._senders: list[SessionSender] = []
        self._models: Sequence[EngineClockModel] = ()
        self._hardware = False
        self._task: asyncio.Task[Any] | None = None
        self._early = asyncio.Event()  # set where waiting at the end is over

    @classmethod
    def of_file(cls, config: PingConfig, target: Target) -> "Run":
        """With the passphrase of the configuration's key file."""
        return cls(config, target, credentials_of(config))

    async def run(self) -> list[Measurement]:
        """The measurements, one per session; what there is of them after :meth:`interrupt`.

        Raises Refused, ProtocolError or OSError when there cannot be any.
        """
        self._task = asyncio.current_task()
        timers = self._watch_deadline()
        try:
            return await self._run()
        except asyncio.CancelledError:
            if self.interrupted:
                return []
            if self._early.is_set():
                raise OSError(
                    errno.ETIMEDOUT, "the deadline passed before anything was measured"
                ) from None
            raise
        finally:
            for timer in timers:
                timer.cancel()

    def _watch_deadline(self) -> list[asyncio.TimerHandle]:
        """Has the run end by the deadline; sends end earlier, so that replies can still come."""
        deadline = float(self.config.deadline)
        if not deadline:
            return []
        drain = min(DRAIN, deadline / 2, float(self.config.loss_timeout))
        loop = asyncio.get_running_loop()
        return [
            loop.call_later(deadline - drain, self._stop_sending, True),
            loop.call_later(deadline, self._end_now),
        ]

    def _end_now(self) -> None:
        self._early.set()
        if self._senders:
            self._stop_sending(drain=False)
        elif self._task is not None:
            self._task.cancel()

    def interrupt(self) -> None:
        """Ends the run early: from the loop's thread, as a signal handler does; again: at once."""
        again, self.interrupted = self.interrupted, True
        self._early.set()
        if not self._senders:
            if self._task is not None:
                self._task.cancel()
            return
        self._stop_sending(drain=not again)
        asyncio.get_running_loop().call_later(DRAIN, self._stop_sending, False)

    def _stop_sending(self, drain: bool) -> None:
        for sender in self._senders:
            sender.stop(drain=drain)

    @contextlib.asynccontextmanager
    async def open(self, start_time: int = 0) -> AsyncIterator[OpenSessions[OpenSession]]:
        """Connects, has every session accepted and started, and in the end closes all that.

        ``start_time`` is an NTP timestamp, 0 means at once; errors as of :meth:`run`.
        """
        async with contextlib.AsyncExitStack() as stack:
            self._senders.clear()
            self._hardware = self._stamp_by_hardware(stack)
            client = await self._connect()
            await stack.enter_async_context(client)
            receiver_address = await self._receiver_address(client)
            ports = ports_to_try(self.config.port_range)
            socks = [
                stack.enter_context(
                    bind(client.local, ports, self.config.port_range, self.config.interface)
                )
                for _ in range(self.config.session_count)
            ]
            requests = [self._request(client, sock, receiver_address, start_time) for sock in socks]
            accepted = await self._ask(client, requests)
            sessions = [OpenSession(*pair) for pair in zip(accepted, socks, strict=True)]
            await client.start_sessions()
            yield OpenSessions(client, sessions)

    async def _run(self) -> list[Measurement]:
        begin_unix_ns, begin_ns = time.time_ns(), time.monotonic_ns()
        delay_ns = ns_of(self.config.start_delay)
        start_time = ntp_from_unix_ns(begin_unix_ns + delay_ns) if delay_ns else 0
        async with contextlib.AsyncExitStack() as stack:
            client, sessions = await stack.enter_async_context(self.open(start_time))
            earliest_ns = time.monotonic_ns() + LEAD_NS + len(sessions) * LEAD_OF_EACH_NS
            start_ns = max(begin_ns + delay_ns, earliest_ns)
            for session in sessions:
                sender = self.make_sender(session, self.sender_config(session, start_ns))
                stack.callback(sender.close)
            packets = self.config.count * len(sessions)
            async with progress(self._senders, packets, sys.stderr, self.config.progress):
                await self._send()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._early.wait(), float(self.config.end_delay))
            await self._stop(client)
        return [
            self._measurement(session.accepted, sender)
            for session, sender in zip(sessions, self._senders, strict=True)
        ]

    def make_sender(self, session: OpenSession, config: SenderConfig) -> SessionSender:
        """The session's sending end, which is told what is known of clocks; the caller closes it."""
        sender = SessionSender(session.sock, config)
        sender.set_clock_models(self._models)
        self._senders.append(sender)
        return sender

    def _stamp_by_hardware(self, stack: contextlib.AsyncExitStack) -> bool:
        """Whether the network card stamps until ``stack`` ends; why not is a warning."""
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
        stack.callback(reading.cancel)
        return True

    def _know_clocks(self, models: Sequence[EngineClockModel]) -> None:
        self._models = models
        for sender in self._senders:
            sender.set_clock_models(models)

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
                credentials=self.credentials,
                modes=modes_of(config.auth_mode),
                maximum_count=config.maximum_pbkdf2_count,
            )
        except socket.gaierror as error:
            raise OSError(
                0, f"{target.server}: {error.strerror}; is the name right, and of this IP version?"
            ) from None

    async def _receiver_address(self, client: ControlClient) -> IPAddress | None:
        """Where test packets go to; None leaves it to the Server (zero in the request)."""
        if self.target.host != self.target.server:
            family = socket.AF_INET if client.remote.ip_version == 4 else socket.AF_INET6
            try:
                found = await asyncio.get_running_loop().getaddrinfo(
                    self.target.host, 0, family=family, type=socket.SOCK_DGRAM
                )
            except socket.gaierror as error:
                raise OSError(0, f"{self.target.host}: {error.strerror}") from None
            return Endpoint.from_sockaddr(found[0][4]).address
        return None if self.config.zero_addresses else client.remote.address

    def _request(
        self,
        client: ControlClient,
        sock: socket.socket,
        receiver_address: IPAddress | None,
        start_time: int,
    ) -> SessionRequest:
        port = sock.getsockname()[1]
        return SessionRequest(
            sender_port=port,
            # Any will do; what perfSONAR's asks for is the number that the sender has.
            receiver_port=port,
            padding_length=self.config.padding,
            start_time=start_time,
            timeout_ns=ns_of(self.config.loss_timeout),
            dscp=self.config.test_dscp_value,
            sender_address=None if self.config.zero_addresses else client.local.address,
            receiver_address=receiver_address,
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

    def sender_config(self, session: OpenSession, start_ns: int) -> SenderConfig:
        """What a session sends, from ``start_ns`` (CLOCK_MONOTONIC) on."""
        config = self.config
        return SenderConfig(
            peer=session.accepted.reflector,
            schedule=make_schedule(parse_intervals(config.interval), config.count, random.Random()),
            start_ns=start_ns,
            loss_timeout_ns=ns_of(config.loss_timeout),
            padding_length=config.padding,
            zero_padding=config.zero_padding,
            dscp=config.test_dscp_value,
            hardware=self._hardware,
            mode=session.accepted.mode,
            keys=session.accepted.keys,
        )

    async def _send(self) -> None:
        """Every session to its end; then the first failure, if there was one."""
        if self._early.is_set():  # between the last answer and here
            self._stop_sending(drain=False)
        runs = (sender.run() for sender in self._senders)
        for outcome in await asyncio.gather(*runs, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _stop(self, client: ControlClient) -> None:
        """What was measured stays measured, even if the Server has gone meanwhile."""
        try:
            await client.stop_sessions()
        except (OSError, TwampError) as error:
            self.warnings.append(
                f"the sessions could not be stopped: {explain(error, TWPING_REMEDIES)}"
            )

    def _measurement(self, accepted: AcceptedSession, sender: SessionSender) -> Measurement:
        stats = sender.stats()
        return Measurement(
            sid=accepted.sid,
            source=accepted.sender,
            destination=accepted.reflector,
            samples=sender.samples,
            duplicates=sender.duplicates,
            loss_timeout_ns=ns_of(self.config.loss_timeout),
            drops=stats.drops,
            send_errors=stats.send_errors,
            source_host=self.config.source_address or "",
            destination_host=self.target.host,
        )


def ns_of(seconds: Decimal) -> int:
    return int(seconds * NS)
