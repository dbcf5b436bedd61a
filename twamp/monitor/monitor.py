"""Continuous measurement of any number of targets in one process: their reports, and their metrics.

It ends when it is stopped (twice: at once), or when the reader of its output has gone; then it reports the
totals.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from twamp.config.ping import PingConfig
from twamp.engine.session_source import SessionSource
from twamp.metrics.interval import ReportInterval
from twamp.metrics.measure import Results
from twamp.monitor.exporter import SessionFigures, TargetState, target_families
from twamp.monitor.outcome import Outcome
from twamp.monitor.output import Output
from twamp.monitor.probe import Prober, probe_application
from twamp.monitor.watch import Watch
from twamp.report.interval import interval_line, json_line, total_block
from twamp.report.units import UNITS, Style
from twamp.version import version
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
        self._style = Style(
            unit=UNITS[options.units], percentiles=options.percentiles, unix_time=False
        )
        self._ended = asyncio.Event()
        self._cannot_write = False
        self._interrupted = False
        self._watches: list[Watch] = []

    def watch(self, name: str, config: PingConfig, source: SessionSource) -> None:
        """Adds a target, before :meth:`run`; ConfigError for one that needs too much memory."""
        self._watches.append(Watch(name, config, source, report=self._report, warn=self._warn))

    @property
    def outcome(self) -> Outcome:
        """What became of all targets together, once :meth:`run` is over."""
        if self._interrupted:
            return Outcome.INTERRUPTED
        if not self._watches:
            return Outcome.MEASURED
        if not any(each.connections for each in self._watches):
            return Outcome.NO_SET_UP
        came = any(tally.received for each in self._watches for tally in each.totals().tallies)
        return Outcome.MEASURED if came else Outcome.NOTHING_BACK

    async def run(self) -> None:
        """Measures until it is stopped; OSError or ConfigError when the metrics cannot be served."""
        async with contextlib.AsyncExitStack() as stack:
            await self._serve_metrics(stack)
            async with asyncio.TaskGroup() as tasks:
                for each in self._watches:
                    tasks.create_task(each.run(), name=f"twping {each.name}")
                if not self._watches:
                    await self._ended.wait()
        if not self._options.quiet:
            for each in self._watches:
                self._write(self._total(each.totals()))

    def stop(self, *, interrupted: bool = False) -> None:
        """Ends it soon, or when called again at once; from the loop's thread.

        ``interrupted``: the user did not wait for the end, which the outcome then says.
        """
        self._interrupted = self._interrupted or interrupted
        again = self._ended.is_set()
        self._ended.set()
        for each in self._watches:
            each.stop(drain=not again)

    # ---- reports ---------------------------------------------------------------------------------

    def _report(self, interval: ReportInterval) -> None:
        results = interval.results()
        if self._options.json:
            self._write(self._json(interval, results, "interval"))
        else:
            named = len(self._watches) > 1
            self._write(interval_line(interval, results, self._style, named=named))

    def _total(self, interval: ReportInterval) -> str:
        results = interval.results()
        if self._options.json:
            return self._json(interval, results, "total")
        return total_block(interval, results, self._style)

    def _json(self, interval: ReportInterval, results: Results, kind: str) -> str:
        percentiles = self._style.percentiles
        return json_line(interval, results, kind, version=version(), percentiles=percentiles)

    def _write(self, text: str) -> None:
        """A disk that is full does not end a measurement; a pipe that nobody reads does."""
        try:
            self._output.write(text)
        except BrokenPipeError:
            if not self._ended.is_set():
                self.stop()
        except OSError as error:
            if not self._cannot_write:
                self._warn(f"the report cannot be written: {error.strerror}; measuring goes on")
            self._cannot_write = True
        else:
            self._cannot_write = False

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
        """The state of all targets, now."""
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
                    )
                    for place, tally in enumerate(each.totals().tallies)
                ],
            )
            for each in self._watches
        ]
