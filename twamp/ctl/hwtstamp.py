"""``twampctl hwtstamp IFACE``: checks that an interface's timestamps are its network card's, and accurate.

The check covers what the driver offers and how it is set, the card's clock beside the system's over some
seconds, the counters of a responder that runs here, and a short measurement if there is a peer.  The card is
set to take timestamps meanwhile, if it does not and that is permitted, and then set back.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NotRequired, TypedDict

from twamp.config.ping import PingConfig
from twamp.config.target import Target, split_host
from twamp.engine.device import Device, Stamping, described, stamping_devices
from twamp.engine.stamping import HardwareStamping
from twamp.errors import TwampError
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import measure
from twamp.ping.run import Run
from twamp.ping.sessions import TwampSessions
from twamp.reflector.state import Clock, Counters, engine_counter
from twamp.reflector.state_reader import clock_row

READ_EVERY = 0.1  # seconds
PEER_PACKETS, PEER_INTERVAL = 200, "0.01f"
WIDEST_BAR = 50


class DeviceRow(TypedDict):
    """The capabilities and the setting of a device."""

    name: str
    description: str
    offers: list[str]  # SOF_TIMESTAMPING_*, lower case
    receive_filters: list[str]
    clock: str | None
    setting: str | None  # None: it does not tell
    missing: list[str]


class Findings(TypedDict):
    """The result of the check; ``verdict`` is whether the network card stamps test packets."""

    interface: str
    devices: list[DeviceRow]
    granted: str | None  # while this was looked at
    clocks: dict[str, Clock]
    responder: NotRequired[dict[str, Any]]
    peer: NotRequired[dict[str, Any]]
    verdict: bool
    reasons: list[str]  # why not


# ---- the check -------------------------------------------------------------------------------------


def find(
    interface: str,
    seconds: float,
    counters: Counters | None,
    peer: str | None,
    stamping: Callable[[str], HardwareStamping] = HardwareStamping,
    device: Callable[[str], Device] = Device,
    under: Callable[[str], Sequence[str]] = stamping_devices,
) -> Findings:
    """The findings; ``counters`` are those of a responder that runs here.

    Raises :class:`OSError` when there is no such interface, or the peer cannot be measured.
    """
    findings = Findings(
        interface=interface,
        devices=[_device_row(device(name)) for name in under(interface)],
        granted=None,
        clocks={},
        verdict=False,
        reasons=[],
    )
    try:
        borrowed = stamping(interface)
    except OSError as error:
        findings["reasons"].append(error.strerror or str(error))
        if peer is not None:
            findings["peer"] = _measure(peer, interface)
    else:
        with contextlib.closing(borrowed):
            findings["granted"] = str(borrowed)
            _compare_clocks(borrowed, seconds)
            findings["clocks"] = {
                watched.clock.path: clock_row(watched.model) for watched in borrowed.clocks.values()
            }
            if peer is not None:
                findings["peer"] = _measure(peer, interface)
    if counters is not None:
        findings["responder"] = _of_responder(counters)
    findings["reasons"] += _reasons(findings)
    findings["verdict"] = not findings["reasons"]
    return findings


def _device_row(device: Device) -> DeviceRow:
    capabilities = device.capabilities()
    try:
        setting = str(device.setting())
    except OSError:
        setting = None
    return DeviceRow(
        name=device.name,
        description=described(device),
        offers=[str(one.name).lower() for one in Stamping if one & capabilities.stamping],
        receive_filters=capabilities.filter_names,
        clock=None if capabilities.clock is None else f"/dev/ptp{capabilities.clock}",
        setting=setting,
        missing=capabilities.missing(),
    )


def _compare_clocks(stamping: HardwareStamping, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        stamping.read_clocks()
        time.sleep(READ_EVERY)


def _of_responder(counters: Counters) -> dict[str, Any]:
    return {
        "timestamp_sources": counters["packets"]["timestamp_sources"],
        "refused_stamps": engine_counter(counters["packets"], "refused_stamps"),
        "receive_lag": counters["receive_lag"],
        "t3_error": counters["t3_error"],
    }


def _measure(peer: str, interface: str) -> dict[str, Any]:
    host, port = split_host(peer)
    config = PingConfig(
        interface=interface, hwtstamp="yes", count=PEER_PACKETS, interval=PEER_INTERVAL
    )
    target = Target(host, host, config.control_port if port is None else port)
    try:
        (measurement,) = asyncio.run(Run(config, TwampSessions(config, target)).run())
    except TwampError as error:
        raise OSError(0, f"{peer}: {error}") from None
    return _in_short(measure(measurement))


def _in_short(metrics: Metrics) -> dict[str, Any]:
    delay = metrics.round_trip.delay
    return {
        "sent": metrics.sent,
        "lost": metrics.lost,
        "timestamp_sources": {"T1": metrics.t1_sources, "T4": metrics.t4_sources},
        "round_trip_ns": {"min": delay.minimum, "median": delay.median, "max": delay.maximum},
    }


def _reasons(findings: Findings) -> Iterator[str]:
    """The reasons why stamps are not the card's, or not accurate, although the card can take them."""
    for path, clock in findings["clocks"].items():
        if not clock["readable"]:
            yield f"{path} cannot be compared with the system clock"
        elif 2 * clock["outliers"] > clock["readings"]:
            yield f"{path}: {clock['outliers']} of {clock['readings']} readings do not fit together"
    sources = findings.get("responder", {}).get("timestamp_sources", {}).get("T2", {})
    if findings["granted"] and sum(sources.values()) and not sources["hardware"]:
        yield "the responder has seen packets, and none with a hardware timestamp; is it run with --hwtstamp?"
    if "peer" in findings and findings["peer"]["lost"] == findings["peer"]["sent"]:
        yield "the peer answered nothing"


