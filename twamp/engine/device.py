"""Reads and sets the hardware timestamping of a network device.

ETHTOOL_GET_TS_INFO says what the driver offers and which clock it uses.  SIOCSHWTSTAMP sets it for every
program on the machine, and may grant more than was asked for; it needs CAP_NET_ADMIN.  SIOCGHWTSTAMP reads
the setting back.
"""

import enum
import errno
import fcntl
import os
import socket
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import NamedTuple

SIOCETHTOOL, SIOCSHWTSTAMP, SIOCGHWTSTAMP = 0x8946, 0x89B0, 0x89B1
ETHTOOL_GDRVINFO, ETHTOOL_GET_TS_INFO = 0x03, 0x41
NAME_OCTETS = 16
DRIVER_INFO_WORDS = 49
NO_CLOCK = -1
REQUEST = Struct(f"={NAME_OCTETS}sQ16x")  # struct ifreq with a pointer in it
DEEPEST = 4  # a VLAN on a bond on ... of a device

SysCall = Callable[[int, int, bytes], object]


class Stamping(enum.IntFlag):
    """SOF_TIMESTAMPING_*, as far as drivers report them."""

    TX_HARDWARE = 1 << 0
    TX_SOFTWARE = 1 << 1
    RX_HARDWARE = 1 << 2
    RX_SOFTWARE = 1 << 3
    SOFTWARE = 1 << 4
    RAW_HARDWARE = 1 << 6


class RxFilter(enum.IntEnum):
    """HWTSTAMP_FILTER_*: which packets are stamped when they arrive."""

    NONE = 0
    ALL = 1
    SOME = 2
    PTP_V1_L4_EVENT = 3
    PTP_V1_L4_SYNC = 4
    PTP_V1_L4_DELAY_REQ = 5
    PTP_V2_L4_EVENT = 6
    PTP_V2_L4_SYNC = 7
    PTP_V2_L4_DELAY_REQ = 8
    PTP_V2_L2_EVENT = 9
    PTP_V2_L2_SYNC = 10
    PTP_V2_L2_DELAY_REQ = 11
    PTP_V2_EVENT = 12
    PTP_V2_SYNC = 13
    PTP_V2_DELAY_REQ = 14
    NTP_ALL = 15


# Those under which test packets are stamped.
SUITABLE = (RxFilter.ALL,)
TX_OFF, TX_ON = 0, 1


class Capabilities(NamedTuple):
    """The packets that a driver can stamp (ETHTOOL_GET_TS_INFO)."""

    stamping: Stamping
    clock: int | None  # of /dev/ptpN
    tx_types: int  # a bit for each HWTSTAMP_TX_*
    rx_filters: int  # a bit for each RxFilter

    @property
    def stamps_all_received(self) -> bool:
        return bool(self.stamping & Stamping.RX_HARDWARE) and any(
            self.rx_filters >> suitable & 1 for suitable in SUITABLE
        )

    @property
    def stamps_transmitted(self) -> bool:
        return bool(self.stamping & Stamping.TX_HARDWARE) and bool(self.tx_types >> TX_ON & 1)

    @property
    def filter_names(self) -> list[str]:
        return [one.name.lower() for one in RxFilter if self.rx_filters >> one & 1]

    def missing(self) -> list[str]:
        """Lists, in words, why test packets cannot be stamped as they arrive; empty when they can."""
        lacks = []
        if self.clock is None:
            lacks.append("no PTP hardware clock")
        if not self.stamping & Stamping.RX_HARDWARE:
            lacks.append("no hardware receive timestamps")
        elif not self.stamps_all_received:
            names = ", ".join(self.filter_names) or "none"
            lacks.append(f"hardware receive timestamps only of {names}, not of all packets")
        if not self.stamping & Stamping.RAW_HARDWARE:
            lacks.append("no raw hardware timestamps for sockets")
        return lacks


class Setting(NamedTuple):
    """The packets that a device is set to stamp (``struct hwtstamp_config``)."""

    flags: int
    tx_type: int
    rx_filter: int

    @property
    def is_suitable(self) -> bool:
        return self.rx_filter in SUITABLE

    def __str__(self) -> str:
        rx = RxFilter(self.rx_filter).name.lower() if self.rx_filter < 16 else self.rx_filter
        return f"rx_filter {rx}, tx_type {('off', 'on')[self.tx_type] if self.tx_type < 2 else self.tx_type}"


