"""``twping``: asks a TWAMP Server for test sessions, sends their packets and reports what came back.

Exit codes: 0 measured, 1 could not be set up, 2 interrupted, 3 a threshold of --fail was crossed, or
nothing came back (with -R 0: the rows say it, and perfSONAR's readers of them take any other code for a
run that failed).  SIGTERM ends --continuous as its natural end does: with 0, 1 or 3.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any, NoReturn

import uvloop

from twamp.config.arguments import add_arguments, from_arguments, given_fields, spelled_out
from twamp.config.ping import PingConfig
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import key_of, rows
from twamp.config.target import Target, read_target
from twamp.config.users import Users
from twamp.control.client import (
    Credentials,
)
from twamp.control.server import Server
from twamp.engine.session_reflector import SessionReflector
from twamp.errors import TWPING_REMEDIES, ConfigError, TwampError, explain
from twamp.metrics.cut import by_packets
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement
from twamp.metrics.threshold import Threshold
from twamp.monitor.command import monitor, monitor_many, read_targets_for
from twamp.monitor.monitor import Measured, Outcome
from twamp.ping.credentials import credentials_of
from twamp.ping.run import Run, ns_of
from twamp.ping.summary_files import require_directory, save
from twamp.report.json_tree import json_tree
from twamp.report.packets import packet_lines, raw_rows
from twamp.report.perfsonar import machine_summary
from twamp.report.pictures import TERMINAL, draw, require_plot, terminal_text
from twamp.report.rows import csv_lines, influx_lines
from twamp.report.saved_run import read_saved_run
from twamp.report.text import heading, text_summary, text_total
from twamp.report.units import UNITS, Style
from twamp.version import version

MEASURED, NO_SET_UP, INTERRUPTED, NOTHING_BACK = Outcome


# ---- the command line ----------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """argparse would exit with 2, which says that a measurement was interrupted."""
        raise ConfigError(f"{message}; twping --help lists the options")


def parser() -> argparse.ArgumentParser:
    """The command line: one option per row of :class:`~twamp.config.ping.PingConfig`."""
    result = _Parser(
        prog="twping",
        description="Measure the round trip to a TWAMP Server (RFC 5357).",
        epilog=__doc__.partition("\n\n")[2].strip() if __doc__ else None,
        allow_abbrev=False,
    )
    result.add_argument(
        "host",
        nargs="?",
        metavar="HOST",
        help="host, host:port, IPv6 address or [IPv6 address]:port",
    )
    result.add_argument(
        "server", nargs="?", metavar="SERVER", help="the TWAMP Server, if it is not at HOST"
    )
    result.add_argument(
        "--config",
        dest="config_file",
        metavar="FILE",
        help="TOML file of targets to measure without an end (implies --continuous)",
    )
    add_arguments(result, PingConfig)
    result.add_argument("-F", dest="file", help=argparse.SUPPRESS)
    return result


def read_command_line(arguments: Sequence[str]) -> tuple[PingConfig, Target | None]:
    """Options and target (None: the responder of ``--loopback``); ConfigError if they are wrong."""
    options = _parse(arguments)
    if options.file is not None:
        raise ConfigError(
            "-F: we do not write perfSONAR's owp files; -R prints every packet and --json the whole "
            "report: twping -R … > FILE"
        )
    config = from_arguments(PingConfig, options)
    if config.save_summaries:
        require_directory(config.directory)
    if config.plot is not None:
        require_plot(config.plot)
    if config.loopback:
        if options.host is not None:
            raise ConfigError(
                f"loopback: measures itself, not {options.host!r}; give HOST or --loopback"
            )
        return config, None
    if options.host is None:
        raise ConfigError("HOST is missing; for example twping 192.0.2.1, or twping --loopback")
    target = read_target(
        options.host,
        options.server,
        default_port=config.control_port,
        zero_addresses=config.zero_addresses,
    )
    return with_source(config), target


def with_source(config: PingConfig) -> PingConfig:
    """perfSONAR's ``-S`` takes an interface too, which is then bound to."""
    name = config.source_address
    if name is None or name not in (interface for _, interface in socket.if_nameindex()):
        return config
    if config.interface not in (None, name):
        raise ConfigError(
            f"source-address: {name} is an interface, but {config.interface} is asked for"
        )
    return replace(config, source_address=None, interface=name)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    return parser().parse_args([*map(_spell_out, spelled_out(PingConfig, arguments))])


