"""Rows: what is declared for an option."""

import dataclasses

from twamp.config.row import Config, rows


def test_config_without_rows_checks_nothing() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Nothing(Config):
        plain: int = 5

    assert rows(Nothing) == []
    assert Nothing(plain=-1).plain == -1