class Device:
    """One network device of this network namespace, by name.

    ``system_call`` is :func:`fcntl.ioctl` or a stand-in.  Every method raises :class:`OSError`:
    EOPNOTSUPP when the driver cannot, EPERM without CAP_NET_ADMIN, ERANGE for a filter that it has not,
    ENODEV when the device is gone.
    """

    def __init__(self, name: str, system_call: SysCall = fcntl.ioctl) -> None:
        self.name = name
        self._system_call = system_call

    def _ioctl(self, request: int, words: "array[int]") -> None:
        """Calls an ioctl that reads and writes ``words``."""
        address, _ = words.buffer_info()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            octets = REQUEST.pack(self.name.encode(), address)
            self._system_call(sock.fileno(), request, octets)

    def capabilities(self) -> Capabilities:
        words = array("I", [ETHTOOL_GET_TS_INFO, *bytes(10)])
        self._ioctl(SIOCETHTOOL, words)
        clock = words[2] if words[2] < 1 << 31 else NO_CLOCK
        return Capabilities(
            Stamping(words[1] & sum(Stamping)),
            None if clock == NO_CLOCK else clock,
            words[3],
            words[7],
        )

    def driver(self) -> str:
        """Returns the name of the driver; empty when it tells none."""
        words = array("I", [ETHTOOL_GDRVINFO, *bytes(DRIVER_INFO_WORDS - 1)])
        try:
            self._ioctl(SIOCETHTOOL, words)
        except OSError:
            return ""
        return words.tobytes()[4:36].partition(b"\0")[0].decode(errors="replace")

    def setting(self) -> Setting:
        words = array("i", [0, 0, 0])
        self._ioctl(SIOCGHWTSTAMP, words)
        return Setting(*words)

    def set(self, setting: Setting) -> Setting:
        """Sets what is stamped; returns what the driver has granted."""
        words = array("i", setting)
        self._ioctl(SIOCSHWTSTAMP, words)
        return Setting(*words)

    def index(self) -> int:
        return socket.if_nametoindex(self.name)


def stamping_devices(name: str, root: Path = Path("/sys/class/net")) -> list[str]:
    """Lists the devices that stamp the packets of an interface: those under a VLAN, bond or bridge.

    An interface without lower devices is its own.  Raises OSError (ENODEV) when there is none of that name.
    """
    if not (root / name).exists():
        raise OSError(errno.ENODEV, f"{name}: {os.strerror(errno.ENODEV)}")
    found = [name]
    for _ in range(DEEPEST):
        found = [under for each in found for under in _under(root / each) or [each]]
    return sorted(set(found))


def _under(place: Path) -> list[str]:
    return [link.name.removeprefix("lower_") for link in place.glob("lower_*")]


# ---- set, and restored ---------------------------------------------------------------------------


@dataclass
class Borrowed:
    """A device that stamps for us, and the setting to restore afterwards."""

    device: Device
    before: Setting | None  # None: it is as it was, and is left so
    granted: Setting

    def look(self) -> Setting | None:
        """Returns the setting if another program has changed it, else None; raises OSError as Device does."""
        setting = self.device.setting()
        if setting == self.granted:
            return None
        self.granted = setting
        self.before = None  # the other program is in charge now
        return setting

    def give_back(self) -> None:
        """Restores the former setting, unless another program has changed it."""
        if self.before is not None and self.device.setting() == self.granted:
            self.device.set(self.before)
        self.before = None


def borrow(device: Device) -> Borrowed:
    """Sets the device to stamp every received packet, and sent packets on request.

    If that is refused, a suitable setting that is in force is used; otherwise raises OSError with the reason.
    """
    capabilities = device.capabilities()
    if lacks := capabilities.missing():
        raise OSError(errno.EOPNOTSUPP, f"{described(device)} has {', '.join(lacks)}")
    before = _setting_or_none(device)
    wanted = Setting(0, TX_ON if capabilities.stamps_transmitted else TX_OFF, RxFilter.ALL)
    if before is not None and before.is_suitable and before.tx_type >= wanted.tx_type:
        return Borrowed(device, None, before)
    try:
        granted = device.set(wanted)
    except OSError as error:
        if before is not None and before.is_suitable:
            return Borrowed(device, None, before)
        raise OSError(
            error.errno, f"{described(device)} refuses to stamp: {_reason(error)}"
        ) from None
    if not granted.is_suitable:
        if before is not None:
            device.set(before)
        raise OSError(errno.ERANGE, f"{described(device)} granted {granted} only")
    return Borrowed(
        device, Setting(0, TX_OFF, RxFilter.NONE) if before is None else before, granted
    )


def described(device: Device) -> str:
    driver = device.driver()
    return f"{device.name} (driver {driver})" if driver else device.name


def _setting_or_none(device: Device) -> Setting | None:
    """Reads the setting; None for old drivers, which can set it but not read it back."""
    try:
        return device.setting()
    except OSError:
        return None


def _reason(error: OSError) -> str:
    if error.errno == errno.EPERM:
        return "it takes CAP_NET_ADMIN; start as root, or have ptp4l set it"
    return error.strerror or str(error)
