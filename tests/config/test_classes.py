"""Classes of clients: what a table holds, and which class counts for a client."""

from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from twamp.config.classes import NO_CLASS, Classes, ClientClass, read_class_tables
from twamp.config.row import rows
from twamp.config.toml_file import read_config_files
from twamp.errors import ConfigError

RANGES = {field: row for field, row in rows(ClientClass) if row.range and not row.multiple}
LISTS: dict[str, Any] = {"users": "alice", "clients": "192.0.2.0/24", "dscp_values": 46}


def where(*path: str) -> str:
    return "twampd.toml, line 1"


def classes(**tables: dict[str, Any]) -> Classes:
    return Classes(read_class_tables(tables, where))


def test_the_most_specific_class_counts() -> None:
    known = classes(
        vip={"users": ["alice"]},
        site={"clients": ["192.0.2.0/24", "2001:db8::/32"]},
        lab={"clients": ["192.0.2.128/25"]},
        guests={"unauthenticated": True},
    )

    def name(user: str | None, address: str) -> str:
        return known.of(user, ip_address(address)).name

    assert name("alice", "192.0.2.200") == "vip"
    assert name("bob", "192.0.2.200") == "lab"
    assert name(None, "192.0.2.1") == "site"
    assert name(None, "2001:db8::1") == "site"
    assert name(None, "198.51.100.1") == "guests"
    assert known.of("bob", ip_address("198.51.100.1")) is NO_CLASS
    assert Classes().of(None, ip_address("192.0.2.1")) is NO_CLASS


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        ({"a": {}}, "class.a: nobody is in this class"),
        ({"a": {"user": ["alice"]}}, "class.a: 'user' is no option; did you mean 'users'"),
        ({"a": 1}, r"class.a: write a table \[class.a\]"),
        ({"a": {"users": ["x"]}, "b": {"users": ["x"]}}, "class.b: user 'x' is in class.a, too"),
        (
            {"a": {"clients": ["::/0"]}, "b": {"clients": ["::/0"]}},
            "class.b: ::/0 is in class.a, too",
        ),
        (
            {"a": {"unauthenticated": True}, "b": {"unauthenticated": True}},
            "class.b: unauthenticated is in class.a, too",
        ),
    ],
)
def test_what_is_wrong_is_named(tables: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        classes(**tables)


@pytest.mark.parametrize("field", RANGES)
def test_a_limit_takes_its_bounds_and_nothing_beyond(field: str) -> None:
    bounds = RANGES[field].bounds
    assert bounds is not None
    for good in bounds:
        values: dict[str, Any] = {field: int(good)}
        assert getattr(ClientClass(**values), field) == good
    for bad in (bounds[0] - 1, bounds[1] + Decimal(1)):
        values = {field: int(bad)}
        with pytest.raises(ConfigError, match=field.replace("_", "-")):
            ClientClass(**values)


@pytest.mark.parametrize("field", LISTS)
def test_a_list_takes_its_most_entries_and_no_more(field: str) -> None:
    row = dict(rows(ClientClass))[field]
    values: dict[str, Any] = {field: row.entries * (LISTS[field],)}
    assert len(getattr(ClientClass(**values), field)) == row.entries
    values[field] += (LISTS[field],)
    with pytest.raises(ConfigError, match="too many"):
        ClientClass(**values)


def test_the_classes_of_all_files_are_one_configuration(tmp_path: Path) -> None:
    path = tmp_path / "twampd.toml"
    path.write_text("port = 8620\n[class.a]\nunauthenticated = true\nmaximum-sessions = 2\n")
    (tmp_path / "twampd.toml.d").mkdir()
    (tmp_path / "twampd.toml.d" / "b.toml").write_text("[class.b]\nclients = ['192.0.2.0/24']\n")
    found = read_config_files(str(path))
    assert not found.errors
    assert [one.name for one in found.given["classes"].value] == ["a", "b"]  # type: ignore[attr-defined]
    (tmp_path / "twampd.toml.d" / "c.toml").write_text("[class.c]\nunauthenticated = true\n")
    assert "class.c: unauthenticated is in class.a" in "".join(read_config_files(str(path)).errors)
