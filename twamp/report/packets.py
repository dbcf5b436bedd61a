"""A run packet by packet: raw rows (``-R``) and lines (``-v``), as perfSONAR's twping writes them."""

from collections import deque
from collections.abc import Iterator

from twamp.metrics.sample import Measurement, Sample, delays, is_late, is_stamped
from twamp.protocol.timestamps import ErrorEstimate, difference_ns, unix_ns_from_ntp
from twamp.report.units import Style


def packets(measurement: Measurement) -> Iterator[tuple[Sample, bool]]:
    """Every reply, copies too, and every lost packet, in the order in which its fate was known.

    Replies stand in the order of arrival: programs that read the rows take reordering from it, as they
    do with the reference's.  A lost packet stands where its loss timeout ran out.  Late replies, their
    copies, and packets that never left are left out.  The flag is true for a lost packet.
    """
    timeout_ns = measurement.loss_timeout_ns
    sent = [sample for sample in measurement.samples if sample.t1_source]
    waiting = deque(sample for sample in sent if not sample.rank or is_late(sample, timeout_ns))
    lost = {sample.sequence_number for sample in waiting}
    replies = (
        sample for sample in (*sent, *measurement.duplicates) if sample.sequence_number not in lost
    )
    for reply in sorted(replies, key=lambda sample: sample.rank):
        while waiting and difference_ns(reply.t4, waiting[0].t1) > timeout_ns:
            yield waiting.popleft(), True
        yield reply, False
    yield from ((sample, True) for sample in waiting)


_NO_REPLY = (f"{0:020d}", 0, 0)


def raw_rows(measurement: Measurement) -> Iterator[str]:
    """A row for each of :func:`packets`; a lost one has zeros in all but the first four columns.

    The 16 are SSEQ STIME SS SERR SRTIME SRS SRERR STTL RSEQ RSTIME RSS RSERR RTIME RS RERR RTTL:
    number, T1, T2 and TTL on the way there, number, T3, T4 and TTL on the way back; behind each time
    its synchronised bit and its error in seconds.
    """
    for sample, lost in packets(measurement):
        here = ErrorEstimate.from_int(sample.sender_error_estimate)
        there = ErrorEstimate.from_int(sample.reflector_error_estimate)
        columns: tuple[object, ...] = (sample.sequence_number, *_raw_time(sample.t1, here))
        if lost:
            columns += (*_NO_REPLY, 0, 0, *_NO_REPLY, *_NO_REPLY, 0)
        else:
            columns += (
                *_raw_time(sample.t2, there),
                sample.sender_ttl,
                sample.reflector_sequence_number,
                *_raw_time(sample.t3, there),
                *_raw_time(sample.t4, here),
                sample.ttl,
            )
        yield " ".join(map(str, columns))


def _raw_time(timestamp: int, estimate: ErrorEstimate) -> tuple[str, int, str]:
    """A time, its synchronised bit and its error in seconds."""
    error = estimate.multiplier * 2.0 ** (estimate.scale - 32)
    return f"{timestamp:020d}", int(estimate.synchronized), f"{error:g}"


def packet_lines(measurement: Measurement, style: Style) -> Iterator[str]:
    """The delays of each packet, as the reference's ``-v`` writes them."""
    for sample, lost in packets(measurement):
        if lost:
            yield f"seq_no={sample.sequence_number:<10} *LOST*"
        else:
            yield _packet_line(sample, style)


def _packet_line(sample: Sample, style: Style) -> str:
    unit, name = style.unit, style.unit.name
    if not is_stamped(sample):
        return f"seq_no={sample.sequence_number:<10} *NO TIMESTAMP*"
    one = delays(sample)
    error_ns = 2 * sum(
        ErrorEstimate.from_int(estimate).error_ns
        for estimate in (sample.sender_error_estimate, sample.reflector_error_estimate)
    )
    values = {
        "fwd_delay": one.send,
        "bck_delay": one.reflect,
        "delay": one.round_trip,
        "proc_delay": one.processing,
    }
    error = f"(err={unit.text(error_ns)} {name})"
    if not style.unix_time:
        shown = " ".join(f"{key}={unit.text(value)} {name}" for key, value in values.items())
        return f"seq_no={sample.sequence_number:<10} {shown}\t{error}"
    shown = " ".join(f"{key}={value / unit.ns:e} {name}" for key, value in values.items())
    sent, received, reflected, returned = map(
        unix_time, (sample.t1, sample.t2, sample.t3, sample.t4)
    )
    return (
        f"seq_no={sample.sequence_number} {shown} {error} "
        f"sent={sent} recv={received} reflected={reflected} recv={returned}"
    )


def unix_time(timestamp: int) -> str:
    """Unix seconds to the microsecond."""
    seconds, us = divmod((unix_ns_from_ntp(timestamp) + 500) // 1000, 1_000_000)
    return f"{seconds}.{us:06d}"
