"""The command line of twping: options and a target, a file of targets, or a saved run to report."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twamp.config.arguments import (
    HIDDEN,
    Parser,
    RaisingParser,
    add_arguments,
    given_fields,
    spelled_out,
)
from twamp.config.ping import PingConfig
from twamp.config.row import Given, key_of, rows
from twamp.config.target import Target
from twamp.errors import ConfigError
from twamp.monitor.targets import Targets, read_targets
from twamp.ping.summary_files import require_directory
from twamp.ping.target import target_of, with_source
from twamp.report.pictures import require_plot
from twamp.version import version

EXAMPLES = (
    ("twping 192.0.2.1", "measure 100 packets to the Server there"),
    ("twping -c 1000 -i 0.01f --json twamp.example:8620", "1000 packets, 10 ms apart, as JSON"),
    ("twping --continuous --report-interval 10 192.0.2.1", "report every 10 s until Ctrl-C"),
)
EXIT_CODES = """\
Exit codes: 0 measured, 1 could not be set up, 2 interrupted, 3 a threshold of
--fail was crossed, or nothing came back (with -R 0: the rows show it, and
perfSONAR takes any other code for a run that failed), 4 the Server ended the
sessions before every packet was measured.  SIGTERM ends --continuous as its
natural end does: with 0, 1 or 3."""
# The options that a report of a saved run may have.
OF_REPORTS = frozenset(
    field for field, row in rows(PingConfig) if row.group in ("report", "report for programs")
) - {"progress"}


@dataclass(frozen=True)
class CommandLine:
    """The words of a command line; ``fields`` are the options of PingConfig that were given."""

    host: str | None
    server: str | None
    config_file: str | None
    fields: Mapping[str, Any]


def parser() -> Parser:
    """Makes the parser: one option per row of :class:`~twamp.config.ping.PingConfig`."""
    result = RaisingParser(
        "twping",
        usage="[OPTION]... HOST [SERVER]",
        description="Measure the round trip to a TWAMP Server (RFC 5357).",
        version=version(),
        examples=EXAMPLES,
        notes=EXIT_CODES,
        allow_abbrev=False,
    )
    result.add_argument(
        "host",
        nargs="?",
        metavar="HOST",
        help="host, host:port, IPv6 address or [IPv6 address]:port",
    )
    result.add_argument(
        "server", nargs="?", metavar="SERVER", help="the TWAMP Server, if it is not at HOST"
    )
    result.add_argument(
        "--config",
        dest="config_file",
        metavar="FILE",
        help="TOML file of targets to measure continuously (implies --continuous)",
    )
    add_arguments(result, PingConfig)
    result.add_argument("-F", dest="file", help=HIDDEN)
    return result


def parse(arguments: Sequence[str]) -> CommandLine:
    """Splits the command line into its words; ConfigError for what is no option."""
    spelled = map(_spell_out, spelled_out(PingConfig, arguments))
    options = parser().parse_args([*spelled])
    if options.file is not None:
        raise ConfigError(
            "-F: we do not write perfSONAR's owp files; -R prints every packet and --json the whole "
            "report: twping -R … > FILE"
        )
    return CommandLine(
        options.host, options.server, options.config_file, given_fields(PingConfig, options)
    )


def _spell_out(argument: str) -> str:
    """``-v`` and ``-v5`` never take the next word, as ``-v HOST`` shows (perfSONAR's ``-v[N]``)."""
    match = re.fullmatch(r"-v(\d*)|(--verbose)", argument, re.ASCII)
    return argument if match is None else f"--verbose={match[1] or 'all'}"


def read_command_line(arguments: Sequence[str]) -> tuple[PingConfig, Target | None]:
    """Returns options and target (None: the responder of ``--loopback``); ConfigError if they are wrong."""
    return measurement_of(parse(arguments))


def measurement_of(command_line: CommandLine) -> tuple[PingConfig, Target | None]:
    """Returns options and target (None: the responder of ``--loopback``); ConfigError if they are wrong."""
    config = PingConfig(**command_line.fields)
    if config.save_summaries:
        require_directory(config.directory)
    if config.plot is not None:
        require_plot(config.plot)
    host = command_line.host
    if config.loopback:
        if host is not None:
            raise ConfigError(f"loopback: measures itself, not {host!r}; give HOST or --loopback")
        return config, None
    if host is None:
        raise ConfigError("HOST is missing; for example twping 192.0.2.1, or twping --loopback")
    return with_source(config), target_of(host, config, command_line.server)


def targets_of(command_line: CommandLine) -> Targets:
    """Returns the targets of ``--config``, with the options of the command line.

    Raises as :func:`~twamp.monitor.targets.read_targets` does.
    """
    if command_line.host is not None:
        raise ConfigError(f"config: the targets are in the file; leave {command_line.host!r} out")
    assert command_line.config_file is not None
    return read_targets(
        command_line.config_file,
        {field: Given(value, "command line") for field, value in command_line.fields.items()},
    )


def read_report_command_line(arguments: Sequence[str]) -> tuple[PingConfig, str]:
    """Returns the options of ``twping report FILE``, and the file; ConfigError if they are wrong."""
    command_line = parse(arguments)
    alien = [key_of(name) for name in command_line.fields if name not in OF_REPORTS]
    if alien:
        raise ConfigError(f"{alien[0]}: twping report measures nothing, so leave it out")
    if command_line.host is None or command_line.server is not None:
        raise ConfigError("twping report FILE takes one file, of -R or of --json --samples")
    config = PingConfig(**command_line.fields)
    if config.plot is not None:
        require_plot(config.plot)
    return config, command_line.host
