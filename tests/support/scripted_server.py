"""A TCP server that follows a script: it shows a client behaviour that our Server never has."""

import asyncio
import socket
import threading
from typing import Self, TypeVar

from twamp.protocol.control_messages import (
    AcceptSession,
    RequestTWSession,
    ServerGreeting,
    ServerStart,
    SetUpResponse,
    StartAck,
    StartSessions,
    StopSessions,
)
from twamp.protocol.message import Message
from twamp.protocol.registries import Accept, Modes

MessageT = TypeVar("MessageT", bound=Message)


class ScriptedServer:
    """A TCP server on 127.0.0.1 that grants one session at a port where nobody answers.

    ``received`` is what the client said; without ``greets`` it never says a word; one that ``leaves`` closes
    the connection when the sessions have started.
    """

    def __init__(
        self, *, greets: bool = True, accept: Accept = Accept.OK, leaves: bool = False
    ) -> None:
        self.received: list[Message] = []
        self._accept = accept
        self._greets = greets
        self._leaves = leaves
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._silent.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.test_port: int = self._silent.getsockname()[1]
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        self._listener.close()
        self._silent.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        self._connected.set()
        with connection:
            connection.settimeout(10)
            if not self._greets:
                connection.recv(1)
                return
            script: list[tuple[Message, type[Message], int]] = [
                (ServerGreeting(Modes.UNAUTHENTICATED, count=1024), SetUpResponse, 164),
                (ServerStart(Accept.OK), RequestTWSession, 112),
                (AcceptSession(self._accept, self.test_port, bytes(range(16))), StartSessions, 32),
                (StartAck(Accept.OK), StopSessions, 32),
            ]
            for answer, kind, size in script:
                connection.sendall(bytes(answer))
                if self._leaves and kind is StopSessions:
                    return
                octets = connection.recv(size, socket.MSG_WAITALL)
                if not octets:
                    return
                self.received.append(kind.parse(octets))

    def the(self, kind: type[MessageT]) -> MessageT:
        [message] = [message for message in self.received if isinstance(message, kind)]
        return message

    async def until_connected(self) -> None:
        """Returns when a client has connected."""
        assert await asyncio.to_thread(self._connected.wait, 10)
