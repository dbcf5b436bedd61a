"""Sets up a continuous measurement of the target of a command line, or of a file of targets."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from twamp.config.ping import PingConfig
from twamp.engine.session_source import SessionSource
from twamp.errors import ConfigError
from twamp.monitor.forms import Form
from twamp.monitor.monitor import Monitor
from twamp.monitor.output import Output, RotatingFile, StreamOutput
from twamp.monitor.probe import MeasureOnce, Prober
from twamp.monitor.targets import Targets

Warn = Callable[[str], None]
SourceOf = Callable[[str, PingConfig], SessionSource]  # of a host, as the file writes it


@contextlib.contextmanager
def open_monitor(
    options: PingConfig, warn: Warn, prober: Prober | None = None
) -> Iterator[Monitor]:
    """Opens a monitor without targets yet, whose reports go to ``--output`` or to standard output.

    Raises OSError when the file cannot be opened.
    """
    head = Form(options).head
    output: Output = StreamOutput(sys.stdout, head)
    if options.output is not None:
        size, count = options.rotate_size, options.rotate_count
        output = RotatingFile(options.output, size, count, head)
    with contextlib.closing(output):
        yield Monitor(options, output, warn, prober)


@contextlib.contextmanager
def monitor_of_file(
    file: Targets, source_of: SourceOf, measure_once: MeasureOnce, warn: Warn
) -> Iterator[Monitor]:
    """Opens a monitor of the targets of a file, with ``/probe`` if the file has modules and a metrics address.

    Raises ConfigError for a file that asks for nothing or too much, OSError as :func:`open_monitor`.
    """
    has_probes = bool(file.modules) and file.options.metrics_address is not None
    if not file.targets and not has_probes:
        raise ConfigError(
            "config: there is nothing to do; give a [target.NAME], or a [module.NAME] to probe with "
            "and a metrics-address"
        )
    prober = Prober(file, measure_once) if has_probes else None
    sources = [source_of(target.host, target.config) for target in file.targets]
    with open_monitor(file.options, warn, prober) as monitor:
        for target, source in zip(file.targets, sources, strict=True):
            monitor.watch(target.name, target.config, source)
        yield monitor
