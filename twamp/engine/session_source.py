"""How a measurement gets its test sessions, whichever protocol sets them up.

A finite run and a continuous measurement know a :class:`SessionSource` only: TWAMP-Control is one way to
open sessions, and a protocol without a control connection is another.
"""

import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from twamp.endpoint import Endpoint
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.protocol.crypto import PacketKeys
from twamp.protocol.registries import Modes


@dataclass(frozen=True, kw_only=True)
class OpenSession:
    """A session that the far end answers, and the socket that its packets leave from.

    ``source`` and ``destination`` are the two ends of the test packets; the hosts are their names as the
    user wrote them, empty for none.
    """

    sid: bytes
    source: Endpoint
    destination: Endpoint
    sock: socket.socket
    source_host: str = ""
    destination_host: str = ""
    mode: Modes = Modes.UNAUTHENTICATED  # of the test packets
    keys: PacketKeys | None = field(default=None, repr=False)  # where that mode protects them


class OpenSessions(Protocol):
    """Sessions that have been started, until they are stopped or their source closes them."""

    @property
    def sessions(self) -> Sequence[OpenSession]: ...

    async def wait_for_the_end(self) -> None:
        """Waits while the sessions run; raises ProtocolError or OSError when the far end ends them."""

    async def stop(self) -> None:
        """Tells the far end that nothing more is sent; ProtocolError or OSError when it cannot."""


class SessionSource(Protocol):
    """Opens sessions, as often as asked, and makes their Session-Senders."""

    warnings: list[str]  # what the user should know, since they were last emptied

    def open(self, start_time: int = 0) -> AbstractAsyncContextManager[OpenSessions]:
        """Opens all sessions and closes them at the end.

        ``start_time``: the NTP timestamp of the first packet, 0 for at once.  Raises Refused,
        ProtocolError or OSError when the sessions cannot be opened.
        """

    def sender_config(self, session: OpenSession, start_ns: int) -> SenderConfig:
        """The packets that a session sends, from ``start_ns`` (CLOCK_MONOTONIC) on."""

    def make_sender(self, session: OpenSession, config: SenderConfig) -> SessionSender:
        """The session's sending end, which the caller closes."""
