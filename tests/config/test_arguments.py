"""Command lines are made from the rows."""

import argparse
import dataclasses

from twamp.config.arguments import add_arguments
from twamp.config.ping import PingConfig
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Config, rows


def test_each_row_has_help_and_an_option_of_its_name() -> None:
    programs: list[type[Config]] = [ReflectorConfig, PingConfig]
    for config_class in programs:
        parser = argparse.ArgumentParser()
        add_arguments(parser, config_class)
        text = parser.format_help()
        for field, row in rows(config_class):
            assert f"--{field.replace('_', '-')}" in text
            assert row.help
        assert len(rows(config_class)) == len(dataclasses.fields(config_class))  # type: ignore[arg-type]


def test_help_shows_default_and_range() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ReflectorConfig)
    text = " ".join(parser.format_help().split())
    assert "(default 18760-19960; 1-65535)" in text
    assert "(default 900; 1-3600)" in text
