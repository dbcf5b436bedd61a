"""Reads a PTP hardware clock (PHC), ``/dev/ptpN``, together with the system clock, to compare the two.

The kernel has three ways (linux/ptp_clock.h); the best one that the driver offers is used: both clocks
latched at once (PTP_SYS_OFFSET_PRECISE), the system clock right before and after the device's
(PTP_SYS_OFFSET_EXTENDED), or further around it (PTP_SYS_OFFSET).
"""

import errno
import fcntl
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from twamp.engine.clock_model import CrossStamp

SAMPLES = 5  # of one reading; 25 at most
MOST_SAMPLES = 25
NS = 1_000_000_000
TIME_WORDS = 4  # struct ptp_clock_time: seconds (64 bit), nanoseconds, reserved


def _number(direction: int, number: int, size: int) -> int:
    """Returns the number of an ioctl (the kernel's _IOC)."""
    return direction << 30 | size << 16 | ord("=") << 8 | number


PRECISE_WORDS = 3 * TIME_WORDS + 4
EXTENDED_WORDS = 4 + 3 * MOST_SAMPLES * TIME_WORDS
PLAIN_WORDS = 4 + (2 * MOST_SAMPLES + 1) * TIME_WORDS
PTP_SYS_OFFSET_PRECISE = _number(3, 8, 4 * PRECISE_WORDS)
PTP_SYS_OFFSET_EXTENDED = _number(3, 9, 4 * EXTENDED_WORDS)
PTP_SYS_OFFSET = _number(1, 5, 4 * PLAIN_WORDS)
CANNOT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)

SysCall = Callable[[int, int, "array[int]"], object]


class HardwareClock:
    """An open PHC; ``system_call`` is :func:`fcntl.ioctl` or a stand-in.

    Raises :class:`OSError` when it cannot be opened, or offers none of the three ways.
    """

    def __init__(self, path: str, system_call: SysCall = fcntl.ioctl) -> None:
        self.path = path
        self._system_call = system_call
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.method = self._best()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _best(self) -> str:
        for method, read in self._ways().items():
            try:
                read()
            except OSError as error:
                if error.errno not in CANNOT:
                    raise
            else:
                return method
        raise OSError(errno.EOPNOTSUPP, f"{self.path} cannot be compared with the system clock")

    def _ways(self) -> dict[str, Callable[[], Iterator[CrossStamp]]]:
        return {"precise": self._precise, "extended": self._extended, "plain": self._plain}

    def read(self) -> list[CrossStamp]:
        """Reads both clocks several times in a row; raises :class:`OSError` when the clock is gone."""
        return list(self._ways()[self.method]())

    def _precise(self) -> Iterator[CrossStamp]:
        words = array("I", bytes(4 * PRECISE_WORDS))
        self._system_call(self._fd, PTP_SYS_OFFSET_PRECISE, words)
        device, system, _ = _times(words[: 3 * TIME_WORDS])
        return iter([CrossStamp(device, system, 0)])

    def _extended(self) -> Iterator[CrossStamp]:
        words = array("I", [SAMPLES, *[0] * (EXTENDED_WORDS - 1)])
        self._system_call(self._fd, PTP_SYS_OFFSET_EXTENDED, words)
        times = _times(words[4 : 4 + 3 * SAMPLES * TIME_WORDS])
        return (
            CrossStamp.between(before, device, after)
            for before, device, after in zip(times[::3], times[1::3], times[2::3], strict=True)
        )

    def _plain(self) -> Iterator[CrossStamp]:
        words = array("I", [SAMPLES, *[0] * (PLAIN_WORDS - 1)])
        self._system_call(self._fd, PTP_SYS_OFFSET, words)
        times = _times(words[4 : 4 + (2 * SAMPLES + 1) * TIME_WORDS])
        return (
            CrossStamp.between(before, device, after)
            for (before, after), device in zip(pairwise(times[::2]), times[1::2], strict=True)
        )


def _times(words: Sequence[int]) -> list[int]:
    """Converts each ``struct ptp_clock_time`` to nanoseconds."""
    octets = array("I", words).tobytes()
    seconds = array("q", octets)[::2]
    nanoseconds = array("I", octets)[2::TIME_WORDS]
    return [s * NS + ns for s, ns in zip(seconds, nanoseconds, strict=True)]
