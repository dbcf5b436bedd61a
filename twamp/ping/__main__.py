"""The program ``twping``: measures once or continuously, or reports a saved run."""

import sys

from twamp.config import program

if __name__ == "__main__":  # before the imports that take time, during which Ctrl-C may come
    sys.exit(program.twping())

import asyncio
import contextlib
import functools
import logging
import signal
from collections.abc import Callable, Iterator, Sequence

import uvloop

from twamp.config.ping import PingConfig
from twamp.config.target import Target
from twamp.control.client import Credentials
from twamp.engine.sample_table import in_table
from twamp.errors import TWPING_REMEDIES, TwampError, explain
from twamp.metrics.measure import Results
from twamp.metrics.sample import Measurement
from twamp.monitor.command import monitor_of_file, open_monitor
from twamp.monitor.monitor import Monitor
from twamp.monitor.outcome import Outcome
from twamp.monitor.targets import Targets
from twamp.ping.command_line import measurement_of, parse, read_report_command_line, targets_of
from twamp.ping.credentials import credentials_of
from twamp.ping.loopback import loopback_responder
from twamp.ping.output import complain, print_report
from twamp.ping.run import Run
from twamp.ping.sessions import TwampSessions
from twamp.ping.target import target_of
from twamp.report.saved_run import read_saved_run


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    # The responder of --loopback logs; what of that matters here, the report and errors say.
    logging.getLogger("twamp").addHandler(logging.NullHandler())
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["report"]:
        return report_saved(arguments[1:])
    try:
        command_line = parse(arguments)
        if command_line.config_file is not None:
            return uvloop.run(watch_targets(targets_of(command_line)))
        config, target = measurement_of(command_line)
        if config.continuous:
            return uvloop.run(watch_one(config, target, credentials_of(config)))
        run, measurements = uvloop.run(measure_once(config, target, credentials_of(config)))
    except (TwampError, OSError) as error:
        complain(explain(error, TWPING_REMEDIES))
        return Outcome.NO_SET_UP
    except KeyboardInterrupt:  # before the handler was there
        complain("interrupted before anything was measured")
        return Outcome.INTERRUPTED
    for warning in run.warnings:
        complain(warning)
    if not measurements:
        complain("interrupted before anything was measured")
        return Outcome.INTERRUPTED
    code = print_report(Results.of(measurements), config)
    return Outcome.INTERRUPTED if run.interrupted and code != Outcome.NO_SET_UP else code


async def measure_once(
    config: PingConfig, target: Target | None, credentials: Credentials | None
) -> tuple[Run, list[Measurement]]:
    """Makes one finite run, which SIGINT and SIGTERM end early."""
    async with contextlib.AsyncExitStack() as stack:
        if target is None:
            target = await stack.enter_async_context(loopback_responder(config, credentials))
        run = Run(config, TwampSessions(config, target, credentials))
        stack.enter_context(on_signals(lambda _: run.interrupt()))
        return run, await run.run()


async def watch_one(
    config: PingConfig, target: Target | None, credentials: Credentials | None
) -> int:
    """Measures the target of the command line continuously, or ourselves; returns the exit code."""
    async with contextlib.AsyncExitStack() as stack:
        if target is None:
            target = await stack.enter_async_context(loopback_responder(config, credentials))
        monitor = stack.enter_context(open_monitor(config, complain))
        monitor.watch(target.host, config, TwampSessions(config, target, credentials))
        return await until_signalled(monitor)


async def watch_targets(file: Targets) -> int:
    """Measures the targets of a file continuously, probes on request; returns the exit code."""

    def sessions(host: str, config: PingConfig) -> TwampSessions:
        return TwampSessions(config, target_of(host, config), credentials_of(config))

    async def probe(host: str, config: PingConfig) -> Sequence[Measurement]:
        return await Run(config, sessions(host, config)).run()

    with monitor_of_file(file, sessions, probe, complain) as monitor:
        return await until_signalled(monitor)


async def until_signalled(monitor: Monitor) -> int:
    """Measures until SIGINT or SIGTERM; returns the exit code."""
    with on_signals(lambda number: monitor.stop(interrupted=number == signal.SIGINT)):
        return await monitor.run()


@contextlib.contextmanager
def on_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Calls ``handle`` in the running loop for each SIGINT and SIGTERM."""
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, functools.partial(handle, number))
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def report_saved(arguments: Sequence[str]) -> int:
    """Reports a saved run again (``twping report FILE``); returns the exit code."""
    try:
        config, file = read_report_command_line(arguments)
        run = read_saved_run(file)
    except (TwampError, OSError) as error:
        complain(explain(error, TWPING_REMEDIES))
        return Outcome.NO_SET_UP
    if run.said_of_it:
        complain(run.said_of_it)
    return print_report(Results.of([*map(in_table, run.measurements)]), config, run.configuration)
