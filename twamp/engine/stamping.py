"""Gives an interface hardware timestamps: sets its devices to stamp, and watches their clocks.

::

    stamping = HardwareStamping("eth0")  # OSError: it cannot, and why
    await stamping.run(reflector.set_clock_models)  # until it is cancelled
    stamping.close()  # the devices are as they were
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twamp.engine.clock_model import ClockModel, Line
from twamp.engine.device import Borrowed, Device, Setting, borrow, described, stamping_devices
from twamp.engine.native import EngineClockModel
from twamp.engine.phc import HardwareClock
from twamp.errors import ConfigError

logger = logging.getLogger("twamp.hardware")

EVERY = 0.5  # seconds between readings of a clock
SOON = 0.02  # after one that was refused
RETRIES = 5
LOOK_EVERY = 10  # readings; then whether somebody else has changed the setting
NS = 1_000_000_000
# A model is used until the next reading has come, and a while longer if that is late.
AHEAD_NS = round(4 * EVERY * NS)


@dataclass
class Watched:
    """A clock and its model; ``lost`` while the clock cannot be read."""

    clock: HardwareClock
    model: ClockModel = field(default_factory=ClockModel)
    lost: bool = False

    def read(self) -> bool:
        """Reads the clock; returns False when the reading was refused and should be repeated soon."""
        try:
            burst = self.clock.read()
        except OSError as error:
            if not self.lost:
                logger.error("%s cannot be read: %s", self.clock.path, error.strerror)
            self.lost = True
            self.model.line = None
            return True
        if self.lost:
            self.lost = False
            self.model.reset()
        return self.model.update(burst)


class HardwareStamping:
    """Sets the devices under interface ``name`` to stamp, until :meth:`close`.

    Raises :class:`OSError`, which says what is missing, when one of them cannot stamp; then all are left as
    they were.  ``device`` makes a device of its name, ``clock`` a clock of its path.
    """

    def __init__(
        self,
        name: str,
        device: Callable[[str], Device] = Device,
        clock: Callable[[str], HardwareClock] = HardwareClock,
        under: Callable[[str], Sequence[str]] = stamping_devices,
    ) -> None:
        self.name = name
        self.borrowed: list[Borrowed] = []
        self.clocks: dict[int, Watched] = {}  # by number; devices may share one
        self._clock_of: dict[int, int] = {}  # the clock of a device, by index
        self._transmits: dict[int, bool] = {}
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for each in under(name):
                self._take(device(each), clock)
            undo.pop_all()

    def _take(self, device: Device, clock: Callable[[str], HardwareClock]) -> None:
        capabilities = device.capabilities()
        borrowed = borrow(device)
        self.borrowed.append(borrowed)
        assert capabilities.clock is not None  # borrow() refuses a device without
        if capabilities.clock not in self.clocks:
            path = f"/dev/ptp{capabilities.clock}"
            try:
                self.clocks[capabilities.clock] = Watched(clock(path))
            except OSError as error:
                remedy = (
                    "; start as root with --user, or let a udev rule give it to this user's group"
                    if error.errno == errno.EACCES
                    else ""
                )
                raise OSError(
                    error.errno,
                    f"{described(device)}: its clock {path} cannot be read: {error.strerror}{remedy}",
                ) from None
        self._clock_of[device.index()] = capabilities.clock
        self._transmits[device.index()] = capabilities.stamps_transmitted and bool(
            borrowed.granted.tx_type
        )

    def close(self) -> None:
        """Restores the settings of the devices and closes their clocks; may be called again."""
        for borrowed in self.borrowed:
            try:
                borrowed.give_back()
            except OSError as error:
                if error.errno != errno.ENODEV:
                    logger.error("%s stays as it was set: %s", borrowed.device.name, error.strerror)
        self.borrowed.clear()
        for watched in self.clocks.values():
            watched.clock.close()
        self.clocks.clear()

    # ---- while it lasts ----------------------------------------------------------------------------

    async def run(self, tell: Callable[[Sequence[EngineClockModel]], None]) -> None:
        """Reads the clocks again and again, and calls ``tell`` with their models, until it is cancelled."""
        readings = 0
        while True:
            for _ in range(RETRIES):
                accepted = self.read_clocks()
                tell(self.models())
                if accepted:
                    break
                await asyncio.sleep(SOON)
            readings += 1
            if readings % LOOK_EVERY == 0:
                self.look()
            await asyncio.sleep(EVERY)

    def read_clocks(self) -> bool:
        """Reads each clock once; returns whether all readings were accepted."""
        # A list: each is read, whatever became of the others.
        accepted = [watched.read() for watched in self.clocks.values()]
        return all(accepted)

    def reset(self) -> None:
        """Forgets all readings, because the system clock has been set."""
        for watched in self.clocks.values():
            watched.model.reset()

    def models(self) -> list[EngineClockModel]:
        """Returns the models of the clocks that are known, for the engine."""
        return [
            engine_model(index, line, self._transmits[index])
            for index, clock in self._clock_of.items()
            if (line := self.clocks[clock].model.line) is not None
        ]

    def look(self) -> list[tuple[str, Setting]]:
        """Returns, and logs, the settings that other programs have changed since the last call."""
        changed = []
        for borrowed in self.borrowed:
            with contextlib.suppress(OSError):  # the device is gone: somebody else says so
                setting = borrowed.look()
                if setting is not None:
                    changed.append((borrowed.device.name, setting))
                    logger.warning(
                        "another program has set %s to %s%s",
                        borrowed.device.name,
                        setting,
                        "" if setting.is_suitable else ": no hardware receive timestamps any more",
                    )
        return changed

    def __str__(self) -> str:
        devices = ", ".join(f"{each.device.name} ({each.granted})" for each in self.borrowed)
        clocks = ", ".join(
            f"{watched.clock.path} ({watched.clock.method})" for watched in self.clocks.values()
        )
        return f"{devices}; clock {clocks}"


def engine_model(interface: int, line: Line, transmits: bool) -> EngineClockModel:
    """Converts a line to the engine's struct; its error is that at the end of the model's use."""
    return EngineClockModel(
        interface=interface,
        device_ns=line.device_ns,
        unix_ns=line.unix_ns,
        rate=round(line.rate * (1 << 32)),
        error_ns=line.error_at(line.device_ns + AHEAD_NS),
        transmits=transmits,
    )


def open_stamping(name: str, *, strict: bool) -> tuple[HardwareStamping | None, str]:
    """Opens the stamping of an interface; where it cannot, returns None and the reason.

    With ``strict`` raises :class:`~twamp.errors.ConfigError` instead.
    """
    try:
        return HardwareStamping(name), ""
    except OSError as error:
        reason = error.strerror or str(error)
        if strict:
            raise ConfigError(
                f"hwtstamp: strict, but {reason}; leave strict out to do with the kernel's timestamps"
            ) from None
        return None, f"{reason}; the kernel's timestamps are used"
