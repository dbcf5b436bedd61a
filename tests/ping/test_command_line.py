"""What twping's command line asks for."""

import pytest

from twamp.config.readers import MOST_PACKETS
from twamp.config.target import Target
from twamp.ping.command_line import read_command_line


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
