"""Measures any number of targets continuously in one process, reports them and serves their metrics.

It ends when it is stopped (at once when stopped twice), or when the reader of its output has gone; then it
reports the totals.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from twamp.config.ping import PingConfig
from twamp.engine.session_source import SessionSource
from twamp.metrics.interval import ReportInterval
from twamp.metrics.threshold import Failure, crossed
from twamp.monitor.exporter import SessionFigures, TargetState, bounds_of, target_families
from twamp.monitor.forms import Form
from twamp.monitor.outcome import Outcome
from twamp.monitor.output import Output
from twamp.monitor.probe import Prober, probe_application
from twamp.monitor.watch import Watch
from twamp.web import WebServer, prometheus_application

SCRAPE_SECONDS = 10.0  # for the event loop to answer


class Monitor:
    """Measures the targets that :meth:`watch` adds, from :meth:`run` until :meth:`stop`.

    ``options`` say how to report and where the metrics are; ``warn`` takes what the user should know;
    ``prober`` answers ``/probe`` beside the metrics.
    """

    def __init__(
        self,
        options: PingConfig,
        output: Output,
        warn: Callable[[str], None],
        prober: Prober | None = None,
    ) -> None:
        self._options = options
        self._output = output
        self._warn = warn
        self._prober = prober
        self._form = Form(options)
        self._ended = asyncio.Event()
        self._unwritten = 0  # parts of the report, while there is no room for them
        self._interrupted = False
        self._watches: list[Watch] = []

    def watch(self, name: str, config: PingConfig, source: SessionSource) -> None:
        """Adds a target, before :meth:`run`; ConfigError for one that needs too much memory."""

        def report(interval: ReportInterval) -> None:
            self._report(watch, interval)

        watch = Watch(name, config, source, report=report, warn=self._warn)
        self._watches.append(watch)

    async def run(self) -> Outcome:
        """Measures until it is stopped, or until ``--deadline``; then reports the totals.

        Raises OSError or ConfigError when the metrics cannot be served.
        """
        async with contextlib.AsyncExitStack() as stack:
            await self._serve_metrics(stack)
            deadline = float(self._options.deadline)
            if deadline:
                timer = asyncio.get_running_loop().call_later(deadline, self.stop)
                stack.callback(timer.cancel)
            async with asyncio.TaskGroup() as tasks:
                for each in self._watches:
                    tasks.create_task(each.run(), name=f"twping {each.name}")
                if not self._watches:
                    await self._ended.wait()
        return self._conclude()

    def stop(self, *, interrupted: bool = False) -> None:
        """Stops the measurement soon, or at once when called again; from the loop's thread.

        ``interrupted``: the user did not wait for the end, so the outcome is INTERRUPTED.
        """
        self._interrupted = self._interrupted or interrupted
        again = self._ended.is_set()
        self._ended.set()
        for each in self._watches:
            each.stop(drain=not again)

    # ---- reports ---------------------------------------------------------------------------------

    def _report(self, watch: Watch, interval: ReportInterval) -> None:
        results, named = interval.results(), len(self._watches) > 1
        # An interval in which no packet was due has no figures, and without a reason nothing to blame.
        fail = watch.config.fail if results.total.sent or interval.reason else ()
        failures = crossed(fail, results.total, trust_clocks=watch.config.trust_clocks)
        self._write(self._form.interval(interval, results, failures=failures, named=named))
        self._warn_of(watch, failures)

    def _warn_of(self, watch: Watch, failures: Sequence[Failure]) -> None:
        name = f"{watch.name}: " if len(self._watches) > 1 else ""
        for failure in failures:
            self._warn(f"{name}failed: {failure}")

    def _conclude(self) -> Outcome:
        """Reports the totals, and returns the outcome that a finite run with these figures has."""
        came = failed = False
        for watch in self._watches:
            totals = watch.totals()
            results = totals.results()
            config = watch.config
            failures = crossed(config.fail, results.total, trust_clocks=config.trust_clocks)
            self._write(self._form.total(totals, results, failures=failures))
            self._warn_of(watch, failures)
            came = came or results.total.received > 0
            failed = failed or bool(failures)
        if self._interrupted:
            return Outcome.INTERRUPTED
        if not self._watches:
            return Outcome.MEASURED
        if not any(watch.connections for watch in self._watches):
            return Outcome.NO_SET_UP
        return Outcome.of(received=came, failed=failed)

    def _write(self, text: str) -> None:
        """Writes a report; a full disk does not end the measurement, a closed pipe does."""
        if not text:
            return
        try:
            self._output.write(text)
        except BrokenPipeError:
            if not self._ended.is_set():
                self.stop()
        except OSError as error:
            if not self._unwritten:
                self._warn(f"the report cannot be written: {error.strerror}; measuring goes on")
            self._unwritten += 1
        else:
            if self._unwritten:
                self._warn(
                    f"the report is written again; {self._unwritten} parts of it are missing"
                )
            self._unwritten = 0

    # ---- metrics ---------------------------------------------------------------------------------

    async def _serve_metrics(self, stack: contextlib.AsyncExitStack) -> None:
        address = self._options.metrics_address
        if address is None:
            return
        loop = asyncio.get_running_loop()

        def snapshot() -> Sequence[TargetState]:
            # The tallies are the loop's; a scrape is answered by a thread.
            return asyncio.run_coroutine_threadsafe(self.snapshot(), loop).result(SCRAPE_SECONDS)

        applications = {
            "/metrics": prometheus_application(
                lambda: target_families(snapshot()), lambda: target_families([])
            )
        }
        if self._prober is not None:
            applications["/probe"] = probe_application(self._prober, loop)
        server = WebServer(address.host, address.port, applications)
        self.metrics_address = server.address
        server.start()
        # Closing waits for threads, which may wait for the loop.
        stack.push_async_callback(loop.run_in_executor, None, server.close)

    async def snapshot(self) -> Sequence[TargetState]:
        """Returns the state of all targets now."""
        return [
            TargetState(
                target=each.name,
                is_open=each.is_open,
                connections=each.connections,
                sessions=[
                    SessionFigures(
                        labels={"target": each.name, "session": str(place)},
                        totals=tally,
                        last=each.last.tallies[place] if each.last is not None else None,
                        trust_clocks=each.config.trust_clocks,
                        bounds_ns=bounds_of(each.config.metrics_buckets),
                    )
                    for place, tally in enumerate(each.totals().tallies)
                ],
            )
            for each in self._watches
        ]
