"""systemd: readiness, watchdog, inherited sockets, and the unit.

Everything here does nothing if the program was not started by systemd.
"""

import importlib.resources
import logging
import os
import socket
import time

logger = logging.getLogger("twamp.systemd")

FIRST_DESCRIPTOR = 3  # of socket activation
LONGEST_STATUS = 512  # characters; systemd reads 4096 octets at most
PACKAGED_PROGRAM = "/usr/bin/twampd"  # in the packaged unit


class Notifier:
    """Notifies systemd at ``NOTIFY_SOCKET``; does nothing without it.

    No call waits or raises: a message that systemd cannot take now is lost, and the first loss is logged.
    """

    def __init__(self) -> None:
        name = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket: socket.socket | None = None
        self._complained = False
        if name.startswith(("@", "/")):
            flags = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, flags)
        elif name:
            self._complain("it is neither a path nor an @name")

    def ready(self, status: str) -> None:
        """Reports the end of the start or of a reload; ``status`` is for ``systemctl status``."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """Reports the begin of a reload; :meth:`ready` reports its end."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Reports that the service stops."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Sets the line that ``systemctl status`` shows."""
        self._send(_status(text))

    def watchdog(self) -> None:
        """Reports that the service is alive; to be called every :func:`watchdog_interval`."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Closes the socket; later calls do nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            self._complain(error)

    def _complain(self, reason: object) -> None:
        if not self._complained:
            self._complained = True
            logger.debug("NOTIFY_SOCKET, %r, takes no messages: %s", self._address, reason)


def _status(text: str) -> str:
    # A line end would begin another message, and systemd refuses what is not UTF-8.
    return "STATUS=" + "".join(c if c.isprintable() else " " for c in text[:LONGEST_STATUS])


def watchdog_interval() -> float | None:
    """Seconds between calls of :meth:`Notifier.watchdog`: half of the limit; None: there is no watchdog."""
    microseconds = _number("WATCHDOG_USEC")
    if not microseconds or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return microseconds / 2 / 1_000_000


def inherited_sockets() -> list[socket.socket]:
    """The sockets of socket activation, non-blocking; empty if there are none.

    To be called once: they are taken out of the environment, so that no child process uses them.  Raises
    :class:`OSError` when a descriptor is no socket.
    """
    count = _number("LISTEN_FDS") or 0
    ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    found: list[socket.socket] = []
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count) if ours else ():
        try:
            os.set_inheritable(descriptor, False)
            found.append(socket.socket(fileno=descriptor))
            found[-1].setblocking(False)
        except OSError as error:
            for sock in found:
                sock.close()
            raise OSError(
                error.errno,
                f"descriptor {descriptor} of LISTEN_FDS, {count}, is no socket: {error.strerror};"
                " look at the .socket unit",
            ) from None
    return found


def _number(name: str) -> int | None:
    """An environment variable that is a number without a sign; None when it is not."""
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def unit_text(program: str) -> str:
    """The unit ``twampd.service`` that starts ``program``, an absolute path.

    Raises ValueError for a path that a unit cannot name.
    """
    if not program.startswith("/") or not program.isprintable() or set(program) & set("\"'\\"):
        raise ValueError(
            f"{program!r} is no absolute path of printable characters without quotes and backslashes"
        )
    quoted = program.replace("%", "%%")  # a single one is systemd's own
    if " " in quoted:
        quoted = f'"{quoted}"'
    data = importlib.resources.files("twamp") / "data" / "systemd" / "twampd.service"
    begin = f"\nExecStart={PACKAGED_PROGRAM} "
    return data.read_text("utf-8").replace(begin, f"\nExecStart={quoted} ")
