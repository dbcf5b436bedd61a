"""One finite run: it opens sessions, sends their packets, and keeps what came back."""

import asyncio
import contextlib
import errno
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from twamp.config.ping import PingConfig
from twamp.engine.session_sender import SenderStats, SessionSender
from twamp.engine.session_source import OpenSession, OpenSessions, SessionSource
from twamp.errors import TWPING_REMEDIES, TwampError, explain
from twamp.metrics.cut import packets_that_count
from twamp.metrics.incidents import Incidents
from twamp.metrics.sample import Measurement
from twamp.ping.progress import progress
from twamp.ping.sessions import ip_octets, ns_of, padding_of
from twamp.protocol.timestamps import ntp_from_unix_ns
from twamp.sockets import path_mtu

# The kernel turns timestamps on some milliseconds after they were asked for, and each session's
# thread takes its time to begin.
LEAD_NS = 50_000_000
LEAD_OF_EACH_NS = 1_000_000
# After Ctrl-C replies on their way are still read for so many seconds.
DRAIN = 1.0


# A connection that failed for these says nothing of the far end's sessions.
SILENCE = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)


class _End(NamedTuple):
    """Why and when the far end ended the sessions."""

    reason: str
    unix_ns: int


class Run:
    """One run over the sessions that ``source`` opens: :meth:`run` it once, :meth:`interrupt` it early."""

    def __init__(self, config: PingConfig, source: SessionSource) -> None:
        self.config = config
        self.interrupted = False
        self._source = source
        self._senders: list[SessionSender] = []
        self._task: asyncio.Task[Any] | None = None
        self._cancelled_before = 0  # how often the caller has cancelled the task before it ran this
        self._own_cancels = 0
        self._early = asyncio.Event()  # set where waiting at the end is over
        self._ended: _End | None = None

    @property
    def warnings(self) -> Sequence[str]:
        """The warnings for the user."""
        return self._source.warnings

    async def run(self) -> list[Measurement]:
        """Returns the measurements, one per session; after :meth:`interrupt` as far as they went.

        Raises Refused, ProtocolError or OSError when no session could be measured.
        """
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelled_before = self._task.cancelling()
        timers = self._watch_deadline()
        try:
            return await self._run()
        except asyncio.CancelledError:
            if not self._is_cancelled_by_us_alone():
                raise
            if self.interrupted:
                return []
            raise OSError(
                errno.ETIMEDOUT, "the deadline passed before anything was measured"
            ) from None
        finally:
            for timer in timers:
                timer.cancel()

    def _watch_deadline(self) -> list[asyncio.TimerHandle]:
        """Ends the run at the deadline; sending ends earlier, so that replies can still arrive."""
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
        else:
            self._cancel_set_up()

    def _cancel_set_up(self) -> None:
        """Ends a run that has no session yet."""
        if self._task is not None and self._task.cancel():
            self._own_cancels += 1

    def _is_cancelled_by_us_alone(self) -> bool:
        """Takes our own cancellations back; whether the caller's are none."""
        assert self._task is not None
        is_ours = self._own_cancels > 0
        for _ in range(self._own_cancels):
            self._task.uncancel()
        return is_ours and self._task.cancelling() == self._cancelled_before

    def interrupt(self) -> None:
        """Ends the run early, and at once when called again; from the loop's thread, as signals do."""
        again, self.interrupted = self.interrupted, True
        self._early.set()
        if not self._senders:
            self._cancel_set_up()
            return
        self._stop_sending(drain=not again)
        asyncio.get_running_loop().call_later(DRAIN, self._stop_sending, False)

    def _stop_sending(self, drain: bool) -> None:
        for sender in self._senders:
            sender.stop(drain=drain)

    async def _run(self) -> list[Measurement]:
        begin_unix_ns, begin_ns = time.time_ns(), time.monotonic_ns()
        delay_ns = ns_of(self.config.start_delay)
        start_time = ntp_from_unix_ns(begin_unix_ns + delay_ns) if delay_ns else 0
        async with contextlib.AsyncExitStack() as stack:
            opened = await stack.enter_async_context(self._source.open(start_time))
            sessions = opened.sessions
            earliest_ns = time.monotonic_ns() + LEAD_NS + len(sessions) * LEAD_OF_EACH_NS
            start_ns = max(begin_ns + delay_ns, earliest_ns)
            for session in sessions:
                config = self._source.sender_config(session, start_ns)
                sender = self._source.make_sender(session, config)
                self._senders.append(sender)
                stack.callback(sender.close)
            async with self._watching(opened):
                packets = self.config.count * len(sessions)
                async with progress(self._senders, packets, sys.stderr, self.config.progress):
                    await self._send()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._early.wait(), float(self.config.end_delay))
            if self._ended is None:
                await self._stop(opened)
        return [
            self._measurement(session, sender)
            for session, sender in zip(sessions, self._senders, strict=True)
        ]

    async def _send(self) -> None:
        """Runs every session to its end, then raises the first failure, if there was one."""
        if self._early.is_set():  # between the last answer and here
            self._stop_sending(drain=False)
        runs = (sender.run() for sender in self._senders)
        for outcome in await asyncio.gather(*runs, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    @contextlib.asynccontextmanager
    async def _watching(self, opened: OpenSessions) -> AsyncIterator[None]:
        """Ends the run when the far end does so, while the context lasts."""
        task = asyncio.create_task(self._watch(opened))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def _watch(self, opened: OpenSessions) -> None:
        """Waits for the end of the sessions by the far end, and sends no more then.

        A connection that fails because the network is silent is no end: the path may heal, and the
        sessions go on.
        """
        try:
            await opened.wait_for_the_end()
        except (OSError, TwampError) as error:
            if isinstance(error, OSError) and error.errno in SILENCE:
                return
            self._ended = _End(explain(error, TWPING_REMEDIES), time.time_ns())
            self._early.set()
            self._stop_sending(drain=True)
            drain = min(DRAIN, float(self.config.loss_timeout))
            asyncio.get_running_loop().call_later(drain, self._stop_sending, False)

    async def _stop(self, opened: OpenSessions) -> None:
        """Stops the sessions; if the Server has gone meanwhile, that is only a warning."""
        try:
            await opened.stop()
        except (OSError, TwampError) as error:
            self._source.warnings.append(
                f"the sessions could not be stopped: {explain(error, TWPING_REMEDIES)}"
            )

    def _measurement(self, session: OpenSession, sender: SessionSender) -> Measurement:
        stats = sender.stats()
        measurement = Measurement(
            sid=session.sid,
            source=session.source,
            destination=session.destination,
            samples=sender.samples,
            duplicates=sender.duplicates,
            loss_timeout_ns=ns_of(self.config.loss_timeout),
            drops=stats.drops,
            send_errors=stats.send_errors,
            incidents=self._incidents(session, stats),
            padding_length=sender.config.padding_length,
            source_host=session.source_host,
            destination_host=session.destination_host,
        )
        return measurement if self._ended is None else self._cut_off(measurement, self._ended)

    def _incidents(self, session: OpenSession, stats: SenderStats) -> Incidents:
        mtu = path_mtu(session.source, session.destination, self.config.interface)
        mtu = min(filter(None, (mtu, stats.path_mtu)), default=0)
        octets = ip_octets(session.destination, session.mode, padding_of(self.config, session.mode))
        return Incidents(
            icmp=stats.icmp,
            icmp_source=stats.icmp_source,
            path_mtu=mtu,
            fragmented=0 < mtu < octets and not self.config.do_not_fragment,
            foreign=stats.foreign,
            without_estimate=stats.without_estimate,
            send_errno=stats.send_errno,
        )

    def _cut_off(self, measurement: Measurement, end: "_End") -> Measurement:
        """The measurement without the packets whose fate the end of the session hides."""
        samples, timeout_ns = measurement.samples, measurement.loss_timeout_ns
        planned = len(samples) if self.interrupted else self.config.count
        count = packets_that_count(samples, end.unix_ns, timeout_ns)
        return replace(
            measurement,
            samples=samples[:count],
            send_errors=sum(not sample.t1_source for sample in samples[:count]),
            incidents=replace(
                measurement.incidents, ended=end.reason, not_measured=planned - count
            ),
        )
