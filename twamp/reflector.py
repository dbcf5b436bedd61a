"""The responder, ``twampd``: TWAMP Server and Session-Reflector in one program."""

import argparse
import asyncio
import errno
import logging
import secrets
import signal
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from twamp.config import ReflectorConfig, add_arguments, from_table, given_fields
from twamp.errors import ConfigError
from twamp.server import Server
from twamp.session_reflector import SessionReflector
from twamp.users import Users, open_private, read_key_file, read_user_tables

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
        "--config",
        metavar="FILE",
        help="TOML: these options by name, and tables [user.NAME] with a password; "
        "the command line goes before it",
    )
    result.add_argument(
        "-v", "--verbose", action="store_true", help="log every control message, not only events"
    )
    return result


def read_options(options: argparse.Namespace) -> tuple[ReflectorConfig, Users]:
    """What the command line and the file say; raises ConfigError, or OSError for a file."""
    fields, users = {}, Users()
    if options.config is not None:
        table = read_file(options.config)
        users = read_user_tables(options.config, table.pop("user", {}))
        fields = from_table(ReflectorConfig, table)
    config = ReflectorConfig(**fields | given_fields(ReflectorConfig, options))
    if config.key_file is not None:
        users |= read_key_file(config.key_file)
    return config, users


def read_file(path: str) -> dict[str, Any]:
    """A TOML file; one with passwords in it must be private."""
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        if "user" in table:
            open_private(path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return table


async def respond(config: ReflectorConfig, users: Users) -> None:
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
        async with Server(config, reflector, users) as server:
            where = ", ".join(str(address) for address in server.addresses)
            low, high = config.test_ports
            logger.info(
                "listening on %s, test ports %d-%d, modes offered: %s",
                where,
                low,
                high,
                str(server.offered.name).lower().replace("|", ", "),
            )
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
        config, users = read_options(options)
    except OSError as error:
        print(f"twampd: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except ConfigError as error:
        print(f"twampd: {error}", file=sys.stderr)
        return 1
    try:
        uvloop.run(respond(config, users))
    except ConfigError as error:
        print(f"twampd: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"twampd: {explain(error, config)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
