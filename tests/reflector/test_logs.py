"""The log: one record, one line, whatever is in it; and no trouble, whatever becomes of its reader."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from twamp.errors import ConfigError
from twamp.reflector.logs import FORMATS, TREES, configure, escape

logger = logging.getLogger("twamp.some.module")
EVIL = "mallory\n2026-01-01 00:00:00,000 INFO all is well\r\x1b[2J\x00\x7f\x85\u2028\u202e\ud800"
LINE_FORMATS = ("text", "journald", "json")
Log = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    loggers = [logging.getLogger(tree) for tree in TREES]
    before = [(one, one.level, one.handlers[:]) for one in loggers]
    yield
    for one, level, handlers in before:
        one.setLevel(level)
        one.handlers[:] = handlers


def lines_of(format: str, log: Callable[[], None], verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    configure(format, verbose, stream)
    log()
    text = stream.getvalue()
    assert not text or text.endswith("\n")
    return text.split("\n")[:-1]


def in_flight(message: str, error: Exception) -> Callable[[], None]:
    def log() -> None:
        try:
            raise error
        except type(error):
            logger.exception(message)

    return log


# ---- formats -------------------------------------------------------------------------------------


def test_text_has_time_level_and_message() -> None:
    (line,) = lines_of("text", lambda: logger.warning("%s of %d", "one", 2))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING one of 2", line)


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.WARNING + 1, 4),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
    ],
)
def test_journald_has_priority_and_message(level: int, priority: int) -> None:
    assert lines_of("journald", lambda: logger.log(level, "x %s", 1), True) == [f"<{priority}>x 1"]


def test_json_has_time_level_logger_message_and_fields() -> None:
    fields = {"client": "192.0.2.1", "sessions": 3, "ratio": 0.5, "user": None, "modes": [1, 2]}
    (line,) = lines_of("json", lambda: logger.info("hello, %s", "wörld", extra={"fields": fields}))
    row = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row.pop("time"))
    assert row == {
        "level": "INFO",
        "logger": "twamp.some.module",
        "message": "hello, wörld",
        **fields,
    }


def test_json_time_is_utc() -> None:
    record = logger.makeRecord(logger.name, logging.INFO, "", 0, "x", (), None)
    record.created = 1_700_000_000.000_125
    (line,) = lines_of("json", lambda: logger.handle(record))
    assert json.loads(line)["time"] == "2023-11-14T22:13:20.000125Z"


def test_debug_takes_verbose() -> None:
    assert lines_of("journald", lambda: logger.debug("x")) == []
    assert lines_of("journald", lambda: logger.debug("x"), verbose=True) == ["<7>x"]
    assert lines_of("journald", lambda: logger.info("x")) == ["<6>x"]


def test_a_further_call_replaces_the_first() -> None:
    first = io.StringIO()
    configure("text", True, first)
    assert lines_of("journald", lambda: logger.info("x")) == ["<6>x"]
    assert first.getvalue() == ""


def test_warnings_of_the_event_loop_come_in_the_same_form() -> None:
    asyncio_logger = logging.getLogger("asyncio")
    assert lines_of("journald", lambda: asyncio_logger.error("x\ny"), True) == ["<3>x\\ny"]
    assert lines_of("journald", lambda: asyncio_logger.info("x"), True) == []


def test_another_format_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"log-format: 'xml' is not one of {', '.join(FORMATS)}"):
        configure("xml", False)


# ---- one record, one line ------------------------------------------------------------------------


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_nothing_in_a_message_ends_its_line_or_reaches_the_terminal(format: str) -> None:
    fields = {EVIL: EVIL, "list": [EVIL, {EVIL: EVIL}]}
    (line,) = lines_of(format, lambda: logger.info("user %s", EVIL, extra={"fields": fields}))
    assert line.isprintable()
    assert "mallory\\n2026" in line
    if format == "json":
        row = json.loads(line)
        assert row["message"] == f"user {EVIL}"
        assert row[EVIL] == EVIL


def test_escape_leaves_what_can_be_printed() -> None:
    assert escape("") == ""
    assert escape("Zoë \\ 'x' %") == "Zoë \\ 'x' %"
    assert escape("a\tb\n\x1b\x9b\ud800\U000e0001") == "a\\tb\\n\\x1b\\x9b\\ud800\\U000e0001"


@pytest.mark.parametrize("format", ["journald", "json"])
def test_an_exception_is_in_the_line(format: str) -> None:
    (line,) = lines_of(format, in_flight("it failed", ValueError(EVIL)))
    assert line.isprintable()
    assert "it failed" in line
    assert "Traceback (most recent call last)" in line
    assert "ValueError: mallory" in line
    if format == "json":
        row = json.loads(line)
        assert row["message"] == "it failed"
        assert row["exception"].splitlines()[0] == "Traceback (most recent call last):"


def test_an_exception_in_text_cannot_pass_for_a_record() -> None:
    first, *others = lines_of("text", in_flight("it failed", ValueError(EVIL)))
    assert first.endswith("ERROR it failed")
    assert any("ValueError: mallory" in line for line in others)
    assert any("all is well" in line for line in others)
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_a_stack_is_shown(format: str) -> None:
    lines = lines_of(format, lambda: logger.info("here", stack_info=True))
    assert any("Stack (most recent call last)" in line for line in lines)
    assert format == "text" or len(lines) == 1


# ---- no trouble ----------------------------------------------------------------------------------


class Hostile:
    """Neither str() nor repr()."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def circle() -> list[Any]:
    result: list[Any] = []
    result.append(result)
    return result


