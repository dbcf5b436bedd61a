"""``twampctl hwtstamp``: the proof, on simulated network cards and on loopback in earnest."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.test_main import STATE
from tests.support.fake_device import NS, OFF, FakeNic, Machine
from tests.support.twampd import Twampd
from twamp.ctl.__main__ import main
from twamp.ctl.hwtstamp import Findings, find, text
from twamp.engine.device import RxFilter
from twamp.reflector.state import Counters


def look(machine: Machine, counters: Counters | None = None) -> Findings:
    return find(
        "eth9",
        0.25,
        counters,
        None,
        stamping=lambda name: machine.stamping(),
        device=machine.device,
        under=lambda name: sorted(machine.nics),
    )


def counted(hardware: int, kernel: int) -> Counters:
    counters: Any = json.loads(json.dumps(STATE["counters"]))
    counters["packets"]["timestamp_sources"] = {
        "T2": {"user": 0, "kernel": kernel, "hardware": hardware}
    }
    return counters  # type: ignore[no-any-return]


def test_a_card_that_can_is_proved() -> None:
    machine = Machine()
    findings = look(machine, counted(hardware=99, kernel=1))
    assert findings["verdict"]
    assert findings["reasons"] == []
    assert findings["granted"] == "eth9 (rx_filter all, tx_type on); clock /dev/ptp0 (precise)"
    (device,) = findings["devices"]
    assert device["clock"] == "/dev/ptp0"
    assert device["setting"] == "rx_filter none, tx_type off"
    clock = findings["clocks"]["/dev/ptp0"]
    assert clock["offset_ns"] == -37 * NS
    assert clock["timescale"] == "TAI"
    assert clock["readings"] >= 2
    assert machine.nics["eth9"].setting == OFF
    lines = "\n".join(text(findings))
    for expected in (
        "eth9 (driver fake)",
        "system clock less -37000000000 ns",
        "T2 from           kernel 1 %, hardware 99 %",
        "kernel's T2 later p50 1520 ns, p99 1530 ns, max 15400 ns of 151",
        "    to        2047 ns   99.34% " + 50 * "#",
        "verdict: hardware timestamps",
    ):
        assert expected in lines


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda machine: setattr(machine.nics["eth9"], "clock", -1), "no PTP hardware clock"),
        (
            lambda machine: setattr(machine.nics["eth9"], "rx_filters", 1 << RxFilter.PTP_V2_EVENT),
            "only of ptp_v2_event",
        ),
        (lambda machine: setattr(machine.nics["eth9"], "privileged", False), "CAP_NET_ADMIN"),
        (lambda machine: machine.clocks.clear(), "its clock /dev/ptp0 cannot be read"),
    ],
)
def test_one_that_cannot_is_told_why(change: Callable[[Machine], None], reason: str) -> None:
    machine = Machine()
    change(machine)
    findings = look(machine)
    assert not findings["verdict"]
    assert reason in findings["reasons"][0]
    assert text(findings)
    assert machine.nics["eth9"].setting == OFF


def test_a_clock_that_cannot_be_made_sense_of_is_no_proof() -> None:
    machine = Machine()
    wild = iter(range(1, 1 << 30))
    machine.clocks["/dev/ptp0"].device_at = lambda unix_ns: unix_ns + next(wild) ** 3 * NS
    findings = look(machine)
    assert "do not fit together" in findings["reasons"][0]


def test_a_responder_that_saw_none_is_no_proof() -> None:
    findings = look(Machine(), counted(hardware=0, kernel=5))
    assert "is it run with --hwtstamp?" in findings["reasons"][0]
    assert look(Machine(), counted(hardware=0, kernel=0))["verdict"]  # nothing has come yet


def test_devices_under_a_bond_are_each_told() -> None:
    machine = Machine(nics={"eth1": FakeNic(), "eth2": FakeNic()})
    assert [row["name"] for row in look(machine)["devices"]] == ["eth1", "eth2"]


# ---- in earnest


def test_on_loopback_with_a_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Software stamps, and so the verdict is no; but the peer is measured."""
    with Twampd.running(tmp_path, "--listen-address", "127.0.0.1") as twampd:
        command = ["hwtstamp", "lo", "--json", "--peer", f"127.0.0.1:{twampd.port}"]
        assert main(["--socket", str(twampd.control_socket), *command]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert findings["verdict"] is False
    assert findings["peer"]["sent"] == 200
    assert findings["peer"]["lost"] == 0
    assert findings["peer"]["timestamp_sources"]["T4"] == {"kernel": 200}
    assert findings["responder"]["timestamp_sources"]["T2"]["hardware"] == 0
    assert findings["devices"][0]["clock"] is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["nosuch0"], "No such device"), (["lo", "--peer", "127.0.0.1:1"], "refused")],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hwtstamp", *arguments]) == 1
    assert complaint in capsys.readouterr().err
