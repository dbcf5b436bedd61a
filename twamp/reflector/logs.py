"""The log: its formats for people, for the journal and for programs, and its limits.

Much of the log comes from the network, so nothing in a record can end its line or move a terminal's
cursor; and no record, reader or descriptor can stop the program.
"""

import datetime
import json
import logging
import os
import select
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from twamp.errors import ConfigError

FORMATS = ("auto", "text", "journald", "json")
# asyncio's warnings belong to this program, too.
TREES = ("twamp", "asyncio")
# Level, and the priority of sd-daemon(3) for it and what is above.
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
DEBUG_PRIORITY = 7
JSON_KEYS = ("time", "level", "logger", "message", "exception")
LINES_AT_ONCE = 100  # of one kind that a Limiter lets through after a quiet time
LINES_A_SECOND = 5  # and from then on

logger = logging.getLogger("twamp.logs")


def configure(format: str, verbose: bool, stream: TextIO | None = None) -> None:
    """Sends the log to ``stream`` (None: ``sys.stderr``), from INFO on, or from DEBUG if ``verbose``.

    ``format`` is one of ``FORMATS``: "text" has time, level and message; "journald" the priority as ``<N>``,
    and no time; "json" is an object a line with time, level, logger, message, exception, and what
    ``extra={"fields": {...}}`` has; "auto" is "journald" when stderr is the journal's, else "text".  A further
    call replaces the one before.  Raises :class:`~twamp.errors.ConfigError` for another format.
    """
    if format not in FORMATS:
        raise ConfigError(f"log-format: {format!r} is not one of {', '.join(FORMATS)}")
    stream = sys.stderr if stream is None else stream
    if format == "auto":
        format = "journald" if _is_journal(stream) else "text"
    handler = LineHandler(stream)
    handler.setFormatter(_FORMATTERS[format]())
    # No format shows these, so they need not be looked up for every line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for tree, level in zip(
        TREES, (logging.DEBUG if verbose else logging.INFO, logging.WARNING), strict=True
    ):
        logger = logging.getLogger(tree)
        logger.setLevel(level)
        for old in [old for old in logger.handlers if isinstance(old, LineHandler)]:
            logger.removeHandler(old)
        logger.addHandler(handler)


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # not of the system; closed
        return None


def _is_journal(stream: TextIO | None) -> bool:
    """Whether the stream still is the one that systemd connected to the journal."""
    descriptor = _descriptor(stream)
    if descriptor is None:
        return False
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


# ---- output --------------------------------------------------------------------------------------


class LineHandler(logging.Handler):
    """Writes records to a stream if it has room for them; never waits or raises.

    Lines without room are lost; the next line that has room is preceded by their number.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream
        self._lost = 0
        self._broken = False  # the last line ended too early
        self._descriptor = _descriptor(stream)
        self._poll = select.poll()
        if self._descriptor is not None:
            self._poll.register(self._descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._lost and self._write_line(self._format_lost()):
                self._lost = 0
            if self._lost or not self._write_line(self.format(record)):
                self._lost += 1
        except Exception:
            self._lost += 1

    def handleError(self, record: logging.LogRecord) -> None:
        """Does nothing: an error of the log has nowhere to go."""

    def _format_lost(self) -> str:
        text = f"{self._lost} lines of this log had no room and are lost"
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, text, None, None))

    def _write_line(self, line: str) -> bool:
        """False: there was no room for all of it."""
        if self._stream is None or self._stream.closed:
            return True  # the descriptor may be of another file by now
        if self._descriptor is None:
            self._stream.write(line + "\n")
            self._stream.flush()
            return True
        octets = ("\n" * self._broken + line + "\n").encode("utf-8", "backslashreplace")
        while octets and self._poll.poll(0):
            # Where poll() sees room, there is room for PIPE_BUF.
            octets = octets[os.write(self._descriptor, octets[: select.PIPE_BUF]) :]
            self._broken = bool(octets)
        return not octets


# ---- limits --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Kind:
    """The lines of one kind: how many had room at ``moment``, and how many were left out since the report."""

    moment: float
    room: float = LINES_AT_ONCE
    left_out: int = 0
    last: logging.LogRecord | None = None


class Limiter(logging.Filter):
    """Limits the lines of loggers that log what clients do, so that a flood of clients is no flood of lines.

    A kind of line is a message before its values are filled in.  Of each kind ``LINES_AT_ONCE`` pass, and
    ``LINES_A_SECOND`` from then on; :meth:`report`, to be called every second or so, logs how many others
    there were.  Lines of level DEBUG always pass.

    For loggers of one thread.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._loggers = [logging.getLogger(name) for name in names]
        self._kinds: dict[str, _Kind] = {}
        for limited in self._loggers:
            limited.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return True
        now = record.created
        kind = self._kinds.setdefault(str(record.msg), _Kind(now))
        passed = max(0.0, now - kind.moment)  # the system clock may step back
        kind.room = min(LINES_AT_ONCE, kind.room + passed * LINES_A_SECOND)
        kind.moment = now
        if kind.room < 1:
            kind.left_out += 1
            kind.last = record
            return False
        kind.room -= 1
        return True

    def report(self) -> None:
        """Logs how many lines were left out since the last report, if any."""
        for kind in self._kinds.values():
            if kind.last is not None:
                logger.log(
                    kind.last.levelno,
                    "%d lines left out, the last: %s",
                    kind.left_out,
                    message_of(kind.last),
                    extra={"fields": {"event": "lines_left_out", "count": kind.left_out}},
                )
                kind.left_out, kind.last = 0, None

    def close(self) -> None:
        """Reports for the last time; from now on all lines pass."""
        for limited in self._loggers:
            limited.removeFilter(self)
        self.report()


