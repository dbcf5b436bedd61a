"""The responder, ``twampd``: TWAMP Server and Session-Reflector in one program."""

import argparse
import asyncio
import errno
import logging
import secrets
import signal
import sys
from collections.abc import Sequence

import uvloop

from twamp.config import ReflectorConfig, add_arguments, from_arguments
from twamp.errors import ConfigError
from twamp.server import Server
from twamp.session_reflector import SessionReflector

logger = logging.getLogger("twamp.reflector")


def parser() -> argparse.ArgumentParser:
    """The command line: one option per row of :class:`~twamp.config.ReflectorConfig`."""
    result = argparse.ArgumentParser(
        prog="twampd",
        description="TWAMP Server and Session-Reflector (RFC 5357).",
        epilog="SIGINT and SIGTERM end it.",
    )
    add_arguments(result, ReflectorConfig)
    result.add_argument(
        "-v", "--verbose", action="store_true", help="log every control message, not only events"
    )
    return result


async def respond(config: ReflectorConfig) -> None:
    """Serves until SIGINT or SIGTERM; raises :class:`OSError` when it cannot begin."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with SessionReflector(
        maximum_sessions=config.maximum_sessions,
        tx_batch=config.tx_batch,
        hash_seed=secrets.randbits(64),
    ) as reflector:
        async with Server(config, reflector) as server:
            where = ", ".join(str(address) for address in server.addresses)
            low, high = config.test_ports
            logger.info("listening on %s, test ports %d-%d", where, low, high)
            await stop.wait()
            logger.info("stopping")
        stats = reflector.stats()
        drops = ", ".join(f"{count} {name}" for name, count in stats.drops.items() if count)
        logger.info(
            "%d test packets received, %d reflected, dropped: %s",
            stats.received,
            stats.reflected,
            drops or "none",
        )


def explain(error: OSError, config: ReflectorConfig) -> str:
    """What an operator can do about an error at start."""
    where = " or ".join(config.listen_address) or "any address"
    what = f"cannot listen on {where}, TCP port {config.port}: {error.strerror or error}"
    if error.errno in (errno.EACCES, errno.EPERM) and config.port < 1024:
        return (
            f"{what}; ports below 1024 need CAP_NET_BIND_SERVICE: run as root or give --port 8620"
        )
    if error.errno == errno.EADDRINUSE:
        return f"{what}; another program listens there: stop it, or give another --port"
    if error.errno == errno.ENODEV:
        return f"{what}; is {config.iface!r} the name of an interface? `ip link` lists them"
    return what


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code: 0 after a signal, 1 when it could not begin."""
    options = parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        config = from_arguments(ReflectorConfig, options)
    except ConfigError as error:
        print(f"twampd: {error}", file=sys.stderr)
        return 1
    try:
        uvloop.run(respond(config))
    except OSError as error:
        print(f"twampd: {explain(error, config)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
