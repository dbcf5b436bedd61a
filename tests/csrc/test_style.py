"""The style of C that csrc/README.md asks for, as far as a test can read it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
FILES = {str(path.relative_to(CSRC)): path.read_text() for path in sorted(CSRC.glob("*/*.[ch]"))}
SOURCES = {name: text for name, text in FILES.items() if name.endswith(".c")}
# Constants that old kernel headers lack, and the order of octets.
# What older headers lack, the order of octets, and the refusal of 32 bits.
CONDITIONAL = {"kernel/missing.h", "packet/octets.h", "api/types.h"}
MOST_LINES, MOST_PARAMETERS, MOST_HEAD = 50, 5, 6
FUNCTION = re.compile(r"^([a-z][^\n;{}#]*?)\b(\w+)\(([^;{}]*?)\)\n\{\n(.*?)^\}", re.M | re.S)


class Function(NamedTuple):
    name: str
    parameters: int
    lines: int
    exported: bool
    body: str


def functions(text: str) -> Iterator[Function]:
    for head, name, parameters, body in FUNCTION.findall(text):
        count = len(parameters.split(","))
        yield Function(name, count, body.count("\n") + 2, "static" not in head, body)


def test_functions_are_found() -> None:
    assert sum(len(list(functions(text))) for text in SOURCES.values()) > 150


def test_what_breaks_the_style_is_read_as_it_is() -> None:
    body = "    goto a;\n" * 60
    [found] = functions(
        f"int wrong(int a, int b,\n          int c, int d, int e, int f)\n{{\n{body}}}\n"
    )
    assert found[:4] == ("wrong", 6, 62, True)
    assert found.body.count("goto ") == 60


@pytest.mark.parametrize("name", FILES)
def test_a_function_is_short_and_takes_few_parameters(name: str) -> None:
    for function in functions(FILES[name]):
        assert function.lines <= MOST_LINES, function.name
        assert function.parameters <= MOST_PARAMETERS, function.name
        assert function.body.count("goto ") <= 1, function.name


@pytest.mark.parametrize("name", SOURCES)
def test_an_exported_name_begins_with_its_file_or_its_folder(name: str) -> None:
    folder, _, file = name.removesuffix(".c").partition("/")
    allowed = (f"tw_{file}", f"tw_{folder}_", "tw_layout")
    exported = [each.name for each in functions(SOURCES[name]) if each.exported]
    assert [each for each in exported if not each.startswith(allowed)] == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_opens_with_its_name_and_is_short(name: str) -> None:
    text = FILES[name]
    head = text[: text.index("*/") + 2]
    assert head.startswith(f"/* {Path(name).name}: ")
    assert head.count("\n") < MOST_HEAD
    assert text.count("\n") <= 500


@pytest.mark.parametrize("name", FILES)
def test_there_is_no_conditional_code_and_no_variable_of_the_file(name: str) -> None:
    if name not in CONDITIONAL:
        assert not re.search(r"^\s*#\s*(if|else|elif)", FILES[name], re.M)
    # Static data is const, wherever it stands.
    assert not re.search(r"^\s*static (?!const|inline)[^()]*[;=]", FILES[name], re.M)
    assert not re.search(r"^(?:u?int\w*|struct \w+|char|size_t) \*?\w+( = .*)?;", FILES[name], re.M)