# ---- formats -------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """``text`` in one line and without control characters, line ends and such, each as in Python source."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def message_of(record: logging.LogRecord) -> str:
    """The message; one whose arguments do not fit it is shown as it is."""
    try:
        return record.getMessage()
    except Exception:
        return f"{_repr(record.msg)} % {_repr(record.args)}"


def exception_of(record: logging.LogRecord) -> str:
    """The traceback or the stack of a record; empty if it has none."""
    parts = []
    try:
        if record.exc_info and record.exc_info[0] is not None:
            parts.append("".join(traceback.format_exception(*record.exc_info)))
        elif record.exc_text:
            parts.append(record.exc_text)
    except Exception as error:
        parts.append(f"an exception that cannot be shown: {_repr(error)}")
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(part.rstrip("\n") for part in parts)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} without repr>"


class TextFormatter(logging.Formatter):
    """Local time, level, message; the lines of a traceback are indented, so that none passes for a record."""

    def format(self, record: logging.LogRecord) -> str:
        lines = [f"{self.formatTime(record)} {record.levelname} {escape(message_of(record))}"]
        lines += ["    " + escape(line) for line in exception_of(record).splitlines()]
        return "\n".join(lines)


class JournaldFormatter(logging.Formatter):
    """Priority and message; the journal has a time of its own."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(
            (priority for level, priority in PRIORITIES if record.levelno >= level), DEBUG_PRIORITY
        )
        text = message_of(record)
        if exception := exception_of(record):
            text += f"\n{exception}"
        return f"<{priority}>{escape(text)}"


class JsonFormatter(logging.Formatter):
    """One object; a field that has the name of a key of ours gets ``_`` after it."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        row = {
            "time": time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": message_of(record),
        }
        if exception := exception_of(record):
            row["exception"] = exception
        members = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in row.items()]
        members += _members(getattr(record, "fields", None))
        return "{" + ", ".join(members) + "}"


def _members(fields: Any) -> list[str]:
    """``"key": value`` of each field, with the repr of what JSON does not have."""
    if fields is None:
        return []
    try:
        pairs = dict(fields) if isinstance(fields, Mapping) else {"fields": fields}
    except Exception:
        pairs = {"fields": fields}
    members: dict[str, str] = {}
    for key, value in pairs.items():
        name = key if isinstance(key, str) else _repr(key)
        while name in JSON_KEYS or name in members:
            name += "_"
        try:
            members[name] = json.dumps(value, default=_repr, allow_nan=False)
        except Exception:  # a circle, NaN, a key that is no text, …
            members[name] = json.dumps(_repr(value))
    return [f"{json.dumps(name)}: {text}" for name, text in members.items()]


_FORMATTERS: dict[str, type[logging.Formatter]] = {
    "text": TextFormatter,
    "journald": JournaldFormatter,
    "json": JsonFormatter,
}