def _spell_out(argument: str) -> str:
    """``-v`` and ``-v5`` never take the next word, as ``-v HOST`` shows (perfSONAR's ``-v[N]``)."""
    match = re.fullmatch(r"-v(\d*)|(--verbose)", argument, re.ASCII)
    return argument if match is None else f"--verbose={match[1] or 'all'}"


# ---- the report ----------------------------------------------------------------------------------


def report(
    measurements: Sequence[Measurement],
    config: PingConfig,
    saved: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """The report that the options ask for, piece by piece, each with its line ends.

    ``saved`` is the configuration of a run that is not of these options.
    """
    style = Style(
        unit=UNITS[config.units], percentiles=config.percentiles, unix_time=config.unix_time
    )
    if config.json:
        tree = json_tree(
            measurements,
            version=version(),
            configuration=configuration(config) if saved is None else saved,
            percentiles=config.percentiles,
            with_samples=config.samples,
        ) | {"failed": [str(threshold) for threshold in crossed(measurements, config)]}
        yield json.dumps(tree, indent=2) + "\n"
    elif config.csv or config.influx:
        lines = csv_lines if config.csv else influx_lines
        yield from lines(measurements, ns_of(config.bin))
    elif config.raw:
        for place, measurement in enumerate(measurements):
            yield "\n" if place else ""
            yield from (row + "\n" for row in raw_rows(measurement))
    elif not config.quiet:
        yield from _summaries(measurements, config, style)
    if config.plot == TERMINAL:
        yield terminal_text(measurements, colour=has_colour())
    elif config.plot is not None:
        draw(measurements, config.plot)


def _summaries(
    measurements: Sequence[Measurement], config: PingConfig, style: Style
) -> Iterator[str]:
    for measurement in measurements:
        for part in by_packets(measurement, config.packets_per_summary):
            pieces = _summary(part, config, style)
            if config.save_summaries:
                kind = "sum" if config.machine else "txt"
                yield f"{save(config.directory, part, kind, pieces)}\n"
            else:
                yield from pieces
    if len(measurements) > 1 and not config.machine and not config.save_summaries:
        yield text_total(measurements, style)


def _summary(measurement: Measurement, config: PingConfig, style: Style) -> Iterator[str]:
    if config.machine:
        yield machine_summary(
            measurement,
            unix_times=config.unix_time,
            dscp=config.test_dscp_value,
            padding_length=config.padding,
            bucket_width=config.bucket_width,
        )
        return
    if config.verbose:
        yield heading(measurement)
        for line in islice(packet_lines(measurement, style), config.verbose):
            yield line + "\n"
    yield text_summary(measurement, style)


def has_colour() -> bool:
    """Whether standard output is a terminal of somebody who has nothing against colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def crossed(measurements: Sequence[Measurement], config: PingConfig) -> list[Threshold]:
    """Those of ``--fail`` that all sessions together are beyond."""
    metrics = measure(*measurements)
    return [threshold for threshold in config.fail if threshold.is_crossed(metrics)]


def configuration(config: PingConfig) -> dict[str, Any]:
    """The options by key; times in nanoseconds."""
    result: dict[str, Any] = {}
    for field, _ in rows(PingConfig):
        value = getattr(config, field)
        if isinstance(value, Decimal):
            value = ns_of(value)
        elif field == "percentiles":
            value = [float(percent) for percent in value]
        elif field == "fail":
            value = [str(threshold) for threshold in value]
        result[key_of(field)] = value
    return result


# ---- the program ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def loopback_responder(
    config: PingConfig, credentials: Credentials | None
) -> AsyncIterator[Target]:
    """A Server and its Session-Reflector in this program, on a TCP port of the system's choice."""
    users = Users({} if credentials is None else dict([credentials]))
    address = "::1" if config.ipv6 else "127.0.0.1"
    reflector_config = ReflectorConfig(
        listen_address=(address,),
        port=0,
        maximum_connections=1,
        maximum_sessions_per_connection=config.session_count,
    )
    async with (
        SessionReflector(hash_seed=secrets.randbits(64)) as reflector,
        Server(reflector_config, reflector, users) as server,
    ):
        yield Target(address, address, server.addresses[0].port)


async def ping(
    config: PingConfig, target: Target | None, credentials: Credentials | None = None
) -> tuple[Run, list[Measurement]]:
    """One run, in or out of the machine; SIGINT and SIGTERM end it early."""
    async with contextlib.AsyncExitStack() as stack:
        if target is None:
            target = await stack.enter_async_context(loopback_responder(config, credentials))
        one = Run(config, target, credentials)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, one.interrupt)
            stack.callback(loop.remove_signal_handler, number)
        return one, await one.run()


