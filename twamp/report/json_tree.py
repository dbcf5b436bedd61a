"""A run as a tree of JSON; times are integer nanoseconds, and unknown figures are null."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from twamp.endpoint import Endpoint
from twamp.metrics.figures import Delay, Hops, Metrics, Reordering
from twamp.metrics.measure import Results
from twamp.metrics.threshold import Failure
from twamp.metrics.validity import Validity
from twamp.metrics.values import Values
from twamp.protocol.timestamps import unix_ns_from_ntp
from twamp.report.saved_run import samples_tree

JSON_PERCENTILES = (Decimal(50), Decimal(90), Decimal(95), Decimal(99), Decimal("99.9"))
DEFINITIONS: Mapping[str, str] = {
    "percentiles": "nearest rank: values that occurred",
    "round-trip-time": "(T4-T1)-(T3-T2)",
    "send-time": "T2-T1",
    "reflect-time": "T4-T3",
    "pdv": "P95-P50",
    "pdv-rfc5481": "delay less the least delay of the session",
    "ipdv-rfc3393": "delay less that of the packet sent just before",
    "jitter-rfc3550": "RFC 3550 section 6.4.1, in the order of arrival, after the last packet",
    "stddev": "of the values measured (population)",
    "sending-lateness": "T1 as read before the send, less the scheduled time",
    "reordered": "RFC 4737 Type-P-Reordered",
    "lost": "by direction as far as the reflector's numbers tell",
}


def json_tree(
    results: Results,
    *,
    version: str,
    configuration: Mapping[str, Any],
    percentiles: Sequence[Decimal] = (),
    with_samples: bool = False,
) -> dict[str, Any]:
    """A finite run as a tree; ``json.dumps`` takes it."""
    return {
        "program": "twping",
        "version": version,
        "units": "ns",
        "definitions": dict(DEFINITIONS),
        "configuration": dict(configuration),
        "ended": results.ended or None,
        "results": [
            {
                "sid": measurement.sid.hex(),
                "source": _json_end(measurement.source),
                "destination": _json_end(measurement.destination),
                "path-mtu": measurement.incidents.path_mtu or None,
                "fragmented": measurement.incidents.fragmented,
                **metrics_tree(metrics, percentiles),
                **({"samples": samples_tree(measurement)} if with_samples else {}),
            }
            for measurement, metrics in zip(results.measurements, results.metrics, strict=True)
        ],
        "total": metrics_tree(results.total, percentiles),
    }


def _json_end(endpoint: Endpoint) -> dict[str, Any]:
    return {"address": str(endpoint.address), "port": endpoint.port}


def metrics_tree(metrics: Metrics, percentiles: Sequence[Decimal]) -> dict[str, Any]:
    """All figures, of a session, of a run or of an interval: ``$defs/metrics`` of the schema."""
    wanted = sorted({*JSON_PERCENTILES, *percentiles})
    return {
        "packets": {
            "time-of-first": _json_time(metrics.first),
            "time-of-last": _json_time(metrics.last),
            "num-pkts-sent": metrics.sent,
            "num-pkts-received": metrics.received,
            "num-pkts-lost": metrics.lost,
            "send-duplicates": metrics.send_duplicates,
            "reflect-duplicates": metrics.reflect_duplicates,
            "send-errors": metrics.send_errors,
            "not-measured": metrics.not_measured,
            **({} if metrics.stalls is None else {"stalls": metrics.stalls}),
            "lost": metrics.loss._asdict(),
            "reordered": _json_reordering(metrics.reordering),
            "icmp": dict(metrics.icmp),
            "dropped": {name: count for name, count in metrics.drops.items() if count},
        },
        "round-trip-time": _json_delay(metrics.round_trip, wanted),
        "send-time": _json_delay(metrics.send, wanted),
        "reflect-time": _json_delay(metrics.reflect, wanted),
        "reflector-processing-time": _json_values(metrics.processing, wanted),
        "sending-lateness": _json_values(metrics.lateness, wanted),
        "send-hops": _json_hops(metrics.send_hops),
        "reflect-hops": _json_hops(metrics.reflect_hops),
        "synchronized": {
            "sender": metrics.sender_synchronized,
            "reflector": metrics.reflector_synchronized,
            "clocks-apart": metrics.clocks_apart,
        },
        "validity": _json_validity(Validity.of(metrics)),
        "error-estimates": {
            "sender": metrics.sender_error_ns,
            "reflector": metrics.reflector_error_ns,
        },
        "reflect-dscp": {str(value): count for value, count in metrics.reflect_dscp.items()},
        "reflect-ecn": {str(value): count for value, count in metrics.reflect_ecn.items()},
        "timestamp-sources": {"t1": dict(metrics.t1_sources), "t4": dict(metrics.t4_sources)},
    }


def _json_validity(validity: Validity) -> dict[str, Any]:
    return {
        "negative-round-trips": validity.negative_round_trips,
        "negative-residences": validity.negative_residences,
        "unstamped": validity.unstamped,
        "clock-set-back": validity.clock_back,
        "doubt-of-delays": validity.delays or None,
        "doubt-of-one-way": validity.one_way or None,
    }


def failures_tree(failures: Sequence[Failure]) -> dict[str, Any]:
    """The thresholds that failed, as the user wrote them, and why each did."""
    return {
        "failed": [str(failure.threshold) for failure in failures],
        "failed-because": [str(failure) for failure in failures],
    }


def _json_time(timestamp: int | None) -> int | None:
    return None if timestamp is None else unix_ns_from_ntp(timestamp)


def _json_reordering(reordering: Reordering) -> dict[str, int]:
    return {
        "round-trip": reordering.round_trip,
        "forward": reordering.forward,
        "reverse": reordering.reverse,
    }


def _json_hops(hops: Hops) -> dict[str, int | None]:
    return {"diff-num-ttl": hops.distinct, "min": hops.minimum, "max": hops.maximum}


def _json_delay(kind: Delay, percentiles: Sequence[Decimal]) -> dict[str, Any]:
    return {
        **_json_values(kind.delay, percentiles),
        "error": kind.error_ns,
        "pdv": kind.delay.p95_p50,
        "jitter-rfc3550": kind.jitter,
        "pdv-rfc5481": _json_values(kind.pdv, percentiles),
        "ipdv-rfc3393": _json_values(kind.ipdv, percentiles),
    }


def _json_values(values: Values, percentiles: Sequence[Decimal]) -> dict[str, Any]:
    return {
        "min": values.minimum,
        "median": values.median,
        "max": values.maximum,
        "mean": values.mean,
        "stddev": values.standard_deviation,
        "percentiles": {f"{each:f}": values.percentile(Fraction(each)) for each in percentiles},
    }
