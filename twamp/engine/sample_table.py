"""The samples of a session as C holds them, 64 octets each, and their columns computed in C."""

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from struct import Struct
from struct import error as StructError
from typing import Any, overload

from twamp.engine.native import ffi, lib
from twamp.metrics.columns import Columns, Errors
from twamp.metrics.figures import Loss, Reordering
from twamp.metrics.sample import Measurement, Sample
from twamp.metrics.values import Distribution
from twamp.protocol.timestamps import ErrorEstimate

# struct tw_sample; the compiler's offsets are compared with it in tests/engine/test_session_sender.py.
SAMPLE_LAYOUT = Struct("=QQQQIIIiHHBBBBB7x")
MOST_SAMPLES = (1 << 32) - 1  # with duplicates: C counts them in 32 bits


class SampleTable(Sequence[Sample]):
    """Samples in C's memory, each unpacked when it is asked for; a slice is a view of the same memory.

    ``memory`` keeps ``rows``, a ``struct tw_sample *``, alive.
    """

    def __init__(self, memory: Any, rows: Any, count: int) -> None:
        self._memory = memory
        self._rows = rows
        self._count = count

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "SampleTable":
        """These samples, copied into C's memory unless they are there; ValueError if one does not fit."""
        if isinstance(samples, SampleTable):
            return samples
        size = SAMPLE_LAYOUT.size
        memory = bytearray(size * len(samples))
        try:
            for place, sample in enumerate(samples):
                SAMPLE_LAYOUT.pack_into(memory, place * size, *sample)
        except StructError as error:
            raise ValueError(f"sample {place}: {error}") from None
        owner = ffi.from_buffer("struct tw_sample[]", memory)
        return cls(owner, ffi.cast("struct tw_sample *", owner), len(samples))

    def __repr__(self) -> str:
        return f"<SampleTable of {self._count}>"

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        octets = ffi.buffer(self._rows, self._count * SAMPLE_LAYOUT.size)
        return map(Sample._make, SAMPLE_LAYOUT.iter_unpack(octets))

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | Sequence[Sample]:
        places = range(self._count)[place]
        if isinstance(places, int):
            octets = ffi.buffer(self._rows + places, SAMPLE_LAYOUT.size)
            return Sample._make(SAMPLE_LAYOUT.unpack(octets))
        if places.step != 1:
            return [self[each] for each in places]
        return SampleTable(self._memory, self._rows + places.start, len(places))

    def __eq__(self, other: object) -> bool:
        """The same samples, in any sequence."""
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment] # C may write to it

    def columns(self, measurement: Measurement) -> Columns | None:
        """Computes in C the columns that :func:`~twamp.metrics.columns.columns_of` gives.

        None where C cannot: sequence numbers that do not ascend, or duplicates that do not fit.
        """
        try:
            duplicates = SampleTable.of(measurement.duplicates)
        except ValueError:
            return None
        room = len(self) + len(duplicates)
        if room > MOST_SAMPLES:
            return None
        begin, end = measurement.reflector_numbers
        scratch = _words(2 * room)
        table = ffi.new(
            "struct tw_table *",
            {
                "samples": self._rows,
                "duplicates": duplicates._rows,
                "scratch": ffi.from_buffer("uint64_t[]", scratch),
                "loss_timeout_ns": measurement.loss_timeout_ns,
                "numbers_begin": begin,
                "numbers_end": -1 if end is None else end,
                "size": len(self),
                "duplicates_size": len(duplicates),
            },
        )
        native = ffi.new("struct tw_columns *")
        values = [_words(len(self)) for _ in range(lib.TW_COLUMN_COUNT)]
        for column, room_of_it in zip(native.columns, values, strict=True):
            column.values = ffi.from_buffer("int64_t[]", room_of_it)
        if lib.tw_columns_fill(table, native) < 0:
            return None
        return _columns(native, values)


def _words(count: int) -> "array[int]":
    return array("q", bytes(8)) * count


def _columns(native: Any, values: Sequence["array[int]"]) -> Columns:
    round_trip, send, reflect, processing, *ipdv, lateness = (
        _distribution(column, each) for column, each in zip(native.columns, values, strict=True)
    )
    is_empty, has_jitter = lateness.count == 0, processing.count > 1
    jitter = [each if has_jitter else None for each in native.jitter]
    return Columns(
        sent=lateness.count,
        first=None if is_empty else native.first,
        last=None if is_empty else native.last,
        delays=(round_trip, send, reflect, processing),
        ipdv=(ipdv[0], ipdv[1], ipdv[2]),
        jitter=(jitter[0], jitter[1], jitter[2]),
        unstamped=native.unstamped,
        clock_back=native.clock_back,
        lateness=lateness,
        loss=Loss(native.late, native.forward, native.reverse, native.unknown),
        send_duplicates=native.send_duplicates,
        reflect_duplicates=native.reflect_duplicates,
        reordering=Reordering(*native.reordered),
        errors=_errors(native) if processing.count else NO_ERRORS,
        sender_ttls=_counts(native.sender_ttls),
        ttls=_counts(native.ttls),
        tos=_counts(native.tos),
        t1_sources=_counts(native.t1_sources),
        t4_sources=_counts(native.t4_sources),
    )


def _distribution(column: Any, values: "array[int]") -> Distribution:
    return Distribution(
        values if column.count == len(values) else values[: column.count],
        total=int.from_bytes(ffi.buffer(column.total), sys.byteorder, signed=True),
        squares=int.from_bytes(ffi.buffer(column.squares), sys.byteorder),
    )


NO_ERRORS = Errors(False, False, None, None, None)


def _errors(native: Any) -> Errors:
    def error_ns(estimate: int) -> int:
        return ErrorEstimate.from_int(estimate).error_ns

    return Errors(
        sender_synchronized=not native.sender_unsynchronized,
        reflector_synchronized=not native.reflector_unsynchronized,
        sender_ns=error_ns(native.sender_error),
        reflector_ns=error_ns(native.reflector_error),
        one_way_ns=sum(map(error_ns, native.sum_error)),
    )


def _counts(native: Any) -> dict[int, int]:
    counts = memoryview(ffi.buffer(native)).cast("Q")
    return {value: count for value, count in enumerate(counts) if count}


def in_table(measurement: Measurement) -> Measurement:
    """The same session with its samples in C's memory, where they fit, to be measured faster."""
    try:
        return replace(measurement, samples=SampleTable.of(measurement.samples))
    except ValueError:
        return measurement
