"""TOML files as text: the line of each key and table, and what is no TOML."""

from pathlib import Path

import pytest

from twamp.config.toml_text import TomlText
from twamp.errors import ConfigError


def read(path: Path, text: str) -> TomlText:
    file = path / "a.toml"
    file.write_text(text)
    return TomlText(str(file))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("port = 1", 1),
        ("tx-batch = 1\n  port=1", 2),
        ("# port = 0\nmode = [\n 'mixed'\n]\n\"port\" = 1", 5),
        ("[port]\n", 1),
        ("[port.x]\n", 1),
        ("port.x = 1\n", 1),
    ],
)
def test_the_line_of_a_key(tmp_path: Path, text: str, line: int) -> None:
    assert read(tmp_path, text).line("port") == line


def test_the_line_of_a_key_in_a_table(tmp_path: Path) -> None:
    text = "a = 1\n[user.'x.y']\nb = 2\na = 3\n[user.z]\na = 4\n[other]\ninline = {deep = 1}\n"
    file = read(tmp_path, text)
    assert file.line("a") == 1
    assert file.line("user") == 2
    assert file.line("user", "x.y", "a") == 4
    assert file.where("user", "z", "a") == f"{tmp_path}/a.toml, line 6"
    assert file.line("other", "inline", "deep") == 8
    assert file.line("missing") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("port = " + 20_000 * "[", "nested too deeply"),
        ("port = " + 20_000 * "{a=", "nested too deeply"),
        ("port = " + 10_000 * "1", "digits"),
        ("port = 2026-99-99", r"line 1"),
    ],
)
def test_hostile_toml_is_refused_like_any_other(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"{tmp_path}/a\.toml: .*{reason}"):
        read(tmp_path, text)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffport = 1\n").table == {"port": 1}
