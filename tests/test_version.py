"""The version: that of the installed package."""

import importlib.metadata

import pytest

from twamp.version import version


def test_it_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"twamp": "9.8.7"}.__getitem__)
    assert version() == "9.8.7"


def test_a_tree_that_is_not_installed_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", not_found)
    assert version() == "unknown"
