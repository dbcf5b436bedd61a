"""A simulated network device and its clock, behind the ioctls of the kernel."""

import ctypes
import errno
import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct, pack_into, unpack_from

from twamp.engine.device import (
    ETHTOOL_GDRVINFO,
    ETHTOOL_GET_TS_INFO,
    SIOCETHTOOL,
    SIOCGHWTSTAMP,
    SIOCSHWTSTAMP,
    Device,
    RxFilter,
    Setting,
    Stamping,
)
from twamp.engine.phc import (
    PTP_SYS_OFFSET,
    PTP_SYS_OFFSET_EXTENDED,
    PTP_SYS_OFFSET_PRECISE,
    HardwareClock,
)
from twamp.engine.stamping import HardwareStamping

NS = 1_000_000_000
EVERYTHING = (
    Stamping.TX_HARDWARE
    | Stamping.TX_SOFTWARE
    | Stamping.RX_HARDWARE
    | Stamping.RX_SOFTWARE
    | Stamping.SOFTWARE
    | Stamping.RAW_HARDWARE
)
OFF = Setting(0, 0, RxFilter.NONE)
ON = Setting(0, 1, RxFilter.ALL)
REQUEST = Struct("=16sQ16x")
CLOCK_TIME = Struct("=qII")


def fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass
class FakeNic:
    """What a driver does, by linux/net_tstamp.h and linux/ethtool.h."""

    stamping: int = EVERYTHING
    clock: int = 0
    tx_types: int = 0b11
    rx_filters: int = 1 << RxFilter.NONE | 1 << RxFilter.ALL
    driver: bytes = b"fake"
    setting: Setting = OFF
    widen: Callable[[Setting], Setting] = lambda setting: setting
    privileged: bool = True
    readable: bool = True  # SIOCGHWTSTAMP
    gone: bool = False
    name: str = "eth9"
    sets: list[Setting] = field(default_factory=list)

    def ioctl(self, _fd: int, request: int, octets: bytes) -> None:
        name, address = REQUEST.unpack(octets)
        assert name.rstrip(b"\0") == self.name.encode()
        if self.gone:
            raise fail(errno.ENODEV)
        if request == SIOCETHTOOL:
            self._ethtool(address)
        elif request == SIOCSHWTSTAMP:
            self._set(address)
        elif request == SIOCGHWTSTAMP:
            if not self.readable:
                raise fail(errno.EOPNOTSUPP)
            ctypes.memmove(address, array("i", self.setting).tobytes(), 12)
        else:
            raise fail(errno.ENOTTY)

    def _ethtool(self, address: int) -> None:
        (command,) = unpack_from("=I", ctypes.string_at(address, 4))
        if command == ETHTOOL_GET_TS_INFO:
            words = [command, self.stamping, self.clock & 0xFFFFFFFF, self.tx_types, 0, 0, 0]
            words += [self.rx_filters, 0, 0, 0]
            ctypes.memmove(address, array("I", words).tobytes(), 44)
        elif command == ETHTOOL_GDRVINFO:
            ctypes.memmove(address + 4, self.driver.ljust(32, b"\0"), 32)
        else:
            raise fail(errno.EOPNOTSUPP)

    def _set(self, address: int) -> None:
        if not self.privileged:
            raise fail(errno.EPERM)
        asked = Setting(*unpack_from("=iii", ctypes.string_at(address, 12)))
        if not self.rx_filters >> asked.rx_filter & 1 or not self.tx_types >> asked.tx_type & 1:
            raise fail(errno.ERANGE)
        self.setting = self.widen(asked)
        self.sets.append(asked)
        ctypes.memmove(address, array("i", self.setting).tobytes(), 12)

    def device(self) -> Device:
        device = Device(self.name, self.ioctl)
        device.index = lambda: 9  # type: ignore[method-assign]  # there is no such interface
        return device


@dataclass
class FakeClock:
    """A PHC in simulated time: ``now_ns`` is Unix time, and the truth of it.

    ``device_at`` says what the device's clock shows; each look at a clock takes ``look_ns`` of time.
    """

    now_ns: int = 1_700_000_000 * NS
    device_at: Callable[[int], int] = lambda unix_ns: unix_ns + 37 * NS
    look_ns: Callable[[], int] = lambda: 1000
    methods: tuple[str, ...] = ("precise", "extended", "plain")
    gone: bool = False

    def system(self) -> int:
        self.now_ns += self.look_ns()
        return self.now_ns

    def device(self) -> int:
        self.now_ns += self.look_ns()
        return self.device_at(self.now_ns)

    def ioctl(self, _fd: int, request: int, words: "array[int]") -> None:
        if self.gone:
            raise fail(errno.ENODEV)
        octets = memoryview(words).cast("B")
        if request == PTP_SYS_OFFSET_PRECISE and "precise" in self.methods:
            self.now_ns += self.look_ns()
            self._write(octets, 0, [self.device_at(self.now_ns), self.now_ns, 12345])
        elif request == PTP_SYS_OFFSET_EXTENDED and "extended" in self.methods:
            times = []
            for _ in range(words[0]):
                times += [self.system(), self.device(), self.system()]
            self._write(octets, 16, times)
        elif request == PTP_SYS_OFFSET and "plain" in self.methods:
            times = [self.system()]
            for _ in range(words[0]):
                times += [self.device(), self.system()]
            self._write(octets, 16, times)
        else:
            raise fail(errno.EOPNOTSUPP)

    @staticmethod
    def _write(octets: memoryview, offset: int, times: list[int]) -> None:
        for i, each in enumerate(times):
            pack_into("=qII", octets, offset + CLOCK_TIME.size * i, each // NS, each % NS, 0)

    def clock(self, path: str = "/dev/ptp0") -> HardwareClock:
        clock = HardwareClock(os.devnull, self.ioctl)
        clock.path = path
        return clock


@dataclass
class Machine:
    """Network cards by name, and clocks by path."""

    nics: dict[str, FakeNic] = field(default_factory=lambda: {"eth9": FakeNic()})
    clocks: dict[str, FakeClock] = field(default_factory=lambda: {"/dev/ptp0": FakeClock()})

    def device(self, name: str) -> Device:
        nic = self.nics[name]
        nic.name = name
        device = nic.device()
        device.index = lambda: 9 + sorted(self.nics).index(name)  # type: ignore[method-assign]
        return device

    def clock(self, path: str) -> HardwareClock:
        if path not in self.clocks:
            raise fail(errno.ENOENT)
        return self.clocks[path].clock(path)

    def stamping(self) -> HardwareStamping:
        return HardwareStamping(
            "any", self.device, self.clock, under=lambda name: sorted(self.nics)
        )
