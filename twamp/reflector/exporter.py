"""The responder's counters for Prometheus: ``/metrics`` over HTTP.

Each scrape reads the state once.  The labels are the reasons, events and clock sources that the program
knows, never a SID or an address: their number cannot grow with what clients do.

prometheus-client is an extra (``twamp[metrics]``), imported only when an :class:`Exporter` is made.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, cast

from twamp.engine.statistics import COUNTERS
from twamp.reflector.state import Counters, Lag, ResponderState, T3Error, engine_counter
from twamp.web import WebServer, prometheus_application

if TYPE_CHECKING:
    from prometheus_client import Metric

NS = 1_000_000_000

# ---- the metrics, a row each ---------------------------------------------------------------------

Samples = Mapping[tuple[str, ...], float]  # values of the labels -> value


class MetricRow(NamedTuple):
    """One metric: ``kind`` is "gauge", "counter" or "info"; ``read`` finds its samples in a ResponderState."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[ResponderState], Samples]


def _gauge(name: str, help: str, read: Callable[[ResponderState], float]) -> MetricRow:
    return MetricRow(f"twamp_{name}", "gauge", help, (), lambda state: {(): read(state)})


def _counter(name: str, help: str, read: Callable[[Counters], float]) -> MetricRow:
    return MetricRow(
        f"twamp_{name}_total", "counter", help, (), lambda state: {(): read(state["counters"])}
    )


def _engine_counter(name: str, metric: str, help: str) -> MetricRow:
    """One of those that the reflecting loop counts."""
    return _counter(metric, help, lambda counters: engine_counter(counters["packets"], name))


def _counters_by(
    label: str, name: str, help: str, read: Callable[[Counters], Mapping[str, int]]
) -> MetricRow:
    def samples(state: ResponderState) -> Samples:
        return {(key,): value for key, value in read(state["counters"]).items()}

    return MetricRow(f"twamp_{name}_total", "counter", help, (label,), samples)


def _timestamp_sources(state: ResponderState) -> Samples:
    points = state["counters"]["packets"]["timestamp_sources"]
    return {
        (point, source): packets
        for point, sources in points.items()
        for source, packets in sources.items()
    }


def _t3_errors(state: ResponderState) -> Samples:
    return _percentiles(state["counters"]["t3_error"])


def _receive_lags(state: ResponderState) -> Samples:
    return _percentiles(state["counters"]["receive_lag"])


def _percentiles(row: T3Error | Lag) -> Samples:
    percentiles = {"50": row["p50_ns"], "99": row["p99_ns"], "100": row["max_ns"]}
    return {(percent,): value / NS for percent, value in percentiles.items()}


def _of_clocks(name: str, help: str, key: str, unit: int = 1) -> MetricRow:
    """A gauge of each clock of a network card."""

    def read(state: ResponderState) -> Samples:
        clocks = cast("dict[str, dict[str, float]]", state["counters"]["clocks"])
        return {(path,): row[key] / unit for path, row in clocks.items()}

    return MetricRow(f"twamp_{name}", "gauge", help, ("clock",), read)


