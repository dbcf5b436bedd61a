"""Measures one target continuously, interval by interval, and reconnects when the target comes back.

Samples are collected from the senders' rings while they run, and added to the tallies of the interval in
which their packets were sent, so memory does not grow with time.  An interval is reported once its last
packet's loss timeout has passed.  When the sessions break, or no reply has arrived for a while, the watch
waits for the packets in flight and opens new sessions, after growing waits (:class:`Backoff`).
"""

import asyncio
import contextlib
import functools
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from random import Random
from typing import NamedTuple

from twamp.config.ping import PingConfig
from twamp.engine.session_sender import MOST_PACKETS, SenderStats, SessionSender
from twamp.engine.session_source import OpenSession, OpenSessions, SessionSource
from twamp.errors import TWPING_REMEDIES, ConfigError, RemoteProtocolError, TwampError, explain
from twamp.metrics.interval import ReportInterval
from twamp.metrics.tally import SessionFold, Tally
from twamp.monitor.backoff import Backoff
from twamp.protocol.schedule import parse_intervals, send_times
from twamp.protocol.timestamps import NS

COLLECT_SECONDS = 0.25
LEAD_NS = 50_000_000
SILENCE_SECONDS = 60.0  # without a reply: the sessions may be gone although the connection is not
SILENCE_PACKETS = 10
DRAIN_SECONDS = 5.0  # the longest wait for packets in flight
STOP_SECONDS = 1.0  # the same, when the user has asked to stop
LEAST_ROWS, MOST_ROWS = 256, 1 << 20
LEAST_DUPLICATE_ROWS = 1024
NOT_YET = "not connected yet"


@dataclass(eq=False)
class _Session:
    """One running Session-Sender, and what has been collected from it."""

    place: int
    sender: SessionSender
    start_ns: int
    times: Iterator[int]
    fold: SessionFold
    shift_ns: int = 0
    over: bool = False
    counted: SenderStats = field(default_factory=SenderStats)

    def next_times(self, count: int) -> Iterator[int]:
        """The send times of the next packets; times that have passed meanwhile are moved, not made up for."""
        now_ns = time.monotonic_ns() - self.start_ns
        for due_ns in islice(self.times, count):
            self.shift_ns = max(self.shift_ns, now_ns - due_ns)
            yield due_ns + self.shift_ns

    def attempted(self) -> int:
        stats = self.sender.stats()
        return stats.sent + stats.send_errors


class _Closing(NamedTuple):
    """An interval that has ended; ``marks``: for each session the first packet that is not its."""

    interval: ReportInterval
    marks: Mapping[_Session, int]

    def is_complete(self) -> bool:
        """The fate of every packet of it is known."""
        return all(
            session.over or session.sender.collected >= mark for session, mark in self.marks.items()
        )


def rows_for(config: PingConfig) -> int:
    """Returns how many packets can be in flight or not yet collected, with room to spare.

    Raises :class:`~twamp.errors.ConfigError` when that is more than memory is meant for.
    """
    intervals = parse_intervals(config.interval)
    cycle_ns = sum(interval.wait_ns for interval in intervals)
    if not cycle_ns:
        raise ConfigError(
            f"interval: {config.interval!r} never waits, which continuous needs; for example 0.001f"
        )
    seconds = float(config.loss_timeout) + 8 * COLLECT_SECONDS
    rows = max(int(1.5 * seconds * NS * len(intervals) / cycle_ns) + 64, LEAST_ROWS)
    if rows > MOST_ROWS:
        raise ConfigError(
            f"interval: {config.interval!r} with loss-timeout {config.loss_timeout} keeps {rows} "
            f"packets in memory; {MOST_ROWS} is the most: wait longer, or lower loss-timeout"
        )
    return rows


