"""Settings of a responder on loopback, for tests."""

from typing import Any

from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given
from twamp.reflector.responder import Responder
from twamp.reflector.settings import Settings


def settings(**options: Any) -> Settings:
    """On a free port of 127.0.0.1, without a control socket; ``options`` as if of the command line."""
    everything: dict[str, Any] = {
        "listen_address": "127.0.0.1",
        "port": 0,
        "control_socket": "none",
        **options,
    }
    given = {name: Given(value, "command line") for name, value in everything.items()}
    return Settings(ReflectorConfig(**everything), given=given)


def responder_of(first: Settings, *later: Settings | Exception) -> Responder:
    """A responder that reads ``later`` at its reloads, one each; what is an error is raised."""
    coming = iter(later)

    def read() -> Settings:
        following = next(coming)
        if isinstance(following, Exception):
            raise following
        return following

    return Responder(first, read)
