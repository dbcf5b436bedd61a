"""Reads a saved run: ``twping report FILE``.

The JSON of ``twping --json --samples`` holds everything, so reports of it are exactly those of the run.
Raw rows (``-R``, also perfSONAR's; an empty line separates sessions) hold the fate of each packet, but not
SID, addresses, loss timeout, nor the sources of the timestamps.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twamp.endpoint import Endpoint
from twamp.errors import ConfigError
from twamp.metrics.incidents import Incidents
from twamp.metrics.sample import Measurement, Sample
from twamp.protocol.timestamps import ErrorEstimate

COLUMNS = 16
USER = 1  # enum tw_source: rows do not name the source
UNKNOWN = Endpoint(ip_address("0.0.0.0"), 0)
NEVER_LATE_NS = 1 << 62  # rows with a reply were in time


@dataclass(frozen=True)
class SavedRun:
    """``configuration`` is that of the run, where the file has it."""

    measurements: Sequence[Measurement]
    configuration: Mapping[str, Any] | None
    said_of_it: str  # a warning: what the file does not hold


def read_saved_run(path: str) -> SavedRun:
    """Reads a file.  ConfigError, with the line, for one that holds no run; OSError if it is unreadable."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    if text.lstrip().startswith("{"):
        return _of_json(path, text)
    return SavedRun(
        _of_rows(path, text.splitlines()),
        None,
        "rows do not say addresses, loss timeouts, nor what took the timestamps",
    )


# ---- JSON ----------------------------------------------------------------------------------------


def samples_tree(measurement: Measurement) -> dict[str, Any]:
    """The samples of a session for its JSON (``--samples``): named columns, and rows."""
    return {
        "timestamps": "ntp64",  # of t1 to t4: 2^-32 s since 1900, other than the "units" of the report
        "loss-timeout": measurement.loss_timeout_ns,
        "columns": list(Sample._fields),
        "rows": [list(sample) for sample in measurement.samples],
        "duplicates": [list(sample) for sample in measurement.duplicates],
    }


def _of_json(path: str, text: str) -> SavedRun:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}; is the file whole?") from None
    try:
        if tree.get("program") != "twping" or "results" not in tree:
            raise ConfigError(f"{path}: this JSON is no report of twping")
        if any("samples" not in result for result in tree["results"]):
            raise ConfigError(f"{path}: it has no packets; save with twping --json --samples")
        measurements = [_session(result, tree.get("ended") or "") for result in tree["results"]]
        return SavedRun(measurements, tree["configuration"], "")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{path}: this is no whole report of twping ({type(error).__name__}: {error})"
        ) from None


def _session(result: Mapping[str, Any], ended: str) -> Measurement:
    packets, saved = result["packets"], result["samples"]
    if saved["columns"] != list(Sample._fields):
        raise ConfigError(f"its columns are {saved['columns']}; ours are {list(Sample._fields)}")
    return Measurement(
        sid=bytes.fromhex(result["sid"]),
        source=_endpoint(result["source"]),
        destination=_endpoint(result["destination"]),
        samples=_samples(saved["rows"]),
        duplicates=_samples(saved["duplicates"]),
        loss_timeout_ns=int(saved["loss-timeout"]),
        drops={str(name): int(count) for name, count in packets["dropped"].items()},
        send_errors=int(packets["send-errors"]),
        incidents=Incidents(
            icmp={str(kind): int(count) for kind, count in packets.get("icmp", {}).items()},
            path_mtu=int(result.get("path-mtu") or 0),
            fragmented=bool(result.get("fragmented")),
            ended=str(ended),
            not_measured=int(packets.get("not-measured", 0)),
        ),
    )


def _endpoint(end: Mapping[str, Any]) -> Endpoint:
    return Endpoint(ip_address(end["address"]), int(end["port"]))


def _samples(rows: Iterable[Sequence[int]]) -> list[Sample]:
    return [Sample(*(int(cell) for cell in row)) for row in rows]


# ---- rows ----------------------------------------------------------------------------------------


def _of_rows(path: str, lines: Sequence[str]) -> list[Measurement]:
    sessions: list[list[tuple[int, list[str]]]] = [[]]
    for number, line in enumerate(lines, 1):
        cells = line.split()
        if cells and not cells[0].startswith("#"):
            if len(cells) != COLUMNS:
                raise ConfigError(
                    f"{path}, line {number}: {len(cells)} columns; a row of twping -R has {COLUMNS}"
                )
            sessions[-1].append((number, cells))
        elif not cells and sessions[-1]:
            sessions.append([])
    measurements = [_of_session(path, rows, place) for place, rows in enumerate(sessions) if rows]
    if not measurements:
        raise ConfigError(
            f"{path}: there is no row in it; save with twping -R, or --json --samples"
        )
    return measurements


def _of_session(path: str, rows: Sequence[tuple[int, list[str]]], place: int) -> Measurement:
    first: dict[int, Sample] = {}
    duplicates = []
    for rank, (number, cells) in enumerate(rows, 1):
        try:
            sample = _sample(cells, rank)
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        if sample.sequence_number not in first:
            first[sample.sequence_number] = sample
        elif sample.rank and first[sample.sequence_number].rank:
            duplicates.append(sample)
        else:
            raise ConfigError(
                f"{path}, line {number}: packet {sample.sequence_number} is lost, and is not"
            )
    return Measurement(
        sid=place.to_bytes(16, "big"),
        source=UNKNOWN,
        destination=UNKNOWN,
        samples=[first[number] for number in sorted(first)],
        duplicates=duplicates,
        loss_timeout_ns=NEVER_LATE_NS,
    )


def _sample(cells: Sequence[str], rank: int) -> Sample:
    """A row: SSEQ STIME SS SERR SRTIME SRS SRERR STTL RSEQ RSTIME RSS RSERR RTIME RS RERR RTTL."""
    sequence, reflector_sequence = (_integer(cells[place], 1 << 32) for place in (0, 8))
    t1, t2, t3, t4 = (_integer(cells[place], 1 << 64) for place in (1, 4, 9, 12))
    is_lost = t4 == 0
    return Sample(
        t1=t1,
        t2=t2,
        t3=t3,
        t4=t4,
        sequence_number=sequence,
        reflector_sequence_number=reflector_sequence,
        rank=0 if is_lost else rank,
        lateness_ns=0,
        sender_error_estimate=_estimate(cells[2], cells[3]),
        reflector_error_estimate=0 if is_lost else _estimate(cells[5], cells[6]),
        sender_ttl=_integer(cells[7], 256),
        ttl=_integer(cells[15], 256),
        tos=0,
        t1_source=USER,
        t4_source=0 if is_lost else USER,
    )


def _integer(cell: str, end: int) -> int:
    if not cell.isascii() or not cell.isdecimal() or int(cell) >= end:
        raise ValueError(f"{cell!r} is no whole number below {end}")
    return int(cell)


def _estimate(synchronized: str, seconds: str) -> int:
    """The Error Estimate of a printed error (six digits); an unknown error gives the largest."""
    try:
        error = float(seconds)
    except ValueError:
        raise ValueError(f"{seconds!r} is no error in seconds") from None
    if synchronized not in ("0", "1"):
        raise ValueError(f"{synchronized!r} is no synchronised bit, 0 or 1")
    if not math.isfinite(error) or error < 0:
        return int(ErrorEstimate(synchronized == "1", False, 63, 255))
    units = error * 2.0**32
    scale = min(max(0, math.frexp(units)[1] - 8), 63)
    multiplier = min(max(round(units / 2.0**scale), 1), 255)
    return int(ErrorEstimate(synchronized == "1", False, scale, multiplier))
