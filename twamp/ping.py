"""``twping``: asks a TWAMP Server for test sessions, sends their packets and reports what came back.

Exit codes: 0 measured, 1 could not be set up, 2 interrupted, 3 nothing came back (with -R 0: the
rows say it, and perfSONAR's readers of them take any other code for a run that failed).
SIGTERM ends --continuous as its natural end does: with 0, 1 or 3.
"""

import argparse
import asyncio
import contextlib
import errno
import json
import logging
import os
import random
import re
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice
from typing import Any, NoReturn

import uvloop

from twamp.config import PingConfig, ReflectorConfig
from twamp.continuous import Opened
from twamp.control_client import (
    REQUESTS_AHEAD,
    AcceptedSession,
    ControlClient,
    Credentials,
    SessionRequest,
)
from twamp.credentials import credentials_of, modes_of
from twamp.endless import monitor, monitor_many, read_targets_for
from twamp.endpoint import Endpoint, IPAddress
from twamp.errors import ConfigError, Refused, TwampError
from twamp.machine import machine_summary
from twamp.metrics import Measurement, measure
from twamp.monitor import Measured, Outcome
from twamp.options import add_arguments, from_arguments, key_of, rows
from twamp.parts import parts
from twamp.progress import progress
from twamp.protocol.timestamps import NS, ntp_from_unix_ns
from twamp.remedies import explain
from twamp.report import (
    UNITS,
    Style,
    heading,
    json_tree,
    packet_lines,
    raw_rows,
    text_summary,
    text_total,
)
from twamp.saved import require_directory, save
from twamp.schedule import make_schedule, parse_intervals
from twamp.sender_ports import bind, ports_to_try
from twamp.server import Server
from twamp.session_reflector import SessionReflector
from twamp.session_sender import SenderConfig, SessionSender
from twamp.target import Target, read_target
from twamp.users import Users
from twamp.version import version

MEASURED, NO_SET_UP, INTERRUPTED, NOTHING_BACK = Outcome
# The kernel turns timestamps on some milliseconds after they were asked for, and each session's
# thread takes its time to begin.
LEAD_NS = 50_000_000
LEAD_OF_EACH_NS = 1_000_000
ONE_BY_ONE = 8  # sessions
# After Ctrl-C replies on their way are still read for so many seconds.
DRAIN = 1.0


# ---- the command line ----------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """argparse would exit with 2, which says that a measurement was interrupted."""
        raise ConfigError(f"{message}; twping --help lists the options")


def parser() -> argparse.ArgumentParser:
    """The command line: one option per row of :class:`~twamp.config.PingConfig`."""
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
    return parser().parse_args([*map(_spell_out, arguments)])


def _spell_out(argument: str) -> str:
    """``-v`` and ``-v5`` never take the next word, as ``-v HOST`` shows (perfSONAR's ``-v[N]``)."""
    match = re.fullmatch(r"-v(\d*)|(--verbose)", argument, re.ASCII)
    return argument if match is None else f"--verbose={match[1] or 'all'}"


# ---- one run -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TestSession:
    """A session that the Server has accepted, and our end of it."""

    accepted: AcceptedSession
    sock: socket.socket


