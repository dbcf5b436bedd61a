"""The loss of the interface that a responder is bound to, and its return.

A socket that is bound to a device stays bound to it when it is gone, so nothing can arrive there any more:
everything is closed, and opened anew on the interface that comes back under the same name.
"""

import logging
import socket
from collections.abc import Callable

from twamp.control.listeners import open_light_sockets, open_listeners
from twamp.control.server import Server
from twamp.errors import ConfigError
from twamp.reflector.build import open_or_explain
from twamp.reflector.light import LightSessions
from twamp.reflector.watch import InterfaceWatch

logger = logging.getLogger("twamp.responder")

GONE = "its interface is gone"


class InterfaceLoss:
    """Leaves the interface ``device`` when it is gone, and listens again when it is back.

    ``keeps_listeners`` is for listeners of systemd, which has a BindToDevice= of its own.
    """

    def __init__(
        self,
        device: str,
        server: Server,
        light: LightSessions,
        *,
        keeps_listeners: bool,
        index_of: Callable[[str], int] = socket.if_nametoindex,
    ) -> None:
        self._device = device
        self._server = server
        self._light = light
        self._keeps_listeners = keeps_listeners
        self._watch = InterfaceWatch(device, index_of)
        self._returned = False  # the interface is back, and nothing listens there yet
        self._obstacle = ""  # why not

    def look(self) -> None:
        """To be called every second or so."""
        news = self._watch.look()
        if news is not None:
            self._leave()
            self._returned = news == "back"
            self._obstacle = ""
        if news == "lost":
            self._server.events["interface_lost"] += 1
            logger.error("interface %s is gone; waiting for it to come back", self._device)
        elif self._returned and news is None and not self._server.service.draining:
            # One look later: by then the event loop has closed what was open there.
            self._listen_again()

    def _leave(self) -> None:
        for connection in list(self._server.connections):
            connection.end(GONE)
        for session in self._server.sessions:
            self._server.sessions.end(session, GONE)
        self._light.close()
        if not self._keeps_listeners:
            self._server.listen([])

    def _listen_again(self) -> None:
        """Opens everything again; the interface may get its addresses later, so each look tries anew."""
        config = self._server.config
        listeners: list[socket.socket] = []
        try:
            if not self._keeps_listeners:
                listeners = open_or_explain("port", config, open_listeners)
            light = []
            if config.light:
                light = open_or_explain("light-port", config, open_light_sockets)
        except ConfigError as error:
            for listener in listeners:
                listener.close()
            if str(error) != self._obstacle:  # once, not at each look
                logger.error(
                    "interface %s is back, but %s; trying again and again", self._device, error
                )
            self._obstacle = str(error)
            return
        self._returned = False
        if listeners:
            self._server.listen(listeners)
        self._light.open(light)
        logger.warning("interface %s is back; listening there again", self._device)
