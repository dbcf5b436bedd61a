"""TOML files of the responder: what they set, which goes before which, and where an error is."""

import tomllib
from ipaddress import ip_network
from pathlib import Path

import pytest

from twamp.config.readers import HostPort
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given, key_of, rows, settle
from twamp.config.toml_file import read_config_files
from twamp.errors import ConfigError
from twamp.reflector import __main__ as reflector


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "twampd.toml"


def config_of(*arguments: str) -> ReflectorConfig:
    return reflector.settings_of(reflector.parser().parse_args(arguments)).config


def test_every_option_can_be_written_in_a_file_under_its_name(file: Path) -> None:
    file.write_text(
        """
        listen-address = ["127.0.0.1", "::1"]
        port = 8620
        iface = "lo"
        client-list = ["192.0.2.0/24", "2001:db8::/32"]
        maximum-connections = 100
        light = true
        test-ports = "20000-20100"
        mode = "no-mixed"
        dscp-value = "EF"
        metrics-address = "[::1]:9000"
        """
    )
    config = config_of("--config", str(file))
    assert config == ReflectorConfig(
        listen_address=("127.0.0.1", "::1"),
        port=8620,
        iface="lo",
        client_list=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
        maximum_connections=100,
        light=True,
        test_ports=(20000, 20100),
        mode=("no-mixed",),
        dscp_value=46,
        metrics_address=HostPort("::1", 9000),
    )


def test_drop_ins_go_before_the_file_and_the_command_line_before_all(file: Path) -> None:
    file.write_text('port = 1\ntx-batch = 1\nclient-list = ["192.0.2.0/24"]\nrate-limit = 1\n')
    directory = Path(f"{file}.d")
    directory.mkdir()
    (directory / "20-b.toml").write_text('tx-batch = 20\nclient-list = ["198.51.100.0/24"]\n')
    (directory / "10-a.toml").write_text("tx-batch = 10\nrate-limit = 10\n")
    (directory / "30-c.toml.off").write_text("tx-batch = 30\n")
    files = read_config_files(str(file))
    assert files.names == (str(file), f"{directory}/10-a.toml", f"{directory}/20-b.toml")
    assert files.given["tx_batch"] == Given(20, f"{directory}/20-b.toml, line 1")
    config = config_of("--config", str(file), "--port", "2")
    assert (config.port, config.tx_batch, config.rate_limit) == (2, 20, 10)
    assert [str(prefix) for prefix in config.client_list] == ["198.51.100.0/24"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("port = 862\nprot = 863\n", 2, "'prot' is no option; did you mean 'port'?"),
        ("\n\nport = 70000\n", 3, "port: 70000 is out of range; it goes from 0 to 65535"),
        ('# comment\nmode = ["plain"]\n', 2, "mode: 'plain' is not a mode"),
        ("port = 1\n'tx-batch' = 65\n", 2, "tx-batch: 65 is out of range"),
        ("light = true\nmaximum-connections = 65\n", 2, "maximum-connections: 65 is more than 64"),
        (
            "[rate-limit]\nper-client = 3\n",
            1,
            "rate-limit: {'per-client': 3} is not a whole number",
        ),
        (
            "maximum-sessions = 10\nmaximum-connections = 60\n",
            1,
            "maximum-sessions: 10 is less than maximum-connections",
        ),
    ],
)
def test_an_error_has_file_and_line(file: Path, text: str, line: int, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config_of("--config", str(file))
    assert str(caught.value).startswith(f"{file}, line {line}: {message}")


def test_an_option_has_its_other_long_names_in_a_file_but_only_one_of_them(file: Path) -> None:
    file.write_text('interface = "lo"\ngroup = "daemon"\n')
    config = config_of("--config", str(file))
    assert (config.iface, config.run_as_group) == ("lo", "daemon")
    file.write_text('iface = "lo"\ninterface = "lo"\n')
    with pytest.raises(ConfigError) as caught:
        config_of("--config", str(file))
    assert str(caught.value) == (
        f"{file}, line 2: interface: the same option is in {file}, line 1; keep one"
    )


def test_an_error_of_the_command_line_does_not_blame_the_file(file: Path) -> None:
    file.write_text("port = 70000\n")
    with pytest.raises(ConfigError, match=r"^command line: port: '70001' is out"):
        config_of("--config", str(file), "--port", "70001")


@pytest.mark.parametrize("text", ["port =", "port = 1\nport = 2\n", "= 3", '"\n'])
def test_what_is_no_toml_is_refused_with_its_line(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"{file}: .*(line \d|end of document)"):
        config_of("--config", str(file))


def test_what_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a text file"):
        config_of("--config", str(file))


def test_check_config_says_yes_or_no(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("port = 8620\n")
    assert reflector.main(["--config", str(file), "--check-config"]) == 0
    assert capsys.readouterr().out == "the configuration is right\n"
    file.write_text("mode = 'encrypted'\n")
    assert reflector.main(["--config", str(file), "--check-config"]) == 1
    assert "encrypted needs users" in capsys.readouterr().err
    assert reflector.main(["--config", f"{file}.missing", "--check-config"]) == 1
    assert "No such file" in capsys.readouterr().err


def test_print_config_is_toml_that_says_the_same(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(
        'client-list = ["192.0.2.7/24"]\nlight = true\nmetrics-address = "::1"\n[user.alice]\n'
        'password = "open sesame"\n'
    )
    file.chmod(0o600)
    arguments = ["--config", str(file), "--test-ports", "5-6", "--vrf", "red"]
    assert reflector.main([*arguments, "--print-config"]) == 0
    out = capsys.readouterr().out
    assert f'client-list = ["192.0.2.0/24"]  # {file}, line 1\n' in out
    assert 'test-ports = "5-6"  # command line\n' in out
    assert "port = 862  # default\n" in out
    assert "# iface is not set\n" in out
    assert "# user 'alice' is known\n" in out
    assert "sesame" not in out
    again = {name.replace("-", "_"): value for name, value in tomllib.loads(out).items()}
    assert ReflectorConfig(**again) == config_of(*arguments)
    named = {line.removeprefix("# ").split()[0] for line in out.splitlines()} - {"user"}
    assert named == {key_of(name) for name, _ in rows(ReflectorConfig)}


def test_later_sources_go_before_earlier_ones() -> None:
    config, given = settle(
        ReflectorConfig, {"port": Given(1, "a"), "tx_batch": Given(3, "a")}, {"port": Given(2, "b")}
    )
    assert (config.port, config.tx_batch) == (2, 3)
    assert given == {"port": Given(2, "b"), "tx_batch": Given(3, "a")}
