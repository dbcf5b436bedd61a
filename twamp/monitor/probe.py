"""``/probe?target=…&module=…``: one short measurement on request, in the way of Prometheus' blackbox exporter.

Any client of the endpoint can make twping send packets, so requests are bounded.  A module is one of the
file; a target is one of the file (by name, or by host as written there) or an address on ``[probe] allow``,
at the module's port.  A probe sends :data:`MOST_PACKETS` packets at most, for :data:`MOST_SECONDS` at most;
:data:`MOST_AT_ONCE` run at once, and only one for each target.  Other requests are refused before anything
is sent.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from twamp.config.ping import PingConfig
from twamp.endpoint import Endpoint
from twamp.errors import ConfigError, TwampError
from twamp.metrics.sample import Measurement
from twamp.metrics.tally import SessionFold, Tally
from twamp.monitor.exporter import SessionFigures, session_families
from twamp.monitor.targets import Targets
from twamp.protocol.schedule import parse_intervals
from twamp.protocol.timestamps import NS
from twamp.sockets import resolve
from twamp.web import prometheus_application

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import Metric

MOST_PACKETS = 100
MOST_SECONDS = 10.0  # sending, and waiting for what comes back
MOST_AT_ONCE = 4

# Measures a host (as twping takes it) once; Refused, ProtocolError or OSError when it cannot.
MeasureOnce = Callable[[str, PingConfig], Awaitable[Sequence[Measurement]]]


class Probed(NamedTuple):
    """The result of a probe; ``tally`` is None when there was no session."""

    success: bool
    seconds: float
    tally: Tally | None


class RequestError(Exception):
    """A probe is refused: the ``status`` of HTTP, and why."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


def check_module(name: str, config: PingConfig) -> None:
    """Raises ConfigError for a module that asks for more than a probe may have."""
    waits = parse_intervals(config.interval)
    mean_ns = sum(wait.wait_ns for wait in waits) / len(waits)
    seconds = config.count * mean_ns / NS + float(config.loss_timeout)
    if config.count * config.session_count > MOST_PACKETS:
        raise ConfigError(
            f"module {name!r}: count {config.count} times session-count {config.session_count} is "
            f"more than the {MOST_PACKETS} packets that a probe may send; lower count"
        )
    if seconds > MOST_SECONDS:
        raise ConfigError(
            f"module {name!r}: a probe would take {seconds:.1f} s, and may take {MOST_SECONDS:.0f}; "
            "lower count, interval or loss-timeout"
        )


class Prober:
    """Runs probes in the event loop that it was made in.

    ``run`` measures once.  Raises :class:`~twamp.errors.ConfigError` for a module that asks for too much.
    """

    def __init__(self, targets: Targets, run: MeasureOnce) -> None:
        for name, config in targets.modules.items():
            check_module(name, config)
        self._modules = targets.modules
        self._hosts = {target.name: target.host for target in targets.targets}
        self._allow = targets.allow
        self._run = run
        self._busy: set[str] = set()

    async def probe(self, target: str, module: str) -> Probed:
        """Measures ``target``; raises :class:`RequestError` when that is not allowed, or not now."""
        config = self._modules.get(module)
        if config is None:
            known = ", ".join(self._modules) or "none"
            raise RequestError("400 Bad Request", f"module: there is none of that name; {known}")
        if len(self._busy) >= MOST_AT_ONCE:
            raise RequestError("503 Service Unavailable", f"{MOST_AT_ONCE} probes are running")
        if target in self._busy:
            raise RequestError("503 Service Unavailable", "that target is being probed")
        self._busy.add(target)
        try:
            return await self._measure(target, config)
        finally:
            self._busy.discard(target)

    async def _measure(self, target: str, config: PingConfig) -> Probed:
        begin = time.monotonic()
        tally = None
        with contextlib.suppress(OSError, TwampError, TimeoutError):
            # Half as long again, for what chance may add to exponential waits.
            async with asyncio.timeout(1.25 * MOST_SECONDS):
                host = await self._permitted(target)
                tally = tally_of(await self._run(host, config))
        success = tally is not None and tally.received > 0
        return Probed(success, time.monotonic() - begin, tally)

    async def _permitted(self, target: str) -> str:
        """Returns the host to measure: one of the file as written there, or an allowed address."""
        if target in self._hosts:
            return self._hosts[target]
        if target in self._hosts.values():
            return target
        refusal = RequestError(
            "403 Forbidden", "target: neither one of the file's, nor on [probe] allow"
        )
        if not self._allow or len(target) > 255:
            raise refusal
        # The address that was judged is the one that is measured, whatever the name becomes later.
        try:
            found = await resolve(target)
        except (OSError, UnicodeError):
            raise refusal from None
        for info in found:
            endpoint = Endpoint.from_sockaddr(info[4])
            address = endpoint.address
            if any(address.version == p.version and address in p for p in self._allow):
                if not endpoint.scope_id:
                    return f"[{address}]" if address.version == 6 else str(address)
                return f"[{address}%{socket.if_indextoname(endpoint.scope_id)}]"
        raise refusal


def tally_of(measurements: Sequence[Measurement]) -> Tally:
    """Returns the tally of sessions that are over."""
    tally = Tally()
    for measurement in measurements:
        fold = SessionFold(measurement.loss_timeout_ns)
        fold.add_duplicates(measurement.duplicates)
        fold.add(measurement.samples, tally)
        fold.finish(tally)
        tally.add_counters(drops=measurement.drops, send_errors=measurement.send_errors, stalls=0)
    return tally


def probe_families(probed: Probed) -> Iterator["Metric"]:
    """Yields ``probe_success``, ``probe_duration_seconds`` and, if there was a session, its metrics."""
    from prometheus_client import Metric

    for name, help, value in (
        ("probe_success", "Whether any packet came back in time.", float(probed.success)),
        ("probe_duration_seconds", "How long the probe took.", probed.seconds),
    ):
        metric = Metric(name, help, "gauge")
        metric.add_sample(name, {}, value)
        yield metric
    if probed.tally is not None:
        yield from session_families(
            [SessionFigures(labels={}, totals=probed.tally, last=probed.tally)]
        )


def probe_application(prober: Prober, loop: asyncio.AbstractEventLoop) -> "WSGIApplication":
    """Returns the application of ``/probe``, which other threads than that of ``loop`` call."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        query = parse_qs(environ.get("QUERY_STRING", ""))
        try:
            target, module = (_the(query, name) for name in ("target", "module"))
            probing = asyncio.run_coroutine_threadsafe(prober.probe(target, module), loop)
            probed = probing.result(2 * MOST_SECONDS)
        except RequestError as error:
            start_response(error.status, [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{error}\n".encode()]
        # The query has been answered; what is left of it would be names of metrics to this one.
        families = list(probe_families(probed))
        metrics = prometheus_application(lambda: iter(families), lambda: iter(()))
        return metrics({**environ, "QUERY_STRING": ""}, start_response)

    return answer


def _the(query: dict[str, list[str]], name: str) -> str:
    values = query.get(name, [])
    if len(values) != 1:
        raise RequestError("400 Bad Request", f"{name}: say it once: /probe?target=…&module=…")
    return values[0]
