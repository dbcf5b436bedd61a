"""The octets of one accepted TCP connection, read and written in small pieces.

A socket by itself, without a transport: nothing is read ahead of the one who asks for it, so a client
fills the kernel's small buffer and then has to wait, and whatever goes wrong is an :class:`OSError`.
"""

import asyncio
import contextlib
import select
import socket

READ_SIZE = 4096
CLOSE_WITHIN = 1.0  # seconds for a client to take what is still to be sent
MOST_DISCARDED = 16 * READ_SIZE  # octets that are read and ignored at the end

_GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP


class Channel:
    """Reads and writes ``sock``, which is not blocking, and closes it; for one task."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        """The next octets, ``READ_SIZE`` at most; none at the client's end.  Raises :class:`OSError`."""
        return await self._loop.sock_recv(self.sock, READ_SIZE)

    async def write(self, octets: bytes) -> None:
        """Returns when the kernel has all octets; raises :class:`OSError`."""
        await self._loop.sock_sendall(self.sock, octets)

    def is_hung_up(self) -> bool:
        """Whether the client has closed or reset the connection, even if octets of it are unread."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        return any(event & _GONE for _, event in poll.poll(0))

    async def close(self, last: bytes = b"") -> None:
        """Sends ``last`` and closes; a client that does not take it within ``CLOSE_WITHIN`` loses it."""
        try:
            with contextlib.suppress(OSError, TimeoutError):
                if last:
                    async with asyncio.timeout(CLOSE_WITHIN):
                        await self.write(last)
                self.sock.shutdown(socket.SHUT_WR)
                # The kernel would reset a connection with unread octets, and the client lose our answer.
                discarded = 0
                while discarded < MOST_DISCARDED and (octets := self.sock.recv(READ_SIZE)):
                    discarded += len(octets)
        finally:
            self.sock.close()
