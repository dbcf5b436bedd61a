"""The public names of the package: they are loaded when used, and no type in a signature is missing."""

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import twamp

ROOT = Path(__file__).parent.parent
# What Server offers to twampd's own status and metrics, and to nobody else.
INSIDE = {"Connection", "Sessions", "Workers"}


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("module", ["protocol.timestamps", "protocol.control_messages", "endpoint"])
def test_the_protocol_loads_neither_c_nor_asyncio(module: str) -> None:
    run(
        f"import sys, twamp.{module}\n"
        "assert not {'twamp._native', 'asyncio', 'uvloop'} & set(sys.modules)"
    )


@pytest.mark.parametrize("name", twamp.__all__)
def test_each_name_is_there_and_kept(name: str) -> None:
    value = getattr(twamp, name)
    assert vars(twamp)[name] is value
    assert name in dir(twamp)


def test_the_version_is_that_of_the_distribution() -> None:
    from twamp.version import version

    assert twamp.__version__ == version()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        twamp.nothing  # noqa: B018
    with pytest.raises(ImportError):
        exec("from twamp import nothing")


def test_mypy_sees_the_names_that_there_are() -> None:
    """Its imports and the table that is used at run time agree, name by name."""
    seen = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(inspect.getsource(twamp)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == {(module, name) for module, names in twamp._PUBLIC.items() for name in names}


# ---- types in signatures -------------------------------------------------------------------------


def types_in(hint: object) -> Iterator[type]:
    """The classes that a type hint names, also within others."""
    if isinstance(hint, list | tuple):
        parts: Any = hint
    else:
        parts = typing.get_args(hint)
        if isinstance(hint, type) and not parts:
            yield hint
    for part in parts:
        yield from types_in(part)


def hints_of(thing: Any) -> Iterator[Mapping[str, Any]]:
    """The type hints of a function, or of the fields and the public methods of a class."""
    names = {"array": list}  # which cannot be subscripted at run time
    if not inspect.isclass(thing):
        yield typing.get_type_hints(thing, localns=names)
        return
    if dataclasses.is_dataclass(thing) or hasattr(thing, "__annotations__"):
        yield typing.get_type_hints(thing, localns=names)
    for base in thing.__mro__:
        for name, member in vars(base).items():
            function: Any = member.fget if isinstance(member, property) else member
            function = inspect.unwrap(getattr(function, "__func__", function))
            is_public = not name.startswith("_") or name == "__init__"
            if is_public and inspect.isfunction(function) and base.__module__.startswith("twamp"):
                yield typing.get_type_hints(function, localns=names)


def test_each_type_in_a_public_signature_is_public() -> None:
    public = {name: getattr(twamp, name) for name in twamp.__all__ if name != "__version__"}
    missing = {
        f"{each.__module__}.{each.__name__}, of {name}"
        for name, thing in public.items()
        for hints in hints_of(thing)
        for hint in hints.values()
        for each in types_in(hint)
        if each.__module__.startswith("twamp")
        and public.get(each.__name__) is not each
        and each.__name__ not in INSIDE
    }
    assert missing == set()


def test_the_walk_finds_types_in_types() -> None:
    def function(one: "Mapping[str, list[Path | None]]") -> Iterator[int]:
        raise NotImplementedError

    [hints] = hints_of(function)
    found = {each for hint in hints.values() for each in types_in(hint)}
    assert {Path, int, str} <= found


def test_the_modules_in_the_table_define_their_names() -> None:
    """A name comes from the module that defines it, so that moving it is noticed."""
    for module, names in twamp._PUBLIC.items():
        for name in names:
            assert getattr(importlib.import_module(module), name).__module__ == module, name
