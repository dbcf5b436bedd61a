"""The reference's ``-M``: a key, a tab and a value in each line; times in seconds.

Keys, order and formats are the reference's, buckets included, so that its readers take ours.  Two
things are better: the medians and PDV are exact, not the end of a bucket, and SYNC is the truth.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from twamp.endpoint import Endpoint
from twamp.metrics.figures import Hops, Metrics
from twamp.metrics.sample import INITIAL_TTL, Measurement
from twamp.metrics.values import Distribution, Values
from twamp.protocol.timestamps import NS, interval_from_ns
from twamp.report.packets import unix_time

SUMMARY_VERSION = "3.00"  # of the format
NO_TTL = (255, 0)  # least and most of none, as the reference writes them


def machine_summary(
    measurement: Measurement,
    metrics: Metrics,
    *,
    unix_times: bool = False,
    dscp: int,
    padding_length: int,
    bucket_width: Decimal,
) -> str:
    """The summary of a session, or of a part of one; ``bucket_width`` in seconds.

    SESSION_FINISHED is always 1: the session has ended, and the reference writes 1 after an interrupt,
    too.
    """
    count = len(measurement.samples)
    pairs: list[tuple[str, object]] = [
        ("SUMMARY", SUMMARY_VERSION),
        ("SID", measurement.sid.hex()),
        *_end("FROM", measurement.source, measurement.source_host),
        *_end("TO", measurement.destination, measurement.destination_host),
        ("START_TIME", f"{metrics.first or 0:020d}"),
        ("END_TIME", f"{metrics.last or 0:020d}"),
    ]
    if unix_times and metrics.first is not None and metrics.last is not None:
        pairs += [
            ("UNIX_START_TIME", unix_time(metrics.first)),
            ("UNIX_END_TIME", unix_time(metrics.last)),
        ]
    pairs += [
        ("DSCP", f"0x{dscp:02x}"),
        ("LOSS_TIMEOUT", interval_from_ns(measurement.loss_timeout_ns)),
        ("PACKET_PADDING", padding_length),
        ("SESSION_PACKET_COUNT", measurement.packets_of_session or count),
        ("SAMPLE_PACKET_COUNT", count),
        ("BUCKET_WIDTH", f"{float(bucket_width):g}"),
        ("SESSION_FINISHED", 1),
        *_counts(metrics),
        *_delays(metrics),
    ]
    lines = [f"{key}\t{value}\n" for key, value in pairs]
    lines += _block("BUCKETS", _buckets(metrics, bucket_width))
    lines += _ttls("_FWD", metrics.send_hops)
    lines += _ttls("_BCK", metrics.reflect_hops)
    lines += _block("TTLBUCKETS", _ttl_buckets(metrics))
    return "".join(lines) + "\n"


def _seconds(ns: int) -> str:
    return f"{ns / NS:g}"


def _end(prefix: str, endpoint: Endpoint, host: str) -> Iterator[tuple[str, object]]:
    yield f"{prefix}_HOST", host or endpoint.address
    yield f"{prefix}_ADDR", endpoint.address
    yield f"{prefix}_PORT", endpoint.port


def _counts(metrics: Metrics) -> Iterator[tuple[str, object]]:
    yield "SENT", metrics.sent
    yield "SYNC", int(metrics.synchronized)
    yield "MAXERR", _seconds(metrics.round_trip.error_ns or 0)
    yield "MAXERR_FWD", _seconds(metrics.send.error_ns or 0)
    yield "MAXERR_BCK", _seconds(metrics.reflect.error_ns or 0)
    yield "DUPS_FWD", metrics.send_duplicates
    yield "DUPS_BCK", metrics.reflect_duplicates
    yield "LOST", metrics.lost


def _delays(metrics: Metrics) -> Iterator[tuple[str, object]]:
    """The lines of delays; an unknown delay has none."""
    kinds = {
        "": metrics.round_trip.delay,
        "_FWD": metrics.send.delay,
        "_BCK": metrics.reflect.delay,
        "_PROC": metrics.processing,
    }
    for key, name in (
        ("MIN", "minimum"),
        ("MEDIAN", "median"),
        ("MAX", "maximum"),
        ("PDV", "p95_p50"),
    ):
        for suffix, values in kinds.items():
            value = getattr(values, name)
            if value is not None and (suffix != "_PROC" or key in ("MIN", "MAX")):
                yield key + suffix, _seconds(value)


def _ttls(suffix: str, hops: Hops) -> Iterator[str]:
    least, most = NO_TTL
    if hops.minimum is not None and hops.maximum is not None:
        least, most = INITIAL_TTL - hops.maximum, INITIAL_TTL - hops.minimum
    yield f"MINTTL{suffix}\t{least}\n"
    yield f"MAXTTL{suffix}\t{most}\n"


# ---- tables --------------------------------------------------------------------------------------


def _block(name: str, rows: Iterable[tuple[int, ...]]) -> list[str]:
    """A table between two tags; nothing at all where it has no rows."""
    lines = ["".join(f"\t{value}" for value in row) + "\n" for row in rows]
    return [f"<{name}>\n", *lines, f"</{name}>\n"] if lines else []


def _buckets(metrics: Metrics, width: Decimal) -> Iterator[tuple[int, ...]]:
    """Bucket, and how many round trips, send times and reflect times it has."""
    width_ns = Fraction(width) * NS
    columns = [
        _histogram(kind.delay, width_ns)
        for kind in (metrics.round_trip, metrics.send, metrics.reflect)
    ]
    # In the reference's order, the negative ones come last.
    for bucket in sorted(set().union(*columns), key=lambda number: (number < 0, number)):
        yield (bucket, *(column[bucket] for column in columns))


def _histogram(delay: Values, width_ns: Fraction) -> Counter[int]:
    """How many values each bucket has: number n ends n widths away from 0, n < 0 below it."""
    counts: Counter[int] = Counter()
    assert isinstance(delay, Distribution)  # of a finite run
    values = delay.values
    place = 0
    while place < len(values):
        widths = -(-abs(values[place]) // width_ns)
        bucket = widths if values[place] >= 0 else -widths
        # The last value of the bucket: below 0 the next bucket begins nearer to it.
        last = floor(bucket * width_ns) if bucket >= 0 else ceil((bucket + 1) * width_ns) - 1
        end = bisect_right(values, last, place)
        counts[bucket] += end - place
        place = end
    return counts


def _ttl_buckets(metrics: Metrics) -> Iterator[tuple[int, ...]]:
    """TTL, and how many packets arrived with it at the reflector and back here."""
    there, back = metrics.send_hops.counts, metrics.reflect_hops.counts
    for hops in sorted({*there, *back}, reverse=True):
        yield INITIAL_TTL - hops, there.get(hops, 0), back.get(hops, 0)