class Watch:
    """The measurement of one target: :meth:`run` it, :meth:`stop` it.

    ``report`` is called with each interval, in order; ``warn`` with what the user should know.
    All in the thread of the event loop.
    """

    def __init__(
        self,
        name: str,
        config: PingConfig,
        source: SessionSource,
        *,
        report: Callable[[ReportInterval], None],
        warn: Callable[[str], None],
        random: Random | None = None,
        backoff: Backoff | None = None,
        most_packets: int = MOST_PACKETS,
    ) -> None:
        self.name = name
        self.config = config
        self.connections = 0  # that have been set up
        self.last: ReportInterval | None = None  # the latest that was reported
        self._source = source
        self._report = report
        self._warn = warn
        self._random = random or Random()
        self._backoff = backoff or Backoff(self._random)
        self._most_packets = most_packets
        self._rows = rows_for(config)
        self._loss_timeout_ns = int(config.loss_timeout * NS)
        self._silence = max(SILENCE_SECONDS, SILENCE_PACKETS * self._mean_wait())
        self._stopping = asyncio.Event()
        self._sessions: list[_Session] = []
        self._warned: set[str] = set()
        self._attempt_task: asyncio.Task[None] | None = None
        self._open_since_ns: int | None = None
        self._reason = NOT_YET
        self._closing: list[_Closing] = []
        self._current = self._new_interval()
        self._totals = self._new_interval()
        self._totals.begin_ns = self._current.begin_ns

    # ---- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Measures until :meth:`stop`, and returns when the last interval has been reported."""
        ticker = asyncio.create_task(self._tick())
        try:
            while not self._stopping.is_set():
                self._attempt_task = asyncio.create_task(self._attempt())
                await asyncio.wait([self._attempt_task])
                if not self._attempt_task.cancelled():
                    self._attempt_task.result()
        finally:
            for task in (ticker, self._attempt_task):
                if task is not None:
                    task.cancel()
                    await asyncio.wait([task])
            # What is left after the last session may be an instant of which there is nothing to say.
            if self._current.measured or self._reason:
                self._close_interval()
            self._report_complete()

    def stop(self, drain: bool = True) -> None:
        """Stops the measurement, from the loop's thread: soon with ``drain``, at once without."""
        self._stopping.set()
        if self._sessions:
            self._stop_senders(drain)
            if drain:
                asyncio.get_running_loop().call_later(STOP_SECONDS, self._stop_senders, False)
        elif self._attempt_task is not None:
            self._attempt_task.cancel()

    @property
    def is_open(self) -> bool:
        """Whether there are sessions now."""
        return self._open_since_ns is not None

    def totals(self) -> ReportInterval:
        """Returns everything measured so far, including what has not been reported yet."""
        result = self._new_interval()
        closing = (each.interval for each in self._closing)
        for part in (self._totals, *closing, self._current):
            result.merge(part)
        result.begin_ns, result.end_ns = self._totals.begin_ns, time.time_ns()
        return result

    def _mean_wait(self) -> float:
        intervals = parse_intervals(self.config.interval)
        return sum(interval.wait_ns for interval in intervals) / len(intervals) / NS

    # ---- intervals -------------------------------------------------------------------------------

    def _new_interval(self) -> ReportInterval:
        tallies = [Tally() for _ in range(self.config.session_count)]
        return ReportInterval(self.name, time.time_ns(), tallies)

    async def _tick(self) -> None:
        loop, period = asyncio.get_running_loop(), float(self.config.report_interval)
        due = loop.time() + period
        while True:
            await asyncio.sleep(due - loop.time())
            due += period
            self._close_interval()
            self._report_complete()

    def _close_interval(self) -> None:
        ended = self._current
        self._count_open_time()
        ended.end_ns = time.time_ns()
        if self._open_since_ns is None:
            ended.reason = self._reason
        marks = {session: session.attempted() for session in self._sessions}
        self._closing.append(_Closing(ended, marks))
        self._current = self._new_interval()
        self._current.begin_ns = ended.end_ns

    def _count_open_time(self) -> None:
        if self._open_since_ns is not None:
            now_ns = time.monotonic_ns()
            self._current.measured_ns += now_ns - self._open_since_ns
            self._open_since_ns = now_ns

    def _report_complete(self) -> None:
        """Reports every interval whose packets' fates are known."""
        while self._closing and self._closing[0].is_complete():
            interval = self._closing.pop(0).interval
            self._totals.merge(interval)
            self.last = interval
            self._report(interval)

    # ---- one connection --------------------------------------------------------------------------

    async def _attempt(self) -> None:
        """Opens sessions and measures until they fail; then waits until it is time to try again."""
        try:
            async with self._source.open() as opened:
                if self._reason not in ("", NOT_YET):
                    self._warn(f"{self.name}: measuring again")
                self._pass_warnings_on()
                self.connections += 1
                self._reason = ""
                failure = await self._measure(opened)
        except (OSError, TwampError) as error:
            failure = error
            wait = True
        else:
            # Silence is no fault of the connection: new sessions are asked for at once.
            wait = failure is not None and not isinstance(failure, _SilenceError)
        if failure is None or self._stopping.is_set():
            return
        reason = explain(failure, TWPING_REMEDIES)
        self._current.reason = reason
        if reason != self._reason:
            self._warn(f"{self.name}: {reason}; trying again")
        self._reason = reason
        if wait:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._backoff.next()):
                    await self._stopping.wait()

    def _pass_warnings_on(self) -> None:
        """Passes each warning on once, however often it comes."""
        for warning in self._source.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._warn(f"{self.name}: {warning}")
        self._source.warnings.clear()

    async def _measure(self, opened: OpenSessions) -> Exception | None:
        """Sends until it is stopped (None), or until it fails, and returns why; collects all samples."""
        start_ns = time.monotonic_ns() + LEAD_NS
        with contextlib.ExitStack() as stack:
            for place, session in enumerate(opened.sessions):
                one = self._new_session(place, session, start_ns)
                stack.callback(one.sender.close)
                self._sessions.append(one)
            stack.callback(self._sessions.clear)
            self._open_since_ns = time.monotonic_ns()
            running = [asyncio.create_task(one.sender.run()) for one in self._sessions]
            ending = asyncio.create_task(opened.wait_for_the_end())
            try:
                failure = await self._watch(running, ending)
            finally:
                self._count_open_time()
                self._open_since_ns = None
                for task in (ending, *running):  # a run that is cancelled joins its thread first
                    task.cancel()
                await asyncio.gather(ending, *running, return_exceptions=True)
                for one in self._sessions:
                    one.over = True
                    self._collect(one)
                    one.fold.finish(self._current.tallies[one.place])
                self._report_complete()
        if failure is None:
            with contextlib.suppress(OSError, TwampError):
                await opened.stop()
        return failure

    def _new_session(self, place: int, session: OpenSession, start_ns: int) -> _Session:
        draw = functools.partial(self._random.expovariate, 1.0)
        times = send_times(parse_intervals(self.config.interval), draw)
        config = replace(
            self._source.sender_config(session, start_ns),
            schedule=array("Q", islice(times, self._rows)),
            count=self._most_packets,
            duplicates_size=max(LEAST_DUPLICATE_ROWS, self._rows // 4),
        )
        fold = SessionFold(self._loss_timeout_ns)
        return _Session(place, self._source.make_sender(session, config), start_ns, times, fold)

    async def _watch(
        self, running: Sequence[asyncio.Task[None]], ending: asyncio.Task[None]
    ) -> Exception | None:
        failure: Exception | None = None
        heard, replies = time.monotonic(), 0
        while not all(task.done() for task in running):
            waiting = [task for task in (*running, ending) if not task.done()]
            await asyncio.wait(
                waiting, timeout=COLLECT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for session in self._sessions:
                self._collect(session)
            self._report_complete()
            now = time.monotonic()
            came = sum(session.counted.replies for session in self._sessions)
            if came != replies:
                heard, replies = now, came
                self._backoff.reset()
            if failure is None:
                failure = self._failure([ending, *running], now - heard)
                if failure is not None:
                    self._stop_senders(drain=True)
                    seconds = min(DRAIN_SECONDS, float(self.config.loss_timeout))
                    asyncio.get_running_loop().call_later(seconds, self._stop_later())
        return failure

    def _failure(self, tasks: Sequence[asyncio.Task[None]], silence: float) -> Exception | None:
        """Returns why the measurement cannot go on, or None."""
        for error in (task.exception() for task in tasks if task.done()):
            if isinstance(error, OSError | TwampError):
                return error
        if silence > self._silence + float(self.config.loss_timeout):
            return _SilenceError(f"no reply for {silence:.0f} s; asking for new sessions")
        return None

    def _stop_later(self) -> Callable[[], None]:
        """Returns a function that stops the senders of now, whichever there are when it is called."""
        senders = [session.sender for session in self._sessions]

        def stop() -> None:
            for sender in senders:
                sender.stop(drain=False)

        return stop

    def _stop_senders(self, drain: bool) -> None:
        for session in self._sessions:
            session.sender.stop(drain=drain)

    def _collect(self, session: _Session) -> None:
        """Adds final samples to the intervals in which they were sent, and schedules more packets."""
        samples, duplicates = session.sender.collect()
        session.fold.add_duplicates(duplicates)
        for interval, marks in self._closing:
            end = marks.get(session, 0)
            count = max(0, end - samples[0].sequence_number) if samples else 0
            if count:
                session.fold.add(samples[:count], interval.tallies[session.place])
                samples = samples[count:]
        tally = self._current.tallies[session.place]
        if samples:
            session.fold.add(samples, tally)
        stats, counted = session.sender.stats(), session.counted
        tally.add_counters(
            drops={name: n - counted.drops.get(name, 0) for name, n in stats.drops.items()},
            send_errors=stats.send_errors - counted.send_errors,
            stalls=stats.stalls - counted.stalls,
        )
        session.counted = stats
        session.sender.schedule_more(session.next_times(session.sender.room))


class _SilenceError(RemoteProtocolError):
    """No reply arrives although the connection is there."""