# ---- the report ------------------------------------------------------------------------------------


def text(findings: Findings) -> Iterator[str]:
    """The findings as lines of text."""
    for device in findings["devices"]:
        yield f"{device['description']}"
        yield f"  offers            {', '.join(device['offers']) or 'no timestamps'}"
        yield f"  receive filters   {', '.join(device['receive_filters']) or '-'}"
        yield f"  clock             {device['clock'] or 'none'}"
        yield f"  set to            {device['setting'] or 'not told'}"
    if findings["granted"]:
        yield f"granted             {findings['granted']}"
    for path, clock in findings["clocks"].items():
        yield from _clock_lines(path, clock)
    if "responder" in findings:
        yield from _responder_lines(findings["responder"])
    if "peer" in findings:
        yield from _peer_lines(findings["peer"])
    if findings["verdict"]:
        yield "verdict: hardware timestamps"
    else:
        yield "verdict: no hardware timestamps"
        yield from (f"  {reason}" for reason in findings["reasons"])


def _clock_lines(path: str, clock: Clock) -> Iterator[str]:
    yield path
    if clock["readable"]:
        yield f"  timescale         {clock['timescale']}"
        yield f"  system clock less {clock['offset_ns']} ns"
        yield f"  drift             {clock['drift_ppb']:+.1f} ppb"
        yield f"  known to          {clock['error_ns']} ns"
    yield (
        f"  readings          {clock['readings']}, of which refused {clock['outliers']}; "
        f"steps {clock['steps']}"
    )


def _responder_lines(responder: dict[str, Any]) -> Iterator[str]:
    lag, error = responder["receive_lag"], responder["t3_error"]
    yield "responder"
    for point, sources in responder["timestamp_sources"].items():
        yield f"  {point} from           {_shares(sources)}"
    yield f"  stamps refused    {responder['refused_stamps']}"
    yield f"  kernel's T2 later {_percentiles(lag)}"
    for greatest, count in lag["histogram"].items():
        share = count / lag["samples"]
        yield f"    to {int(greatest):>11} ns {share:>8.2%} {'#' * round(share * WIDEST_BAR)}"
    yield f"  T3 error          {_percentiles(error)}, told by {error['source'] or 'nobody'}"
    yield f"  not told          {error['missed']} of {error['missed'] + error['samples']} transmit stamps"


def _percentiles(row: dict[str, Any]) -> str:
    if not row["samples"]:
        return "no samples"
    return f"p50 {row['p50_ns']} ns, p99 {row['p99_ns']} ns, max {row['max_ns']} ns of {row['samples']}"


def _peer_lines(peer: dict[str, Any]) -> Iterator[str]:
    delay = peer["round_trip_ns"]
    yield "peer"
    yield f"  packets           {peer['sent']} sent, {peer['lost']} lost"
    for point, sources in peer["timestamp_sources"].items():
        yield f"  {point} from           {_shares(sources)}"
    if delay["median"] is not None:
        yield f"  round trip        min {delay['min']} ns, median {delay['median']} ns, max {delay['max']} ns"


def _shares(sources: dict[str, int]) -> str:
    whole = sum(sources.values())
    shares = (f"{name} {100 * count / whole:.4g} %" for name, count in sources.items() if count)
    return ", ".join(shares) or "no packet"
