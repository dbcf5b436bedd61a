"""The responder's program, ``twampd``: options, signals, privileges; see :mod:`~twamp.reflector.responder`."""

import sys

from twamp.config import program

if __name__ == "__main__":  # before the imports that take time, during which Ctrl-C may come
    sys.exit(program.twampd())

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
from collections.abc import Sequence

import uvloop

from twamp.config.arguments import Parser, add_arguments, given_fields, spelled_out
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Given, key_of, rows, toml_text
from twamp.config.users import weaknesses
from twamp.engine.privileges import KEPT, drop_privileges
from twamp.errors import ConfigError
from twamp.reflector import logs, systemd
from twamp.reflector.build import require_startable
from twamp.reflector.responder import Responder
from twamp.reflector.settings import Settings, read_settings
from twamp.version import version

logger = logging.getLogger("twamp.reflector")


EXAMPLES = (
    ("twampd", "serve on port 862 of every address; needs root"),
    ("twampd --port 8620 --client-list 192.0.2.0/24", "serve the clients of one network"),
    ("twampd --config /etc/twamp/twampd.toml --check-config", "check a configuration"),
)
NOTES = """\
SIGHUP reads the files again; SIGTERM lets sessions finish, SIGINT does not;
SIGUSR1 writes the state to the log."""


def parser() -> argparse.ArgumentParser:
    """The command line: one option per row of :class:`~twamp.config.reflector.ReflectorConfig`."""
    result = Parser(
        "twampd",
        usage="[OPTION]...",
        description="TWAMP Server and Session-Reflector (RFC 5357).",
        version=version(),
        examples=EXAMPLES,
        notes=NOTES,
    )
    result.add_argument(
        "-v", "--verbose", action="store_true", help="log every control message, not only events"
    )
    files = result.add_argument_group("configuration")
    files.add_argument(
        "--config",
        metavar="FILE",
        help="TOML file of these options, and of tables [user.NAME] with a password; FILE.d/*.toml "
        "overrides it, and the command line overrides both",
    )
    files.add_argument(
        "--check-config",
        action="store_true",
        help="check the configuration and exit",
    )
    files.add_argument(
        "--print-config",
        action="store_true",
        help="print the options in force as TOML, with the origin of each, and exit",
    )
    files.add_argument(
        "--print-unit",
        action="store_true",
        help="print a systemd unit that runs this program, and exit",
    )
    add_arguments(result, ReflectorConfig)
    return result


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of command line and files; raises as :func:`~twamp.reflector.settings.read_settings`."""
    given = given_fields(ReflectorConfig, options)
    spoken = {name: Given(value, "command line") for name, value in given.items()}
    return read_settings(options.config, spoken)


def print_config(settings: Settings) -> None:
    """Prints the options in force as TOML that can be read back; passwords are left out."""
    for name, row in rows(ReflectorConfig):
        value = getattr(settings.config, name)
        origin = settings.given[name].origin if name in settings.given else "default"
        if value is None:
            print(f"# {key_of(name)} is not set")
        else:
            print(f"{key_of(name)} = {toml_text(row, value)}  # {origin}")
    for one in settings.config.classes:
        print(f"# class {one.name!r} is known")
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
        signal.pthread_sigmask(signal.SIG_UNBLOCK, program.HELD_BACK)
        await responder.wait()


def own_path() -> str:
    """Where this program is installed: beside its Python."""
    return os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "twampd")


def raise_descriptor_limit() -> None:
    """Raises the limit as far as possible: each connection takes a descriptor, and each test port."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError):  # a unit may forbid it, and sets the limit itself
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(options: argparse.Namespace) -> int:
    """The program behind its command line; raises what :func:`main` explains."""
    if options.print_unit:
        print(systemd.unit_text(own_path()), end="")
        return 0
    settings = settings_of(options)
    if options.print_config:
        print_config(settings)
        return 0
    if options.check_config:
        require_startable(settings)
        for weakness in weaknesses(settings.users):
            print(f"twampd: warning: {weakness}", file=sys.stderr)
        print("the configuration is right")
        return 0
    logs.configure(settings.config.log_format, options.verbose)
    raise_descriptor_limit()
    responder = Responder(
        settings, lambda: settings_of(options), inherited=systemd.inherited_sockets()
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
        for line in str(error).splitlines():
            print(f"twampd: {line}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"twampd: {where}{error.strerror or error}", file=sys.stderr)
    return 1
