"""The responder's program, ``twampd``: options, signals, privileges; see :mod:`~twamp.reflector.responder`."""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence

import uvloop

from twamp.config.arguments import add_arguments, given_fields, spelled_out
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given, key_of, rows, settle, toml_text
from twamp.config.toml_file import FromFiles, read_config_files
from twamp.config.users import Users, read_key_file
from twamp.control.server import offered_modes
from twamp.engine.privileges import KEPT, drop_privileges
from twamp.errors import ConfigError
from twamp.reflector import logs, systemd
from twamp.reflector.responder import Responder, Settings

logger = logging.getLogger("twamp.reflector")


def parser() -> argparse.ArgumentParser:
    """The command line: one option per row of :class:`~twamp.config.reflector.ReflectorConfig`."""
    result = argparse.ArgumentParser(
        prog="twampd",
        description="TWAMP Server and Session-Reflector (RFC 5357).",
        epilog="SIGHUP reads the files again; SIGTERM lets sessions finish, SIGINT does not; "
        "SIGUSR1 writes the state to the log.",
    )
    add_arguments(result, ReflectorConfig)
    result.add_argument(
        "--config",
        metavar="FILE",
        help="TOML: these options by name, and tables [user.NAME] with a password; FILE.d/*.toml "
        "go before it, and the command line before all",
    )
    result.add_argument(
        "--check-config",
        action="store_true",
        help="say whether the configuration is right, and end",
    )
    result.add_argument(
        "--print-config",
        action="store_true",
        help="print what would be in force, as TOML, and where each value comes from",
    )
    result.add_argument(
        "--print-unit", action="store_true", help="print a systemd unit that runs this program"
    )
    result.add_argument(
        "-v", "--verbose", action="store_true", help="log every control message, not only events"
    )
    return result


def read_settings(options: argparse.Namespace) -> Settings:
    """What the command line and the files say.

    Raises :class:`~twamp.errors.ConfigError` for what is not right, :class:`OSError` for a file that cannot
    be read.
    """
    files = (
        FromFiles({}, Users(), ()) if options.config is None else read_config_files(options.config)
    )
    spoken = {
        name: Given(value, "command line")
        for name, value in given_fields(ReflectorConfig, options).items()
    }
    config, given = settle(ReflectorConfig, files.given, spoken)
    users = files.users
    if config.key_file is not None:
        users |= read_key_file(config.key_file)
    try:
        offered_modes(config.mode, users)
    except ConfigError as error:
        raise given["mode"].blame(error) from None
    return Settings(config, users, given)


def print_config(settings: Settings) -> None:
    """What is in force as TOML that can be read back; passwords stay where they are."""
    for name, row in rows(ReflectorConfig):
        value = getattr(settings.config, name)
        origin = settings.given[name].origin if name in settings.given else "default"
        if value is None:
            print(f"# {key_of(name)} is not set")
        else:
            print(f"{key_of(name)} = {toml_text(row, value)}  # {origin}")
    for name in settings.users:
        print(f"# user {name!r} is known")


async def respond(responder: Responder) -> None:
    """Serves until a signal ends it; raises :class:`OSError` when the engine fails."""
    loop = asyncio.get_running_loop()
    async with responder:
        loop.add_signal_handler(signal.SIGINT, responder.stop)
        loop.add_signal_handler(signal.SIGTERM, responder.drain)
        loop.add_signal_handler(signal.SIGHUP, responder.reload)
        loop.add_signal_handler(signal.SIGUSR1, responder.dump)
        await responder.wait()


def own_path() -> str:
    """Where this program is installed: beside its Python."""
    return os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "twampd")


def raise_descriptor_limit() -> None:
    """As many descriptors as may be had: each connection takes one, and each test port."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError):  # a unit may forbid it, and sets the limit itself
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(options: argparse.Namespace) -> int:
    """The program behind its command line; raises what :func:`main` explains."""
    if options.print_unit:
        print(systemd.unit_text(own_path()), end="")
        return 0
    settings = read_settings(options)
    if options.print_config:
        print_config(settings)
        return 0
    if options.check_config:
        print("the configuration is right")
        return 0
    logs.configure(settings.config.log_format, options.verbose)
    raise_descriptor_limit()
    responder = Responder(
        settings, lambda: read_settings(options), inherited=systemd.inherited_sockets()
    )
    try:
        config = settings.config
        nice = ("sys_nice",) if config.realtime else ()
        drop_privileges(config.run_as_user, config.run_as_group, (*KEPT, *nice))
        uvloop.run(respond(responder))
    finally:
        responder.close()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code: 0 after a signal, 1 when it could not begin or go on."""
    spoken = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(spelled_out(ReflectorConfig, spoken))
    try:
        return run(options)
    except ConfigError as error:
        print(f"twampd: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"twampd: {where}{error.strerror or error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
