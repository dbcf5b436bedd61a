"""An option as a row: its default, range, help, and how a value is read and checked.

The rows of a :class:`Config` are its dataclass fields.  Everything else is derived from them: the field
``maximum_connections`` is ``--maximum-connections`` on the command line and ``maximum-connections`` in
TOML.  Constructing a config reads and checks every row, wherever the values come from: a value may be text
(command line), a TOML value, or already of the field's type.  :class:`~twamp.errors.ConfigError` names the
key, the value, the range and the remedy.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from twamp.config.readers import integer
from twamp.errors import ConfigError

LONGEST_SHOWN = 80  # characters of a value in a message
_ROW = "twamp.option"


@dataclass(frozen=True, kw_only=True)
class Row:
    """The facts of an option beside its name and type."""

    default: Any
    help: str
    group: str  # heading of --help and of the manual page
    range: str  # "LEAST-MOST", both included; empty: none
    entries: int  # a list of at most so many values; 0: one value, no list
    read: Callable[[object], Any]
    flags: tuple[str, ...]
    metavar: str | None
    restart: bool
    bare: str | None  # the value of the option when it stands without one

    @property
    def multiple(self) -> bool:
        """Whether the value is a tuple, and the option may be repeated."""
        return self.entries > 0

    @property
    def limits(self) -> str:
        """Range and length of a list, in words; empty without both."""
        entries = f"at most {self.entries} values" if self.multiple else ""
        return "; ".join(filter(None, (self.range, entries)))

    @property
    def bounds(self) -> tuple[Decimal, Decimal] | None:
        """The least and the greatest value; None without a range."""
        if not self.range:
            return None
        least, most = self.range.split("-")
        return Decimal(least), Decimal(most)

    def value(self, key: str, value: object) -> Any:
        """``value`` as the field's type, within the range; else :class:`ConfigError`."""
        if self.multiple:
            elements = value if isinstance(value, tuple | list) else (value,)
            if len(elements) > self.entries:
                raise ConfigError(
                    f"{key}: {len(elements)} values are too many; give at most {self.entries}"
                )
            return tuple(self._one(key, element) for element in elements)
        if value is None and self.default is None:
            return None
        return self._one(key, value)

    def _one(self, key: str, value: object) -> Any:
        try:
            result = self.read(value)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from None
        except ValueError as error:
            within = f" from {self._range_in_words}" if self.range else ""
            raise ConfigError(
                f"{key}: {_shown(value)} is not {error}{within}{self._example(key)}"
            ) from None
        self._require_range(key, value, result if isinstance(result, tuple) else (result,))
        return result

    def _require_range(self, key: str, value: object, numbers: Sequence[Any]) -> None:
        if self.bounds is None:
            return
        least, most = self.bounds
        if not all(least <= number <= most for number in numbers):
            raise ConfigError(
                f"{key}: {_shown(value)} is out of range; "
                f"it goes from {self._range_in_words}{self._example(key)}"
            )
        if list(numbers) != sorted(numbers):
            raise ConfigError(
                f"{key}: {_shown(value)} ends before it begins; write the lower port, from "
                f"{self._range_in_words}, first{self._example(key)}"
            )

    @property
    def _range_in_words(self) -> str:
        return self.range.replace("-", " to ")

    def _example(self, key: str) -> str:
        text = default_text(self.default)
        return f"; for example --{key} {text}" if text else ""


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of nested tables
        return f"this {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "…" + text[-1]


# ---- declaration ---------------------------------------------------------------------------------


def option(
    default: Any,
    help: str,
    *,
    group: str = "",
    range: str = "",
    entries: int = 0,
    read: Callable[[object], Any] = integer,
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
    restart: bool = False,
    bare: str | None = None,
) -> Any:
    """A row: a dataclass field with a default and a help text.

    ``group`` is the heading from this row on, until a row that names another.  ``range`` is
    ``"LEAST-MOST"``, both included.  ``entries`` makes a list: the option may be repeated so many times.
    ``flags`` are further spellings on the command line (``-c``, ``--interface``).  A reload does not change
    an option with ``restart``.  An option with ``bare`` may stand without ``=VALUE``, and has that value
    then.
    """
    row = Row(
        default=default,
        help=help,
        group=group,
        range=range,
        entries=entries,
        read=read,
        flags=flags,
        metavar=metavar,
        restart=restart,
        bare=bare,
    )
    return dataclasses.field(default=default, metadata={_ROW: row})


class Config:
    """Base of the programs' options; checks every row when it is made."""

    def __post_init__(self) -> None:
        errors: list[str] = []
        for field, row in rows(type(self)):
            try:
                value = row.value(key_of(field), getattr(self, field))
                object.__setattr__(self, field, value)
            except ConfigError as error:
                errors.append(str(error))
        require_none(errors)
        require_none(self.contradictions())

    def contradictions(self) -> Iterator[str]:
        """Yields each contradiction between options that are right by themselves: "KEY: reason; remedy"."""
        return iter(())


