"""twping without an end, from its options to its exit code: one target, or those of a file."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twamp.config.arguments import given_fields
from twamp.config.ping import PingConfig
from twamp.config.row import Given
from twamp.config.target import Target, read_target
from twamp.errors import ConfigError
from twamp.metrics.sample import Measurement
from twamp.monitor.monitor import Measured, Monitor
from twamp.monitor.output import Output, RotatingFile, StreamOutput
from twamp.monitor.probe import Prober
from twamp.monitor.targets import Targets, read_targets
from twamp.monitor.watch import SessionSource


class OneRun(SessionSource[Any], Protocol):
    """What sets sessions up, and can measure once, too."""

    async def run(self) -> list[Measurement]: ...


Dial = Callable[[PingConfig, Target], OneRun]
Warn = Callable[[str], None]


def read_targets_for(options: argparse.Namespace) -> Targets:
    """The file of ``--config``, and what the command line says beside it; errors of read_targets."""
    if options.host is not None:
        raise ConfigError(f"config: the targets are in the file; leave {options.host!r} out")
    given = given_fields(PingConfig, options)
    return read_targets(
        options.config_file,
        {field: Given(value, "command line") for field, value in given.items()},
    )


def _target(host: str, config: PingConfig) -> Target:
    """A host that is its own Server."""
    port, zero_addresses = config.control_port, config.zero_addresses
    return read_target(host, None, default_port=port, zero_addresses=zero_addresses)


async def monitor(
    options: PingConfig, targets: Sequence[Measured], warn: Warn, prober: Prober | None = None
) -> int:
    """Measures until a signal comes; returns the exit code."""
    output: Output = StreamOutput(sys.stdout)
    if options.output is not None:
        output = RotatingFile(options.output, options.rotate_size, options.rotate_count)
    with contextlib.closing(output):
        running = Monitor(options, targets, output, warn, prober)
        await running.run()
    return running.outcome


async def monitor_many(file: Targets, dial: Dial, warn: Warn) -> int:
    """The targets of a file, and ``/probe`` if it has modules; returns the exit code."""

    async def run(host: str, config: PingConfig) -> Sequence[Measurement]:
        return await dial(config, _target(host, config)).run()

    has_probes = bool(file.modules) and file.options.metrics_address is not None
    if not file.targets and not has_probes:
        raise ConfigError(
            "config: there is nothing to do; give a [target.NAME], or a [module.NAME] to probe with "
            "and a metrics-address"
        )
    prober = Prober(file, run) if has_probes else None
    targets = [
        Measured(
            name=one.name,
            config=one.config,
            dialler=dial(one.config, _target(one.host, one.config)),
        )
        for one in file.targets
    ]
    return await monitor(file.options, targets, warn, prober)
