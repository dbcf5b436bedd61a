"""Hardware timestamping from set to restored, on simulated network cards; and what becomes of stamps.

No network card with a clock was there: this is the kernel's interface by its octets, not hardware.
"""

import asyncio
import errno
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fake_device import NS, OFF, ON, FakeClock, FakeNic, Machine
from tests.support.reflector_bench import Bench, await_kernel_stamps, request
from twamp.config.reflector import ReflectorConfig
from twamp.engine.device import RxFilter, Setting
from twamp.engine.native import EngineClockModel
from twamp.engine.phc import HardwareClock
from twamp.engine.session_reflector import SessionReflector
from twamp.engine.stamping import HardwareStamping
from twamp.errors import ConfigError
from twamp.ping.__main__ import main
from twamp.reflector.responder import Responder
from twamp.reflector.settings import Settings

PTP_ONLY = 1 << RxFilter.NONE | 1 << RxFilter.PTP_V2_EVENT


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_its_life(machine: Machine) -> None:
    stamping = machine.stamping()
    assert machine.nics["eth9"].setting == ON
    assert str(stamping) == "eth9 (rx_filter all, tx_type on); clock /dev/ptp0 (precise)"
    assert stamping.models() == []
    assert stamping.read_clocks()
    (model,) = stamping.models()
    assert model.unix_ns - model.device_ns == -37 * NS
    assert model.interface == 9
    assert model.transmits
    stamping.close()
    stamping.close()
    assert machine.nics["eth9"].setting == OFF


def test_what_begins_and_cannot_go_on_is_undone(machine: Machine) -> None:
    """A bond of two, of which the second cannot; a clock that is not to be opened."""
    machine.nics["eth8"] = FakeNic()
    machine.nics["eth9"] = FakeNic(rx_filters=PTP_ONLY)
    with pytest.raises(OSError, match="only of none, ptp_v2_event"):
        machine.stamping()
    assert machine.nics["eth8"].sets == [ON, OFF]
    machine.nics = {"eth9": FakeNic(clock=7)}
    with pytest.raises(OSError, match="its clock /dev/ptp7 cannot be read: No such file"):
        machine.stamping()
    assert machine.nics["eth9"].sets == [ON, OFF]


def test_a_clock_that_may_not_be_read_names_the_remedy(machine: Machine) -> None:
    def refuse(path: str) -> HardwareClock:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with pytest.raises(OSError, match="/dev/ptp0 cannot be read: Permission denied; start as root"):
        HardwareStamping("any", machine.device, refuse, under=lambda name: ["eth9"])
    assert machine.nics["eth9"].setting == OFF


def test_devices_may_share_a_clock_or_have_their_own(machine: Machine) -> None:
    machine.nics = {"eth1": FakeNic(), "eth2": FakeNic(), "eth3": FakeNic(clock=1, tx_types=1)}
    machine.clocks["/dev/ptp1"] = FakeClock(device_at=lambda unix_ns: unix_ns - 5)
    stamping = machine.stamping()
    assert sorted(stamping.clocks) == [0, 1]
    stamping.read_clocks()
    assert [(one.interface, one.transmits) for one in stamping.models()] == [
        (9, True),
        (10, True),
        (11, False),
    ]
    assert [one.unix_ns - one.device_ns for one in stamping.models()] == [-37 * NS, -37 * NS, 5]
    stamping.close()
    assert all(nic.setting == OFF for nic in machine.nics.values())


