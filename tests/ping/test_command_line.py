"""What twping's command line asks for."""

from pathlib import Path

import pytest

from twamp.config.readers import MOST_PACKETS
from twamp.config.target import Target
from twamp.errors import ConfigError
from twamp.ping.command_line import (
    OF_REPORTS,
    parse,
    read_command_line,
    read_report_command_line,
    targets_of,
)


def test_target_has_the_control_port_unless_the_host_names_one() -> None:
    assert read_command_line(["h"])[1] == Target("h", "h", 862)
    assert read_command_line(["h", "--control-port", "1"])[1] == Target("h", "h", 1)
    assert read_command_line(["h:2", "--control-port", "1"])[1] == Target("h", "h", 2)
    assert read_command_line(["h", "[::1]:3"])[1] == Target("h", "::1", 3)
    assert read_command_line(["--loopback"])[1] is None


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["-v", "h"], MOST_PACKETS),
        (["-v7", "h"], 7),
        (["--verbose", "h"], MOST_PACKETS),
        (["h"], 0),
    ],
)
def test_v_never_takes_the_host(arguments: list[str], shown: int) -> None:
    config, target = read_command_line(arguments)
    assert config.verbose == shown
    assert target == Target("h", "h", 862)


def test_a_report_of_a_saved_run_takes_every_option_of_reports_and_no_other() -> None:
    expected = {
        *("json", "samples", "csv", "influx", "bin", "raw", "machine", "bucket_width", "plot"),
        *("fail", "packets_per_summary", "save_summaries", "directory", "verbose", "unix_time"),
        *("units", "quiet", "percentiles", "trust_clocks"),
    }
    assert expected == OF_REPORTS
    config, file = read_report_command_line(["run.json", "--csv"])
    assert (config.csv, file) == (True, "run.json")
    with pytest.raises(ConfigError, match="count: twping report measures nothing"):
        read_report_command_line(["run.json", "-c", "3"])
    with pytest.raises(ConfigError, match="takes one file"):
        read_report_command_line(["run.json", "other.json"])


def test_a_file_of_targets_and_a_host_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "targets.toml"
    path.write_text('[target.x]\nhost = "192.0.2.1"\n')
    targets = targets_of(parse(["--config", str(path), "--json", "-s", "99"]))
    assert targets.options.json
    assert [target.config.padding for target in targets.targets] == [99]
    with pytest.raises(ConfigError, match="the targets are in the file"):
        targets_of(parse(["--config", str(path), "192.0.2.1"]))
