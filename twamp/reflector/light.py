"""Test sessions without TWAMP-Control: TWAMP Light (RFC 5357 Appendix I)."""

import socket
from collections.abc import Sequence

from twamp.endpoint import Endpoint
from twamp.engine.workers import Workers


class LightSessions:
    """The light sessions of a responder, one for each address and worker."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._ids: list[int] = []
        self.addresses: list[Endpoint] = []

    def open(self, sockets: Sequence[Sequence[socket.socket]]) -> None:
        """Reflects on these sockets, one for each worker on each address, and closes them."""
        for socks in sockets:
            address = Endpoint.from_sockaddr(socks[0].getsockname())
            self._ids += self._workers.add_light(address, socks)
            self.addresses.append(address)
            for sock in socks:
                sock.close()

    def close(self) -> None:
        """Ends all of them."""
        for session_id in self._ids:
            self._workers.remove(session_id)
        self._ids.clear()
        self.addresses.clear()
