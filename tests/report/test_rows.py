"""CSV and line protocol: golden files, and what the rows add up to."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.golden import compare
from tests.support.sessions import MS, Fate, a_measurement, a_sample, any_fate, carry, eventful
from twamp.config.ping import PingConfig
from twamp.errors import ConfigError
from twamp.metrics.cut import by_time
from twamp.metrics.measure import Results, measure
from twamp.ping.__main__ import main
from twamp.protocol.timestamps import unix_ns_from_ntp
from twamp.report.rows import csv_lines, figures, influx_lines

POINT = re.compile(r"twamp(?:,(?:[^ ,=\\]|\\.)+=(?:[^ ,=\\]|\\.)+){3} (?:\w+=-?\d+i,?)+ \d{19}\n")


@pytest.mark.parametrize(("name", "bin_ns"), [("whole", 0), ("binned", 300 * MS)])
def test_rows(name: str, bin_ns: int) -> None:
    sessions = [eventful(), eventful()]
    compare(f"rows_{name}.csv", "".join(csv_lines(Results.of(sessions), bin_ns)))
    compare(f"rows_{name}.influx", "".join(influx_lines(Results.of(sessions), bin_ns)))


def test_csv_can_be_read_back() -> None:
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(Results.of([eventful()]), 0)))))
    (row,) = rows
    metrics = measure(eventful())
    assert int(row["sent"]) == metrics.sent
    assert int(row["rtt_p99_ns"]) == metrics.round_trip.delay.percentile(99)
    assert (row["source"], row["session"]) == ("[192.0.2.1]:8760", "0")


def test_what_is_not_known_is_empty_or_left_out() -> None:
    lost = a_measurement([a_sample(number) for number in range(3)])
    (row,) = csv.DictReader(io.StringIO("".join(csv_lines(Results.of([lost]), 0))))
    assert (row["sent"], row["lost"], row["rtt_min_ns"]) == ("3", "3", "")
    (point,) = influx_lines(Results.of([lost]), 0)
    assert "lost=3i" in point
    assert "rtt" not in point
    assert POINT.fullmatch(point)


def test_what_never_left_has_no_row() -> None:
    assert list(by_time(a_measurement([]), 0)) == []
    assert len(list(csv_lines(Results.of([a_measurement([])]), 0))) == 1
    unsent = a_measurement([a_sample(0)._replace(t1_source=0)], send_errors=1)
    assert list(influx_lines(Results.of([unsent]), 5)) == []


@given(st.lists(any_fate, min_size=1, max_size=30), st.integers(1, 8))
def test_bins_add_up_to_the_session(fates: list[Fate], length: int) -> None:
    samples, duplicates = carry(fates)
    session = a_measurement(samples, duplicates)
    bin_ns = length * MS
    cut = list(by_time(session, bin_ns))
    starts = [each.unix_ns for each in cut]
    assert starts == sorted(set(starts))
    for each in cut:
        assert each.unix_ns % bin_ns == 0
        assert all(
            0 <= unix_ns_from_ntp(sample.t1) - each.unix_ns < bin_ns
            for sample in each.measurement.samples
        )
    whole = figures(measure(session))
    parts = [figures(measure(each.measurement)) for each in cut]
    for name in ("sent", "lost", "late", "duplicates_forward", "duplicates_reverse"):
        assert sum(part[name] or 0 for part in parts) == whole[name]
    least = [part["rtt_min_ns"] for part in parts if part["rtt_min_ns"] is not None]
    assert min(least, default=None) == whole["rtt_min_ns"]


def test_a_tag_is_escaped() -> None:
    """A link-local address has its zone behind it; who knows what an interface is called."""
    session = eventful()
    odd = "twamp,destination=[192.0.2.2]:18760,session=0,source=[192.0.2.1]:8760 sent=10i,"
    assert next(influx_lines(Results.of([session]), 0)).startswith(odd)
    assert all(POINT.fullmatch(line) for line in influx_lines(Results.of([session]), 100 * MS))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"csv": True, "json": True}, "json: not with csv"),
        ({"influx": True, "raw": True}, "influx: not with raw"),
        ({"bin": 5}, "bin: only --csv"),
        ({"csv": True, "bin": -1}, "bin: -1 is out of range"),
    ],
)
def test_forms_that_exclude_each_other(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        PingConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["--csv", "--influx"])
def test_twping_writes_them(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--loopback", "-c", "30", "-i", "0.01f", "-L", "0.2", form, "--bin", "0.1"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = lines[1:] if form == "--csv" else lines
    assert 3 <= len(rows) <= 5
    sent = [
        int(row.split(",")[4] if form == "--csv" else re.search(r"sent=(\d+)i", row)[1])  # type: ignore[index]
        for row in rows
    ]
    assert sum(sent) == 30