ConfigT = TypeVar("ConfigT", bound=Config)


def require_none(errors: Iterator[str] | Sequence[str]) -> None:
    """Raises one :class:`ConfigError` of all these errors, a line each; nothing if there are none."""
    if text := "\n".join(errors):
        raise ConfigError(text)


# ---- names and texts -----------------------------------------------------------------------------


def key_of(field: str) -> str:
    """The name of an option on the command line and in TOML."""
    return field.replace("_", "-")


def rows(config_class: type[Config]) -> Sequence[tuple[str, Row]]:
    """The (field, row) pairs, in the order of declaration."""
    fields: Sequence[dataclasses.Field[Any]] = dataclasses.fields(config_class)  # type: ignore[arg-type]
    result = []
    group = ""
    for field in fields:
        if _ROW in field.metadata:
            row: Row = field.metadata[_ROW]
            group = row.group or group
            result.append((field.name, dataclasses.replace(row, group=group)))
    return result


def field_of(config_class: type[Config], key: str) -> str:
    """The field of a TOML key, also in its other long spellings; ConfigError names the nearest known one."""
    known = {key_of(field): field for field, _ in rows(config_class)}
    spellings = {
        name[2:]: field
        for field, row in rows(config_class)
        for name in row.flags
        if name.startswith("--")
    }
    if key in known or key in spellings:
        return (spellings | known)[key]
    near = difflib.get_close_matches(key[:LONGEST_SHOWN], [*known, *spellings], 1)
    remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise ConfigError(f"{_shown(key)} is no option; {remedy}")


def default_text(default: object) -> str:
    """A default as one would write it on the command line; empty for none."""
    if default is None or default == () or isinstance(default, bool):
        return ""
    if type(default) is tuple:
        return "-".join(str(part) for part in default)
    return str(default)


def written(row: Row, value: object) -> str:
    """A value as one would write it on the command line; a list with commas, empty for none."""
    if isinstance(value, bool):
        return str(value).lower()
    if row.multiple and isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return default_text(value)


def toml_text(row: Row, value: object) -> str:
    """A value as TOML."""
    if row.multiple and isinstance(value, tuple):
        return f"[{', '.join(json.dumps(str(part)) for part in value)}]"
    if isinstance(value, bool | int | Decimal):
        return str(value).lower()
    return json.dumps(default_text(value), ensure_ascii=False)


# ---- values, and where they were given -----------------------------------------------------------


class Given(NamedTuple):
    """A value of an option, and where it was given."""

    value: object
    origin: str  # "command line", "default", or a file and its line

    @property
    def in_file(self) -> bool:
        """Whether it was written in a file, as TOML."""
        return self.origin not in ("command line", "default")

    def blame(self, error: object) -> str:
        """The error with the place of the value that caused it, in the words of that place."""
        text = str(error)
        if self.in_file:  # where options are keys and no flags
            text = re.sub(r"(?<![^\s(])--(?=[a-z])", "", text)
        return f"{self.origin}: {text}"


def settle(
    config_class: type[ConfigT], *sources: Mapping[str, Given], errors: Sequence[str] = ()
) -> tuple[ConfigT, dict[str, Given]]:
    """The config that the sources make, a later source before an earlier, and where each field came from.

    Raises :class:`ConfigError` with ``errors``, found before, and everything that is wrong, a line each
    with its place.
    """
    given = {field: value for source in sources for field, value in source.items()}
    found = list(errors)
    wrong = set()
    for field, row in rows(config_class):
        if field in given:
            try:
                row.value(key_of(field), given[field].value)
            except ConfigError as error:
                found.append(
                    given[field].blame(_example_of(row, key_of(field), given[field], error))
                )
                wrong.add(field)
    try:
        config = config_class(
            **{field: value.value for field, value in given.items() if field not in wrong}
        )
    except ConfigError as error:
        # An option that has no value yet contradicts nothing.
        contradictions = [line for line in str(error).splitlines() if not wrong & {*_named(line)}]
        found += [placed(line, given) for line in contradictions]
    require_none(found)
    return config, given


def _example_of(row: Row, key: str, given: Given, error: ConfigError) -> str:
    """The error, its example as TOML where the value is."""
    flag = f"--{key} {default_text(row.default)}"
    return (
        str(error).replace(flag, f"{key} = {toml_text(row, row.default)}")
        if given.in_file
        else str(error)
    )


def placed(error: str, given: Mapping[str, Given]) -> str:
    """An error that names options, with the place of the first of them that was given."""
    for field in _named(error):
        if field in given:
            return given[field].blame(error)
    return error


def _named(error: str) -> list[str]:
    """The fields that an error may name: the key to change is its first word."""
    return [word.replace("-", "_") for word in re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", error)]
