"""The file of targets: what goes before what, and where an error is."""

import re
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest

from twamp.config.row import Given
from twamp.errors import ConfigError
from twamp.monitor.probe import check_module
from twamp.monitor.targets import OF_A_TARGET, OF_THE_PROGRAM, Targets, read_targets

FILE = """
report-interval = 10
padding = 100
loss-timeout = 3

[module.voice]
interval = "0.02f"
dscp = "EF"
padding = 160

[module.plain]

[target.paris]
host = "192.0.2.1:8620"
module = "voice"
padding = 200
port = 863

[target."rome-2.v6"]
host = "2001:db8::1"
mode = "O"
session-count = 4

[probe]
allow = ["198.51.100.0/24", "2001:db8::/32"]
"""


def read(tmp_path: Path, text: str, **command_line: object) -> Targets:
    path = tmp_path / "t.toml"
    path.write_text(text)
    given = {key: Given(value, "command line") for key, value in command_line.items()}
    return read_targets(str(path), given)


def test_a_target_goes_before_its_module_and_that_before_the_top(tmp_path: Path) -> None:
    file = read(tmp_path, FILE, interval="5f", json=True)
    paris, rome = file.targets
    assert (paris.name, paris.host) == ("paris", "192.0.2.1:8620")
    assert (paris.config.padding, paris.config.test_dscp_value) == (200, 46)
    assert (paris.config.interval, paris.config.control_port) == ("0.02f", 863)
    assert (rome.name, rome.host) == ("rome-2.v6", "2001:db8::1")
    assert (rome.config.padding, rome.config.interval) == (100, "5f")
    assert (rome.config.auth_mode, rome.config.session_count) == ("O", 4)
    for target in file.targets:
        assert target.config.loss_timeout == 3
        assert target.config.report_interval == 10
    assert file.options.json
    assert file.options.continuous
    assert file.options.report_interval == 10
    assert file.allow == (ip_network("198.51.100.0/24"), ip_network("2001:db8::/32"))


def test_thresholds_are_of_the_program_of_a_module_or_of_a_target(tmp_path: Path) -> None:
    text = """
    fail = ["loss>1%"]
    csv = true
    [module.voice]
    fail = ["rtt.p99>50ms"]
    [target.a]
    host = "192.0.2.1"
    [target.b]
    host = "192.0.2.2"
    module = "voice"
    [target.c]
    host = "192.0.2.3"
    module = "voice"
    fail = ["loss>0", "rtt.max>1s"]
    """
    file = read(tmp_path, text)
    assert file.options.csv
    thresholds = [[str(each) for each in target.config.fail] for target in file.targets]
    assert thresholds == [["loss>1%"], ["rtt.p99>50ms"], ["loss>0", "rtt.max>1s"]]


def test_every_error_of_a_file_is_told_at_once_and_once(tmp_path: Path) -> None:
    text = (
        "paddingg = 1\nloss-timeout = 99999\n[module.m]\ncount = 0\n[target.a]\nhost = 3\n"
        "module = 'x'\n[target.b]\njson = true\nuser = 'alice'\n[target.c]\nhost = '::1'\nport = 0\n"
    )
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert re.findall(r", line (\d+)", str(caught.value)) == [
        "1",
        "6",
        "5",
        "2",
        "8",
        "9",
        "13",
        "4",
    ]


def test_a_module_probes_for_a_second_unless_it_says_otherwise(tmp_path: Path) -> None:
    file = read(tmp_path, FILE, interval="5f", count=1000)
    plain, voice = file.modules["plain"], file.modules["voice"]
    assert (plain.count, plain.interval, plain.loss_timeout) == (10, "0.1f", Decimal(1))
    assert plain.padding == 100
    assert (voice.count, voice.interval, voice.padding) == (10, "0.02f", 160)
    for name, module in file.modules.items():
        check_module(name, module)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("report-interval = 0\n", 1, "report-interval: 0 is out of range"),
        ("\nraw = true\n", 2, "'raw' has no place in a file"),
        ("[target.a]\nmodule = 'x'\n", 1, "target.a: host is missing"),
        ("[target.a]\nhost = 'x'\nmodule = 'fast'\n", 1, "no module 'fast'; known: none"),
        (
            "[target.a]\nhost = 'x'\n[target.b]\nhost = 'x'\npading = 3\n",
            5,
            "'pading' is no option",
        ),
        ("[target.a]\nhost = 'x'\n[ target . b ]\nhost = ''\n", 4, "host: '' is no text"),
        ("[module.a]\njson = true\n", 2, "'json' has no place in a table"),
        ("[module.a]\ninterval = 'x'\n", 2, "interval 'x': 'x' is not of the form"),
        (
            "[module.a]\nuser = 'x'\n",
            1,
            "user: the passphrase cannot be asked for here; give key-file",
        ),
        ("\ntarget = 3\n", 2, "write a table [target.NAME] for each target"),
        ("[target]\nhost = 'x'\n", 1, "write a table [target.NAME] for each target"),
        ('[target."a b"]\nhost = "x"\n', 1, "target 'a b': a name has 1 to 64 letters"),
        ("[probe]\nallow = ['x']\n", 1, "probe: allow: ['x'] is not"),
        ("[probe]\ndeny = []\n", 1, "one key is known: allow"),
    ],
)
def test_an_error_says_where(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert f"t.toml, line {line}" in str(caught.value)


def test_what_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"t\.toml: .*line 2"):
        read(tmp_path, "padding = 3\npadding = \n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count = 101", "more than the 100 packets"),
        ("count = 60\nsession-count = 2", "count 60 times session-count 2"),
        ("count = 100\ninterval = '0.1e'", "would take 11.0 s, and may take 10"),
        ("loss-timeout = 60", "would take 61.0 s"),
    ],
)
def test_a_module_that_would_probe_too_much_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    file = read(tmp_path, f"[module.m]\n{text}\n")
    with pytest.raises(ConfigError, match=message):
        check_module("m", file.modules["m"])


def test_no_option_is_both_of_the_program_and_of_a_target() -> None:
    assert not OF_THE_PROGRAM & OF_A_TARGET
