"""The parts of a responder: made at every limit of their options, and closed when one cannot be."""

import errno
import os
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.support.settings import settings
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import rows
from twamp.errors import ConfigError
from twamp.reflector.build import bind, make_workers, open_in_time, require_startable
from twamp.reflector.state import ResponderState

OF_THE_ENGINE = (
    *("maximum_sessions", "rate_limit", "t3_budget", "tx_batch", "workers", "realtime", "spin_us"),
)
LIMITS = [
    (field, int(limit))
    for field, row in rows(ReflectorConfig)
    if field in OF_THE_ENGINE and row.bounds is not None
    for limit in row.bounds
]


def no_state() -> ResponderState:
    raise AssertionError("nobody asks")


@pytest.mark.parametrize(("field", "limit"), LIMITS)
def test_the_engine_takes_every_limit(field: str, limit: int) -> None:
    workers = make_workers(settings(**{field: limit}).config, None)
    assert len(workers) == (limit if field == "workers" else 1)
    for reflector in workers._reflectors:
        reflector.close()


def test_the_engine_takes_the_longest_client_list() -> None:
    most = dict(rows(ReflectorConfig))["client_list"].entries
    prefixes = tuple(ip_network((number << 8, 24)) for number in range(most))
    workers = make_workers(settings(client_list=prefixes).config, None)
    for reflector in workers._reflectors:
        reflector.close()


def test_everything_is_bound_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    bound = bind(
        settings(
            control_socket=str(path),
            light=True,
            light_port=free_port(),
            workers=2,
            metrics_address="127.0.0.1:0",
        ),
        [],
        no_state,
    )
    assert len(bound.listeners) == 1
    assert [len(sockets) for sockets in bound.light] == [2]
    assert bound.status_socket is not None
    assert bound.exporter is not None
    assert not bound.inherited
    bound.close()
    assert {sock.fileno() for sock in (*bound.listeners, *bound.light[0])} == {-1}


def test_nothing_stays_open_when_the_last_part_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    mine = socket.socket()

    def fail(interface: str, strict: bool) -> None:
        raise ConfigError("hwtstamp: no")

    monkeypatch.setattr("twamp.reflector.build.open_stamping", fail)
    opened.append(mine)
    with pytest.raises(ConfigError, match="hwtstamp: no"):
        bind(settings(hwtstamp="strict", iface="lo"), opened, no_state)
    assert mine.fileno() == -1


def test_a_socket_that_was_asked_for_is_required_and_the_default_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "no" / "such" / "directory")
    wanted = settings(control_socket=path)
    with pytest.raises(ConfigError, match=r"^control-socket: cannot listen on .*; give another"):
        bind(wanted, [], no_state)
    del wanted.given["control_socket"]  # type: ignore[attr-defined]
    bound = bind(wanted, [], no_state)
    bound.close()
    assert bound.status_socket is None
    assert "twampctl will not find this responder" in caplog.text


def an_opener(failures: list[OSError], opened: list[str]) -> Any:
    """Fails in turn, then opens."""

    def opener(_: ReflectorConfig) -> list[str]:
        if failures:
            raise failures.pop(0)
        return opened

    return opener


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENODEV])
def test_what_comes_late_is_waited_for(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sleeps: list[float] = []
    monkeypatch.setattr("twamp.reflector.build.time.sleep", sleeps.append)
    config = settings(listen_wait=60, iface="lo").config
    opener = an_opener([OSError(number, "late")] * 2, ["a listener"])
    assert open_in_time("port", config, opener) == ["a listener"]
    assert len(sleeps) == 2
    [line] = caplog.messages
    assert line.endswith("; waiting up to 60 s for it")


def test_waiting_ends_and_is_only_for_what_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr("twamp.reflector.build.time.monotonic", lambda: next(now))
    monkeypatch.setattr("twamp.reflector.build.time.sleep", lambda _: None)
    late = [OSError(errno.EADDRNOTAVAIL, "late")] * 10
    with pytest.raises(ConfigError, match="listen-address: cannot listen on"):
        open_in_time("port", settings(listen_wait=30).config, an_opener(late, []))
    assert len(late) == 7
    for wait, error in ((30, errno.EADDRINUSE), (30, errno.EACCES), (0, errno.EADDRNOTAVAIL)):
        failures = [OSError(error, "no"), OSError(error, "no")]
        with pytest.raises(ConfigError, match="cannot listen on"):
            open_in_time("port", settings(listen_wait=wait).config, an_opener(failures, []))
        assert len(failures) == 1


# ---- --check-config --------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"run_as_user": "nosuchuser"}, "user: no such user 'nosuchuser'"),
        ({"run_as_group": "nosuchgroup"}, "group: no such group 'nosuchgroup'"),
        ({"cpu": 4095}, "cpu: this process may not run on processor 4095"),
        ({"iface": "nosuch0"}, "'nosuch0'"),
        ({"vrf": "nosuch0"}, "'nosuch0'"),
        ({"listen_address": "192.0.2.1"}, "`ip address` lists the addresses of this host"),
        ({"metrics_address": "192.0.2.1:1"}, "metrics-address: cannot listen on 192.0.2.1"),
    ],
)
def test_what_this_host_lacks_is_told_before_a_start(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_startable(settings(**options))
    [line] = str(caught.value).splitlines()
    assert fault in line


def test_all_that_this_host_lacks_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        require_startable(settings(run_as_user="nosuchuser", cpu=4095, iface="nosuch0"))
    assert len(str(caught.value).splitlines()) == 3


def test_a_check_leaves_the_process_as_it_was() -> None:
    before = os.sched_getaffinity(0)
    require_startable(settings(cpu=min(before)))
    assert os.sched_getaffinity(0) == before


def test_ports_of_the_running_responder_are_no_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        require_startable(settings(port=taken.getsockname()[1]))
