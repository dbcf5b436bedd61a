"""A file for each summary."""

from dataclasses import replace
from pathlib import Path

import pytest

from twamp.errors import ConfigError
from twamp.metrics.measure import Results
from twamp.ping.summary_files import require_directory, save

NOTHING = Results.of([]).total


def test_the_name_has_the_times_and_the_text_every_piece(tmp_path: Path) -> None:
    metrics = replace(NOTHING, first=7, last=1 << 63)
    path = save(str(tmp_path), metrics, "sum", iter(["a\n", "b\n"]))
    assert path == tmp_path / "00000000000000000007_09223372036854775808.sum"
    assert path.read_text() == "a\nb\n"


def test_without_a_packet_the_times_are_zero(tmp_path: Path) -> None:
    assert save(str(tmp_path), NOTHING, "txt", []).name == f"{0:020d}_{0:020d}.txt"


def test_a_directory_that_is_none_is_refused_before_and_after(tmp_path: Path) -> None:
    require_directory(str(tmp_path))
    file = tmp_path / "file"
    file.touch()
    for name in (str(file), str(tmp_path / "missing")):
        with pytest.raises(ConfigError, match="is no directory that we may write to"):
            require_directory(name)
        with pytest.raises(ConfigError, match="directory: "):
            save(name, NOTHING, "txt", [])