METRICS: tuple[MetricRow, ...] = (
    _gauge(
        "server_connections",
        "TWAMP-Control connections that are set up.",
        lambda state: state["status"]["connections"]["current"],
    ),
    _gauge(
        "server_connections_maximum",
        "Most TWAMP-Control connections at once.",
        lambda state: state["status"]["connections"]["maximum"],
    ),
    _gauge(
        "server_connections_handshaking",
        "TCP connections that are being set up.",
        lambda state: state["status"]["handshaking"],
    ),
    _counter(
        "server_connections_accepted",
        "TCP connections accepted.",
        lambda counters: counters["connections"]["accepted"],
    ),
    _counter(
        "server_connections_established",
        "TWAMP-Control connections that were set up.",
        lambda counters: counters["connections"]["established"],
    ),
    _counter(
        "server_connections_ended",
        "TWAMP-Control connections that have ended.",
        lambda counters: counters["connections"]["ended"],
    ),
    _counters_by(
        "reason",
        "server_connections_rejected",
        "TCP connections refused, by reason.",
        lambda counters: counters["connections"]["rejected"],
    ),
    _counter(
        "server_handshake_timeouts",
        "TCP connections ended because their set-up took too long.",
        lambda counters: counters["connections"]["handshake_timeout"],
    ),
    _counter(
        "server_tokens",
        "Tokens of the secured modes that were checked.",
        lambda counters: counters["connections"]["tokens"],
    ),
    _counter(
        "server_token_wait_seconds",
        "Time that clients of the secured modes have waited for the keys of their Tokens.",
        lambda counters: counters["connections"]["token_wait_seconds"],
    ),
    _gauge(
        "server_sessions",
        "Test sessions now.",
        lambda state: state["status"]["sessions"]["current"],
    ),
    _gauge(
        "server_sessions_maximum",
        "Most test sessions at once.",
        lambda state: state["status"]["sessions"]["maximum"],
    ),
    _counter(
        "server_sessions_accepted",
        "Test sessions granted.",
        lambda counters: counters["sessions"]["accepted"],
    ),
    _counter(
        "server_sessions_completed",
        "Test sessions ended by Stop-Sessions.",
        lambda counters: counters["sessions"]["completed"],
    ),
    _counter(
        "server_sessions_aborted",
        "Test sessions ended with their connection, or by REFWAIT.",
        lambda counters: counters["sessions"]["aborted"],
    ),
    _counters_by(
        "reason",
        "server_sessions_rejected",
        "Test sessions refused, by reason.",
        lambda counters: counters["sessions"]["rejected"],
    ),
    _counters_by(
        "event",
        "server_events",
        "Other failures, by name.",
        lambda counters: counters["events"],
    ),
    _counter(
        "reflector_packets_received",
        "Test packets received; each is reflected or dropped.",
        lambda counters: counters["packets"]["received"],
    ),
    _counter(
        "reflector_packets_reflected",
        "Test packets answered.",
        lambda counters: counters["packets"]["reflected"],
    ),
    _counters_by(
        "reason",
        "reflector_packets_dropped",
        "Test packets received and not answered, by reason.",
        lambda counters: counters["packets"]["dropped"],
    ),
    *(_engine_counter(name, row.metric, row.help) for name, row in COUNTERS.items()),
    _gauge(
        "reflector_receive_buffer_bytes",
        "Receive buffer that the kernel granted to the latest socket.",
        lambda state: state["counters"]["packets"]["receive_buffer"],
    ),
    _gauge(
        "reflector_t3_chunk_packets",
        "Replies that leave under one T3, now.",
        lambda state: state["counters"]["packets"]["t3_chunk"],
    ),
    _gauge(
        "reflector_sockets",
        "UDP sockets of test sessions.",
        lambda state: state["counters"]["packets"]["sockets"],
    ),
    MetricRow(
        "twamp_t3_error_seconds",
        "gauge",
        "Delay between the T3 of a reply and its departure, by percentile since the start.",
        ("percentile",),
        _t3_errors,
    ),
    MetricRow(
        "twamp_receive_lag_seconds",
        "gauge",
        "Delay of the kernel's receive stamp after the network card's, by percentile since the start.",
        ("percentile",),
        _receive_lags,
    ),
    _of_clocks("phc_readable", "Whether the clock of a network card can be read.", "readable"),
    _of_clocks(
        "phc_offset_seconds", "The system clock less that of a network card.", "offset_ns", NS
    ),
    _of_clocks(
        "phc_drift_ratio",
        "By how much the system clock runs faster than that of a network card.",
        "drift_ppb",
        NS,
    ),
    _of_clocks(
        "phc_error_seconds",
        "Bound of the error of a network card's stamp as Unix time.",
        "error_ns",
        NS,
    ),
    _gauge(
        "t3_correction_seconds",
        "Correction added to the clock for T3.",
        lambda state: state["counters"]["t3_error"]["correction_ns"] / NS,
    ),
    _counter(
        "transmit_stamps",
        "Replies whose time of departure the kernel reported.",
        lambda counters: counters["t3_error"]["samples"],
    ),
    _counter(
        "transmit_stamps_missed",
        "Replies whose time of departure the kernel was asked for, and did not report.",
        lambda counters: counters["t3_error"]["missed"],
    ),
    _counter(
        "transmit_stamps_early",
        "Replies that left before their T3, by the time that the kernel reported.",
        lambda counters: counters["t3_error"]["early"],
    ),
    MetricRow(
        "twamp_timestamp_packets_total",
        "counter",
        "Test packets by the point of a timestamp and by its source.",
        ("point", "source"),
        _timestamp_sources,
    ),
    _gauge(
        "clock_synchronized",
        "Whether the kernel reports that its clock is synchronized.",
        lambda state: state["status"]["clock_synchronized"],
    ),
    _gauge(
        "start_time_seconds",
        "When the responder started, in Unix time.",
        lambda state: datetime.fromisoformat(state["status"]["started"]).timestamp(),
    ),
    MetricRow(
        "twamp_build_info",
        "info",
        "The version of the responder.",
        ("version",),
        lambda state: {(state["status"]["version"],): 1},
    ),
    MetricRow(
        "twamp_reloads_total",
        "counter",
        "Reloads of the configuration.",
        (),
        lambda state: {(): state["status"]["reloads"]},
    ),
)


def _families(state: ResponderState | None) -> Iterator["Metric"]:
    """The metrics with the samples of ``state``; without one, only their names."""
    from prometheus_client import Metric

    for row in METRICS:
        # prometheus-client names a metric without the suffix that its kind gives to samples.
        name = row.name.removesuffix("_total").removesuffix("_info")
        family = Metric(name, row.help, row.kind)
        samples = {} if state is None else row.read(state)
        for values, value in samples.items():
            family.add_sample(row.name, dict(zip(row.labels, values, strict=True)), value)
        yield family


class Exporter(WebServer):
    """``/metrics`` of a responder.  ``read_state`` gives the parts ``status`` and ``counters``.

    Raises :class:`~twamp.errors.ConfigError`, too, when prometheus-client is not installed.
    """

    def __init__(self, host: str, port: int, read_state: Callable[[], ResponderState]) -> None:
        metrics = prometheus_application(lambda: _families(read_state()), lambda: _families(None))
        super().__init__(host, port, {"/metrics": metrics})