async def endless(
    config: PingConfig, target: Target | None, credentials: Credentials | None
) -> int:
    """``--continuous``: the target of the command line, or ourselves; returns the exit code."""
    async with contextlib.AsyncExitStack() as stack:
        if target is None:
            target = await stack.enter_async_context(loopback_responder(config, credentials))
        one = Measured(name=target.host, config=config, dialler=Run(config, target, credentials))
        return await monitor(config, [one], _complain)


def _complain(text: str) -> None:
    print(f"twping: {text}", file=sys.stderr)


def _print(pieces: Iterator[str]) -> None:
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has had enough (`twping … | head`); nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    # What the responder of --loopback has to say, we say.
    logging.getLogger("twamp").addHandler(logging.NullHandler())
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["report"]:
        return report_saved(arguments[1:])
    try:
        options = _parse(arguments)
        if options.config_file is not None:
            file = read_targets_for(options)
            return uvloop.run(monitor_many(file, Run.of_file, _complain))
        config, target = read_command_line(arguments)
        if config.continuous:
            return uvloop.run(endless(config, target, credentials_of(config)))
        one, measurements = uvloop.run(ping(config, target, credentials_of(config)))
    except (TwampError, OSError) as error:
        _complain(explain(error, TWPING_REMEDIES))
        return NO_SET_UP
    except KeyboardInterrupt:  # before the handler was there
        _complain("interrupted before anything was measured")
        return INTERRUPTED
    for warning in one.warnings:
        _complain(warning)
    if not measurements:
        _complain("interrupted before anything was measured")
        return INTERRUPTED
    code = tell(measurements, config)
    return INTERRUPTED if one.interrupted and code != NO_SET_UP else code


def report_saved(arguments: Sequence[str]) -> int:
    """``twping report FILE``: the reports of a run that was saved; returns the exit code."""
    try:
        options = _parse(arguments)
        given = given_fields(PingConfig, options)
        alien = [key_of(name) for name in given if name not in OF_REPORTS]
        if alien:
            raise ConfigError(f"{alien[0]}: twping report measures nothing, so leave it out")
        if options.host is None or options.server is not None:
            raise ConfigError("twping report FILE takes one file, of -R or of --json --samples")
        config = from_arguments(PingConfig, options)
        if config.plot is not None:
            require_plot(config.plot)
        run = read_saved_run(options.host)
    except (TwampError, OSError) as error:
        _complain(explain(error, TWPING_REMEDIES))
        return NO_SET_UP
    if run.said_of_it:
        _complain(run.said_of_it)
    return tell(run.measurements, config, run.configuration)


# What a report of a saved run may be told.
OF_REPORTS = frozenset(
    (
        *(
            "json",
            "samples",
            "csv",
            "influx",
            "bin",
            "raw",
            "machine",
            "bucket_width",
            "plot",
            "fail",
        ),
        *("packets_per_summary", "save_summaries", "directory", "verbose", "unix_time", "units"),
        *("quiet", "percentiles"),
    )
)


def tell(
    measurements: Sequence[Measurement],
    config: PingConfig,
    saved: Mapping[str, Any] | None = None,
) -> int:
    """Prints the report and judges it; returns the exit code."""
    try:
        _print(report(measurements, config, saved))
    except (ConfigError, OSError) as error:  # a file that could not be written after all
        _complain(explain(error, TWPING_REMEDIES))
        return NO_SET_UP
    metrics = measure(*measurements)
    if not metrics.received:
        _complain(_silence(metrics.sent, measurements))
        # Who reads rows sees the loss in them, and takes another code for a run that failed.
        return MEASURED if config.raw and not config.fail else NOTHING_BACK
    failed = crossed(measurements, config)
    for threshold in failed:
        _complain(f"failed: {threshold}")
    return NOTHING_BACK if failed else MEASURED


def _silence(sent: int, measurements: Sequence[Measurement]) -> str:
    ports = ", ".join(str(measurement.destination) for measurement in measurements[:3])
    more = ", …" if len(measurements) > 3 else ""
    return (
        f"none of {sent} packets came back; "
        f"does a firewall or NAT stop UDP to {ports}{more} or back?"
    )


if __name__ == "__main__":
    sys.exit(main())