@pytest.mark.parametrize("format", LINE_FORMATS)
@pytest.mark.parametrize(
    ("message", "arguments"),
    [("%d", ("x",)), ("%s %s", (1,)), ("%s", (Hostile(),)), (Hostile(), ()), ("%(a)s", ({},))],
)
def test_a_message_that_cannot_be_made_is_shown_all_the_same(
    format: str, message: Any, arguments: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # for pytest's own handler
    lines = lines_of(format, lambda: logger.error(message, *arguments))
    assert len(lines) == 1
    assert repr(message)[1:-1] in lines[0] if isinstance(message, str) else "Hostile" in lines[0]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (b"\xff", "b'\\xff'"),
        ({1}, "{1}"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (circle(), "[[...]]"),
        (Hostile(), "<Hostile without repr>"),
        ([Hostile()], ["<Hostile without repr>"]),
        ({"a": {b"b"}}, {"a": "{b'b'}"}),
        pytest.param(10**5000, "<int without repr>", id="huge"),
    ],
)
def test_a_field_that_json_lacks_is_its_repr(value: Any, shown: Any) -> None:
    (line,) = lines_of("json", lambda: logger.info("x", extra={"fields": {"field": value}}))
    assert json.loads(line)["field"] == shown


def test_fields_keep_off_the_keys_of_the_log() -> None:
    fields = {"message": 1, "message_": 2, "exception": 3, 4: 5, Hostile(): 6, "time": 7}
    (line,) = lines_of("json", lambda: logger.info("x", extra={"fields": fields}))
    pairs = json.loads(line, object_pairs_hook=list)
    assert [pair[1] for pair in pairs[3:]] == ["x", 1, 2, 3, 5, 6, 7]
    assert len({pair[0] for pair in pairs}) == len(pairs)
    assert json.loads(line)["message"] == "x"


@pytest.mark.parametrize("fields", [[1, 2], "text", 5])
def test_fields_that_are_no_fields_are_shown(fields: Any) -> None:
    (line,) = lines_of("json", lambda: logger.info("x", extra={"fields": fields}))
    assert json.loads(line)["fields"] == fields


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("no")


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_that_is_closed_or_broken_costs_nothing(
    format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, Broken()):
        configure(format, False, stream)
        logger.error("x")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "closing", ["", "import sys; sys.stderr.close()", "import os; os.close(2)"]
)
def test_a_closed_stderr_costs_nothing(format: str, closing: str) -> None:
    """Closed before the start, by Python, and by the system."""
    script = f"""
import logging
from twamp.reflector.logs import configure
configure({format!r}, True)
{closing}
logging.getLogger("twamp").error("x")
print("alive")
"""
    shell = "exec 2>&-; " if not closing else ""
    done = subprocess.run(
        ["/bin/sh", "-c", f'{shell}exec "$0" -c "$1"', sys.executable, script],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"alive\n", b"")


@pytest.mark.parametrize("format", LINE_FORMATS)
def test_a_reader_that_has_gone_costs_nothing(format: str) -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        configure(format, False, stream)
        os.close(reading)
        logger.error("x")
        logger.error("y")


def read_now(descriptor: int) -> str:
    os.set_blocking(descriptor, False)
    octets = b""
    try:
        while more := os.read(descriptor, 1 << 20):
            octets += more
    except BlockingIOError:
        pass
    return octets.decode()


@pytest.mark.parametrize("length", [10, 3000, 30_000])
def test_a_reader_that_does_not_read_is_not_waited_for(length: int) -> None:
    """What finds no room is counted, and no line is mixed into another."""
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "w") as stream:
        configure("journald", False, stream)
        total = 1_000_000 // length
        for number in range(total):
            logger.info("%06d%s", number, "x" * (length - 6))
        lines = read_now(reading).splitlines()
        logger.info("the end")
        after = read_now(reading).splitlines()
    whole = [line for line in lines if len(line) == 3 + length]
    assert 0 < len(whole) < total
    assert [int(line[3:9]) for line in whole] == list(range(len(whole)))
    assert lines[: len(whole)] == whole
    assert len(lines) - len(whole) <= 1  # one may have been broken off, and then ends there
    lost = total - len(whole)
    assert [line for line in after if line] == [
        f"<4>{lost} lines of this log had no room and are lost",
        "<6>the end",
    ]


# ---- auto ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False])
def test_auto_is_journald_when_the_stream_is_the_journals(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with open(reading) as reader, open(writing, "w") as stream:
        status = os.fstat(writing)
        journal = f"{status.st_dev}:{status.st_ino + (not own)}"
        monkeypatch.setenv("JOURNAL_STREAM", journal)
        configure("auto", False, stream)
        logger.info("x")
        line = reader.readline()
    assert (line == "<6>x\n") == own
    assert line.endswith("x\n")


@pytest.mark.parametrize("value", ["", "8:x", "::", "999999999999999999999:1"])
def test_auto_is_text_without_a_journal(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", value)
    (line,) = lines_of("auto", lambda: logger.info("x"))
    assert line.endswith(" INFO x")