class Ping:
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
        self._task: asyncio.Task[Any] | None = None
        self._early = asyncio.Event()  # set where waiting at the end is over

    @classmethod
    def of_file(cls, config: PingConfig, target: Target) -> "Ping":
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
    async def open(self, start_time: int = 0) -> AsyncIterator[Opened[TestSession]]:
        """Connects, has every session accepted and started, and in the end closes all that.

        ``start_time`` is an NTP timestamp, 0 means at once; errors as of :meth:`run`.
        """
        async with contextlib.AsyncExitStack() as stack:
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
            sessions = [TestSession(*pair) for pair in zip(accepted, socks, strict=True)]
            await client.start_sessions()
            yield Opened(client, sessions)

    async def _run(self) -> list[Measurement]:
        begin_unix_ns, begin_ns = time.time_ns(), time.monotonic_ns()
        delay_ns = _ns(self.config.start_delay)
        start_time = ntp_from_unix_ns(begin_unix_ns + delay_ns) if delay_ns else 0
        async with contextlib.AsyncExitStack() as stack:
            client, sessions = await stack.enter_async_context(self.open(start_time))
            earliest_ns = time.monotonic_ns() + LEAD_NS + len(sessions) * LEAD_OF_EACH_NS
            start_ns = max(begin_ns + delay_ns, earliest_ns)
            for session in sessions:
                sender = SessionSender(session.sock, self.sender_config(session, start_ns))
                stack.callback(sender.close)
                self._senders.append(sender)
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
            timeout_ns=_ns(self.config.loss_timeout),
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

    def sender_config(self, session: TestSession, start_ns: int) -> SenderConfig:
        """What a session sends, from ``start_ns`` (CLOCK_MONOTONIC) on."""
        config = self.config
        return SenderConfig(
            peer=session.accepted.reflector,
            schedule=make_schedule(parse_intervals(config.interval), config.count, random.Random()),
            start_ns=start_ns,
            loss_timeout_ns=_ns(config.loss_timeout),
            padding_length=config.padding,
            zero_padding=config.zero_padding,
            dscp=config.test_dscp_value,
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
            self.warnings.append(f"the sessions could not be stopped: {explain(error)}")

    def _measurement(self, accepted: AcceptedSession, sender: SessionSender) -> Measurement:
        stats = sender.stats()
        return Measurement(
            sid=accepted.sid,
            source=accepted.sender,
            destination=accepted.reflector,
            samples=sender.samples,
            duplicates=sender.duplicates,
            loss_timeout_ns=_ns(self.config.loss_timeout),
            drops=stats.drops,
            send_errors=stats.send_errors,
            source_host=self.config.source_address or "",
            destination_host=self.target.host,
        )


def _ns(seconds: Decimal) -> int:
    return int(seconds * NS)


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


# ---- the report ----------------------------------------------------------------------------------


def report(measurements: Sequence[Measurement], config: PingConfig) -> Iterator[str]:
    """The report that the options ask for, piece by piece, each with its line ends."""
    style = Style(
        unit=UNITS[config.units], percentiles=config.percentiles, unix_time=config.unix_time
    )
    if config.json:
        tree = json_tree(
            measurements,
            version=version(),
            configuration=configuration(config),
            percentiles=config.percentiles,
        )
        yield json.dumps(tree, indent=2) + "\n"
    elif config.raw:
        for place, measurement in enumerate(measurements):
            yield "\n" if place else ""
            yield from (row + "\n" for row in raw_rows(measurement))
    elif not config.quiet:
        yield from _summaries(measurements, config, style)


def _summaries(
    measurements: Sequence[Measurement], config: PingConfig, style: Style
) -> Iterator[str]:
    for measurement in measurements:
        for part in parts(measurement, config.packets_per_summary):
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


def configuration(config: PingConfig) -> dict[str, Any]:
    """The options by key; times in nanoseconds."""
    result: dict[str, Any] = {}
    for field, _ in rows(PingConfig):
        value = getattr(config, field)
        if isinstance(value, Decimal):
            value = _ns(value)
        elif field == "percentiles":
            value = [float(percent) for percent in value]
        result[key_of(field)] = value
    return result


# ---- the program ---------------------------------------------------------------------------------


async def ping(
    config: PingConfig, target: Target | None, credentials: Credentials | None = None
) -> tuple[Ping, list[Measurement]]:
    """One run, in or out of the machine; SIGINT and SIGTERM end it early."""
    async with contextlib.AsyncExitStack() as stack:
        if target is None:
            target = await stack.enter_async_context(loopback_responder(config, credentials))
        one = Ping(config, target, credentials)
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
        one = Measured(name=target.host, config=config, dialler=Ping(config, target, credentials))
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
    arguments = sys.argv[1:] if argv is None else argv
    try:
        options = _parse(arguments)
        if options.config_file is not None:
            file = read_targets_for(options)
            return uvloop.run(monitor_many(file, Ping.of_file, _complain))
        config, target = read_command_line(arguments)
        if config.continuous:
            return uvloop.run(endless(config, target, credentials_of(config)))
        one, measurements = uvloop.run(ping(config, target, credentials_of(config)))
    except (TwampError, OSError) as error:
        _complain(explain(error))
        return NO_SET_UP
    except KeyboardInterrupt:  # before the handler was there
        _complain("interrupted before anything was measured")
        return INTERRUPTED
    for warning in one.warnings:
        _complain(warning)
    if not measurements:
        _complain("interrupted before anything was measured")
        return INTERRUPTED
    try:
        _print(report(measurements, config))
    except ConfigError as error:  # a file that could not be written after all
        _complain(str(error))
        return NO_SET_UP
    if one.interrupted:
        return INTERRUPTED
    metrics = measure(*measurements)
    if not metrics.received:
        _complain(_silence(metrics.sent, measurements))
        # Who reads rows sees the loss in them, and takes another code for a run that failed.
        return MEASURED if config.raw else NOTHING_BACK
    return MEASURED


def _silence(sent: int, measurements: Sequence[Measurement]) -> str:
    ports = ", ".join(str(measurement.destination) for measurement in measurements[:3])
    more = ", …" if len(measurements) > 3 else ""
    return (
        f"none of {sent} packets came back; "
        f"does a firewall or NAT stop UDP to {ports}{more} or back?"
    )


if __name__ == "__main__":
    sys.exit(main())
