"""What a driver says of its stamps, and the life of its setting: by octets of the kernel's interface."""

import ctypes
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_device import EVERYTHING, FakeNic
from twamp.engine.device import (
    Device,
    RxFilter,
    Setting,
    Stamping,
    borrow,
    described,
    stamping_devices,
)

PTP_ONLY = 1 << RxFilter.NONE | 1 << RxFilter.PTP_V2_EVENT
OFF = Setting(0, 0, RxFilter.NONE)
ON = Setting(0, 1, RxFilter.ALL)


def test_capabilities_are_what_the_driver_says() -> None:
    capabilities = FakeNic(clock=3).device().capabilities()
    assert capabilities.stamping == EVERYTHING
    assert capabilities.clock == 3
    assert capabilities.stamps_all_received
    assert capabilities.stamps_transmitted
    assert capabilities.filter_names == ["none", "all"]
    assert capabilities.missing() == []


def test_unknown_bits_of_newer_kernels_do_not_disturb() -> None:
    nic = FakeNic(stamping=0xFFFFFFFF, rx_filters=0xFFFFFFFF, tx_types=0xFF)
    assert nic.device().capabilities().missing() == []


@pytest.mark.parametrize(
    ("nic", "lacks"),
    [
        (FakeNic(clock=-1), ["no PTP hardware clock"]),
        (
            FakeNic(stamping=Stamping.RX_SOFTWARE | Stamping.SOFTWARE, clock=-1),
            [
                "no PTP hardware clock",
                "no hardware receive timestamps",
                "no raw hardware timestamps for sockets",
            ],
        ),
        (
            FakeNic(rx_filters=PTP_ONLY),
            ["hardware receive timestamps only of none, ptp_v2_event, not of all packets"],
        ),
    ],
)
def test_what_is_missing_is_said_in_words(nic: FakeNic, lacks: list[str]) -> None:
    assert nic.device().capabilities().missing() == lacks
    with pytest.raises(OSError, match=lacks[0]) as caught:
        borrow(nic.device())
    assert caught.value.errno == errno.EOPNOTSUPP
    assert "eth9 (driver fake)" in str(caught.value)
    assert nic.sets == []


def test_a_setting_is_made_and_given_back() -> None:
    nic = FakeNic()
    borrowed = borrow(nic.device())
    assert nic.setting == borrowed.granted == ON
    borrowed.give_back()
    assert nic.setting == OFF
    borrowed.give_back()
    assert nic.sets == [ON, OFF]


def test_what_the_driver_granted_is_read_back() -> None:
    """A wider filter is as good; one that stamps less is given back at once."""
    nic = FakeNic(widen=lambda setting: setting._replace(tx_type=1))
    assert borrow(nic.device()).granted == ON
    narrow = FakeNic(
        widen=lambda setting: setting._replace(
            rx_filter=RxFilter.PTP_V2_EVENT if setting.rx_filter else RxFilter.NONE
        )
    )
    with pytest.raises(OSError, match="granted rx_filter ptp_v2_event, tx_type on only"):
        borrow(narrow.device())
    assert narrow.setting == OFF


def test_what_is_set_already_is_left_alone() -> None:
    """ptp4l, say, has set it: it is neither set again nor given back."""
    nic = FakeNic(setting=ON, privileged=False)
    borrowed = borrow(nic.device())
    assert borrowed.granted == ON
    borrowed.give_back()
    assert nic.sets == []


def test_a_suitable_setting_will_do_where_ours_is_refused() -> None:
    """It stamps what comes, but not what leaves, and that cannot be changed."""
    receives = Setting(0, 0, RxFilter.ALL)
    nic = FakeNic(setting=receives, privileged=False)
    assert borrow(nic.device()).granted == receives


def test_without_the_privilege_the_remedy_is_said() -> None:
    with pytest.raises(OSError, match=r"eth9 .* refuses to stamp: it takes CAP_NET_ADMIN"):
        borrow(FakeNic(privileged=False).device())


def test_a_driver_that_does_not_tell_its_setting_is_switched_off_at_the_end() -> None:
    nic = FakeNic(readable=False)
    borrowed = borrow(nic.device())
    nic.readable = True
    borrowed.give_back()
    assert nic.sets == [ON, OFF]


def test_what_another_program_changes_is_noticed_and_stays_theirs() -> None:
    nic = FakeNic()
    borrowed = borrow(nic.device())
    assert borrowed.look() is None
    theirs = Setting(0, 1, RxFilter.PTP_V2_EVENT)
    nic.setting = theirs
    assert borrowed.look() == theirs
    assert not theirs.is_suitable
    assert borrowed.look() is None
    borrowed.give_back()
    assert nic.setting == theirs