def test_a_clock_that_goes_takes_its_model_along(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    stamping = machine.stamping()
    stamping.read_clocks()
    machine.clocks["/dev/ptp0"].gone = True
    for _ in range(3):
        assert stamping.read_clocks()  # to ask again soon would not help
        assert stamping.models() == []
    assert [record.message for record in caplog.records] == [
        "/dev/ptp0 cannot be read: No such device"
    ]
    machine.clocks["/dev/ptp0"].gone = False
    machine.clocks["/dev/ptp0"].device_at = lambda unix_ns: unix_ns + 5 * NS  # set meanwhile
    assert stamping.read_clocks()
    assert stamping.models()[0].unix_ns - stamping.models()[0].device_ns == -5 * NS
    stamping.close()


def test_another_programs_change_is_said_and_left(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    stamping = machine.stamping()
    assert stamping.look() == []
    theirs = Setting(0, 1, RxFilter.PTP_V2_EVENT)
    machine.nics["eth9"].setting = theirs
    assert stamping.look() == [("eth9", theirs)]
    assert stamping.look() == []
    assert len(caplog.records) == 1
    assert "no hardware receive timestamps any more" in caplog.records[0].message
    stamping.close()
    assert machine.nics["eth9"].setting == theirs


def test_a_device_that_is_gone_at_the_end_is_no_error(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    stamping = machine.stamping()
    machine.nics["eth9"].gone = True
    stamping.close()
    assert not caplog.records


def test_the_clocks_are_read_until_it_is_cancelled(machine: Machine) -> None:
    async def scenario() -> None:
        stamping = machine.stamping()
        told: asyncio.Queue[Any] = asyncio.Queue()
        running = asyncio.create_task(stamping.run(told.put_nowait))
        assert (await told.get())[0].unix_ns > 0
        machine.clocks["/dev/ptp0"].device_at = lambda unix_ns: unix_ns + 40 * NS  # it is set
        offsets: list[int] = []
        while not offsets or offsets[-1] != -40 * NS:
            (model,) = await told.get()
            offsets.append(model.unix_ns - model.device_ns)
        assert offsets[:-1] == [-37 * NS] * len(offsets[:-1])
        running.cancel()
        stamping.close()

    asyncio.run(scenario())


# ---- the responder


def responder(machine: Machine, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Responder:
    monkeypatch.setattr("twamp.engine.stamping.HardwareStamping", lambda name: machine.stamping())
    settings = Settings(
        ReflectorConfig(
            listen_address=("127.0.0.1",), port=0, control_socket="none", iface="lo", **options
        )
    )
    return Responder(settings, lambda: settings)


@pytest.mark.skipif(socket.if_nametoindex("lo") == 0, reason="no loopback")
def test_the_responder_borrows_and_gives_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with responder(machine, monkeypatch, hwtstamp="yes") as serving:
            assert machine.nics["eth9"].setting == ON
            while not serving.snapshot.counters()["clocks"]["/dev/ptp0"]["readable"]:
                await asyncio.sleep(0.001)
            clock = serving.snapshot.counters()["clocks"]["/dev/ptp0"]
            assert (clock["timescale"], clock["offset_ns"]) == ("TAI", -37 * NS)

    asyncio.run(scenario())
    assert machine.nics["eth9"].setting == OFF


def test_a_responder_that_never_served_gives_back_too(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    responder(machine, monkeypatch, hwtstamp="strict").close()
    assert machine.nics["eth9"].sets == [ON, OFF]


@pytest.mark.parametrize("options", [{"hwtstamp": "yes"}, {"timestamp": "hardware"}])
def test_it_does_without_and_says_what_is_missing(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
) -> None:
    machine.nics["eth9"].rx_filters = PTP_ONLY
    with caplog.at_level(logging.WARNING):
        responder(machine, monkeypatch, **options).close()
    assert [record.message for record in caplog.records] == [
        "eth9 (driver fake) has hardware receive timestamps only of none, ptp_v2_event, not of all "
        "packets; the kernel's timestamps are used"
    ]


def test_strict_means_hardware_or_not_at_all(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.nics["eth9"].clock = -1
    with pytest.raises(ConfigError, match=r"hwtstamp: strict, but .* has no PTP hardware clock"):
        responder(machine, monkeypatch, hwtstamp="strict")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"hwtstamp": "yes"}, "hwtstamp: hardware timestamps need to know the network card"),
        ({"timestamp": "hardware"}, "timestamp: hardware timestamps need to know the network card"),
        (
            {"hwtstamp": "strict", "iface": "lo", "timestamp": "kernel"},
            "contradicts timestamp kernel",
        ),
        ({"hwtstamp": "maybe", "iface": "lo"}, "hwtstamp: 'maybe' is not"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        ReflectorConfig(**options)


def test_the_program_says_it_on_loopback_in_earnest() -> None:
    """Of an interface that cannot: strict is an end with the reason."""
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "twamp.reflector",
            "--iface",
            "lo",
            "--hwtstamp=strict",
            "--port",
            "0",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert "hwtstamp: strict, but lo" in result.stderr
    assert "no PTP hardware clock" in result.stderr


# ---- twping


def test_twping_borrows_gives_back_and_measures_all_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loopback gives none of the card's stamps: the kernel's are used, and none is refused."""
    monkeypatch.setattr("twamp.engine.stamping.HardwareStamping", lambda name: machine.stamping())
    command = ["--loopback", "--hwtstamp", "-B", "lo", "-c", "5", "-i", "0.001f", "-L", "0.2"]
    assert main([*command, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["timestamp-sources"] == {"t1": {"kernel": 5}, "t4": {"kernel": 5}}
    assert machine.nics["eth9"].sets == [ON, OFF]


@pytest.mark.parametrize(("whether", "code"), [("yes", 0), ("strict", 1)])
def test_twping_says_what_is_missing(
    whether: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In earnest, on loopback."""
    command = ["--loopback", f"--hwtstamp={whether}", "-B", "lo", "-c", "2", "-i", "0.001f"]
    assert main([*command, "-L", "0.2"]) == code
    assert "lo has no PTP hardware clock" in capsys.readouterr().err


def test_twping_needs_to_know_which_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--hwtstamp", "127.0.0.1"]) == 1
    assert "hwtstamp: hardware timestamps need to know the network card" in capsys.readouterr().err


# ---- the engine, on kernel stamps


@pytest.fixture
def bench() -> Iterator[Bench]:
    await_kernel_stamps()
    with (opened := Bench("127.0.0.1", timestamp="hardware")).stack:
        yield opened


def test_without_hardware_stamps_the_kernels_are_used(bench: Bench) -> None:
    """Whatever models there are."""
    model = EngineClockModel(
        interface=1, device_ns=5, unix_ns=7, rate=0, error_ns=3000, transmits=False
    )
    client, _ = bench.session()
    for models in ([], [model]):
        bench.reflector.set_clock_models(models)
        bench.send(client, request(0), request(1))
    stats = bench.reflector.stats()
    assert stats.receive_sources == {"user": 0, "kernel": 4, "hardware": 0}
    assert stats.counters["refused_stamps"] == 0
    assert bench.reflector.receive_lag().samples == 0


def test_a_card_that_promises_transmit_stamps_and_gives_none_is_not_asked_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback has none: each that is awaited is missed after a second, and after four the kernel is asked."""
    model = EngineClockModel(
        interface=1, device_ns=5, unix_ns=7, rate=0, error_ns=3000, transmits=True
    )
    bench.reflector.set_clock_models([model])
    client, _ = bench.session()
    for number in range(1000):
        bench.exchange(client, request(number))
        if bench.reflector.t3_error().error.samples:
            break
        bench.reflector.step(20)
    t3_error = bench.reflector.t3_error()
    assert t3_error.missed == 4
    assert t3_error.source == "kernel"


def test_more_models_than_there_is_room_for_are_refused() -> None:
    model = EngineClockModel(
        interface=1, device_ns=5, unix_ns=7, rate=0, error_ns=0, transmits=False
    )
    reflector = SessionReflector()
    with pytest.raises(ValueError, match="9 clock models"):
        reflector.set_clock_models([model] * 9)
    reflector.set_clock_models([model] * 8)
    reflector.close()
