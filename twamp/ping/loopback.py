"""Runs a responder inside twping's own process, for ``--loopback``."""

import contextlib
import secrets
from collections.abc import AsyncIterator

from twamp.config.ping import PingConfig
from twamp.config.reflector import ReflectorConfig
from twamp.config.target import Target
from twamp.config.users import Users
from twamp.control.client import Credentials
from twamp.control.server import Server
from twamp.engine.session_reflector import SessionReflector


@contextlib.asynccontextmanager
async def loopback_responder(
    config: PingConfig, credentials: Credentials | None
) -> AsyncIterator[Target]:
    """Runs a Server and its Session-Reflector on a free TCP port; gives the target to measure."""
    users = Users({} if credentials is None else dict([credentials]))
    address = "::1" if config.ipv6 else "127.0.0.1"
    reflector_config = ReflectorConfig(
        listen_address=(address,),
        port=0,
        maximum_connections=1,
        maximum_sessions_per_connection=config.session_count,
    )
    async with (
        SessionReflector(hash_seed=secrets.randbits(64)) as reflector,
        Server(reflector_config, reflector, users) as server,
    ):
        yield Target(address, address, server.addresses[0].port)