def test_what_another_program_changes_unnoticed_stays_theirs_too() -> None:
    nic = FakeNic()
    borrowed = borrow(nic.device())
    nic.setting = Setting(0, 1, RxFilter.NTP_ALL)
    borrowed.give_back()
    assert nic.sets == [ON]


def test_a_device_that_is_gone_is_an_error_with_its_number() -> None:
    nic = FakeNic()
    borrowed = borrow(nic.device())
    nic.gone = True
    with pytest.raises(OSError, match=rf"Errno {errno.ENODEV}\]"):
        borrowed.give_back()


def test_settings_of_the_future_can_be_printed() -> None:
    assert str(Setting(0, 7, 99)) == "rx_filter 99, tx_type 7"


# ---- this machine's kernel


def test_loopback_is_asked_in_earnest() -> None:
    """The true ioctl: software stamps, and no clock."""
    device = Device("lo")
    capabilities = device.capabilities()
    assert capabilities.stamping & Stamping.RX_SOFTWARE
    assert capabilities.clock is None
    assert "no PTP hardware clock" in capabilities.missing()
    with pytest.raises(OSError, match=r"lo\b.* has no PTP hardware clock"):
        borrow(device)
    assert device.index() > 0
    assert described(device).startswith("lo")


def test_an_interface_that_is_none_is_an_error() -> None:
    with pytest.raises(OSError, match=rf"Errno {errno.ENODEV}\]"):
        Device("nosuch0").capabilities()
    with pytest.raises(OSError, match="nosuch0"):
        stamping_devices("nosuch0")


def test_the_devices_under_an_interface_are_found(tmp_path: Path) -> None:
    """A VLAN on a bond of two; a bridge; a plain one."""
    for name, under in {
        "eth0": [],
        "eth1": [],
        "bond0": ["eth0", "eth1"],
        "bond0.7": ["bond0"],
        "br0": ["eth1", "bond0.7"],
    }.items():
        (tmp_path / name).mkdir()
        for each in under:
            (tmp_path / name / f"lower_{each}").mkdir()
    assert stamping_devices("eth0", tmp_path) == ["eth0"]
    assert stamping_devices("bond0.7", tmp_path) == ["eth0", "eth1"]
    assert stamping_devices("br0", tmp_path) == ["eth0", "eth1"]


def test_devices_that_are_under_one_another_end(tmp_path: Path) -> None:
    """No such thing is known, but it would be a loop."""
    for name, under in {"a": "b", "b": "a"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"lower_{under}").mkdir()
    assert stamping_devices("a", tmp_path) == ["a"]


def test_layouts_are_those_of_c(tmp_path: Path) -> None:
    """Sizes and numbers, by this machine's headers."""
    program = tmp_path / "layout.c"
    program.write_text(
        "#include <linux/ethtool.h>\n#include <linux/net_tstamp.h>\n#include <linux/ptp_clock.h>\n"
        "#include <linux/sockios.h>\n#include <net/if.h>\n#include <stddef.h>\n#include <stdio.h>\n"
        'int main(void) { printf("%zu %zu %zu %zu %lu %lu %lu %d %d",\n'
        "sizeof(struct ethtool_ts_info), offsetof(struct ethtool_ts_info, rx_filters),\n"
        "sizeof(struct hwtstamp_config), sizeof(struct ethtool_drvinfo),\n"
        "(unsigned long)PTP_SYS_OFFSET_PRECISE, (unsigned long)PTP_SYS_OFFSET_EXTENDED,\n"
        "(unsigned long)PTP_SYS_OFFSET, SIOCSHWTSTAMP, HWTSTAMP_FILTER_NTP_ALL); return 0; }\n"
    )
    compiler = "cc"
    subprocess.run([compiler, "-o", tmp_path / "layout", program], check=True)
    told = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True)
    from twamp.engine import device, phc

    assert [int(word) for word in told.stdout.split()] == [
        44,
        28,
        12,
        4 * device.DRIVER_INFO_WORDS,
        phc.PTP_SYS_OFFSET_PRECISE,
        phc.PTP_SYS_OFFSET_EXTENDED,
        phc.PTP_SYS_OFFSET,
        device.SIOCSHWTSTAMP,
        device.RxFilter.NTP_ALL,
    ]
    assert (
        device.REQUEST.size == 40 if sys.maxsize > 1 << 32 else ctypes.sizeof(ctypes.c_void_p) == 4
    )
