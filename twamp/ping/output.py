"""Reports a finite run: makes the pieces, prints them, and judges the exit code."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any

from twamp.config.ping import PingConfig
from twamp.config.row import key_of, rows
from twamp.errors import TWPING_REMEDIES, ConfigError, explain
from twamp.metrics.cut import by_packets
from twamp.metrics.figures import Metrics
from twamp.metrics.measure import Results
from twamp.metrics.sample import Measurement
from twamp.metrics.threshold import Failure, crossed
from twamp.monitor.outcome import Outcome
from twamp.ping.causes import remarks, silence
from twamp.ping.sessions import ns_of
from twamp.ping.summary_files import save
from twamp.report.json_tree import failures_tree, json_tree
from twamp.report.packets import packet_lines, raw_rows
from twamp.report.perfsonar import machine_summary
from twamp.report.pictures import TERMINAL, draw, terminal_text
from twamp.report.rows import csv_lines, influx_lines
from twamp.report.text import heading, text_summary, text_total
from twamp.report.units import UNITS, Style
from twamp.version import version


def report(
    results: Results,
    config: PingConfig,
    saved: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Yields the report that the options ask for, piece by piece, each with its line ends.

    ``saved`` is the configuration of the run where that is not ``config``.
    """
    style = Style(
        unit=UNITS[config.units],
        percentiles=config.percentiles,
        unix_time=config.unix_time,
        trust_clocks=config.trust_clocks,
    )
    if config.json:
        tree = json_tree(
            results,
            version=version(),
            configuration=_as_run(results, config) if saved is None else saved,
            percentiles=config.percentiles,
            with_samples=config.samples,
        ) | failures_tree(_failures(results, config))
        yield json.dumps(tree, indent=2) + "\n"
    elif config.csv or config.influx:
        lines = csv_lines if config.csv else influx_lines
        yield from lines(results, ns_of(config.bin))
    elif config.raw:
        for place, measurement in enumerate(results.measurements):
            yield "\n" if place else ""
            yield from (row + "\n" for row in raw_rows(measurement))
    elif not config.quiet:
        yield from _summaries(results, config, style)
    if config.plot == TERMINAL:
        yield terminal_text(results, colour=has_colour(), trust_clocks=config.trust_clocks)
    elif config.plot is not None:
        draw(results, config.plot, trust_clocks=config.trust_clocks)


def _summaries(results: Results, config: PingConfig, style: Style) -> Iterator[str]:
    for measurement in results.measurements:
        for part in by_packets(measurement, config.packets_per_summary):
            metrics = results.of_part(part)
            pieces = _summary(part, metrics, config, style)
            if config.save_summaries:
                kind = "sum" if config.machine else "txt"
                yield f"{save(config.directory, metrics, kind, pieces)}\n"
            else:
                yield from pieces
    if len(results.metrics) > 1 and not config.machine and not config.save_summaries:
        yield text_total(results, style)


def _summary(
    measurement: Measurement, metrics: Metrics, config: PingConfig, style: Style
) -> Iterator[str]:
    if config.machine:
        yield machine_summary(
            measurement,
            metrics,
            unix_times=config.unix_time,
            dscp=config.test_dscp_value,
            padding_length=measurement.padding_length if config.padding is None else config.padding,
            bucket_width=config.bucket_width,
        )
        return
    if config.verbose:
        yield heading(measurement)
        for line in islice(packet_lines(measurement, style), config.verbose):
            yield line + "\n"
    yield text_summary(measurement, metrics, style)


def has_colour() -> bool:
    """Whether standard output is a terminal, and NO_COLOR does not say otherwise."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _as_run(results: Results, config: PingConfig) -> dict[str, Any]:
    """The options by key, the default of ``padding`` as the mode has made it."""
    first = next(iter(results.measurements), None)
    if config.padding is None and first is not None:
        config = replace(config, padding=first.padding_length)
    return configuration(config)


def configuration(config: PingConfig) -> dict[str, Any]:
    """Returns the options by key; times in nanoseconds."""
    result: dict[str, Any] = {}
    for field, _ in rows(PingConfig):
        value = getattr(config, field)
        if isinstance(value, Decimal):
            value = ns_of(value)
        elif field == "percentiles":
            value = [float(percent) for percent in value]
        elif field == "fail":
            value = [str(threshold) for threshold in value]
        result[key_of(field)] = value
    return result


def print_report(
    results: Results,
    config: PingConfig,
    saved: Mapping[str, Any] | None = None,
) -> Outcome:
    """Prints the report and judges it; ``saved`` as in :func:`report`."""
    try:
        _print(report(results, config, saved))
    except (ConfigError, OSError) as error:  # a file that could not be written after all
        complain(explain(error, TWPING_REMEDIES))
        return Outcome.NO_SET_UP
    return judge(results, config)


def judge(results: Results, config: PingConfig) -> Outcome:
    """Returns the outcome of the results, and writes the reasons for a bad one to standard error."""
    if results.ended:
        missing = results.total.not_measured
        complain(f"{results.ended}; {missing} packets were not measured")
        if missing:
            return Outcome.CUT_SHORT
    for remark in remarks(results):
        complain(remark)
    if not results.total.received:
        complain(silence(results))
        # A reader of rows sees the loss in them, and takes another code for a run that failed.
        return Outcome.MEASURED if config.raw and not config.fail else Outcome.NOTHING_BACK
    failures = _failures(results, config)
    for failure in failures:
        complain(f"failed: {failure}")
    return Outcome.of(received=True, failed=bool(failures))


def _failures(results: Results, config: PingConfig) -> list[Failure]:
    return crossed(config.fail, results.total, trust_clocks=config.trust_clocks)


def complain(text: str) -> None:
    """Writes to standard error, each line with the program's name."""
    for line in text.splitlines():
        print(f"twping: {line}", file=sys.stderr)


def _print(pieces: Iterable[str]) -> None:
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has had enough (`twping … | head`); nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
