"""Options as rows: default, least, most, help, and how a value is read.

Everything derives from the rows of a :class:`Config`: field ``maximum_connections``, command line
``--maximum-connections``, TOML key ``maximum-connections``.  Constructing a config reads and checks every
row, whoever brings the values, so a value may be text (command line), what TOML has for it, or the
field's own type.  :class:`~twamp.errors.ConfigError` names the key, the value, the range and the remedy.
"""

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from twamp.config.readers import integer
from twamp.errors import ConfigError

_ROW = "twamp.option"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of one option beside its name and type."""

    default: Any
    least: int | Decimal | None
    most: int | Decimal | None
    help: str
    read: Callable[[object], Any]
    flags: tuple[str, ...]
    multiple: bool
    metavar: str | None
    restart: bool
    bare: str | None  # what the option says when it stands without a value

    @property
    def range(self) -> str:
        return "" if self.least is None else f"{self.least}-{self.most}"

    def value(self, key: str, value: object) -> Any:
        """``value`` as the field's type, within the range; else :class:`ConfigError`."""
        if self.multiple:
            elements = value if isinstance(value, tuple | list) else (value,)
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
            within = f" from {self.least} to {self.most}" if self.range else ""
            raise ConfigError(
                f"{key}: {_shown(value)} is not {error}{within}{self._example(key)}"
            ) from None
        if self.least is not None and self.most is not None:
            numbers = result if isinstance(result, tuple) else (result,)
            if not all(self.least <= number <= self.most for number in numbers):
                raise ConfigError(
                    f"{key}: {_shown(value)} is out of range; "
                    f"it goes from {self.least} to {self.most}{self._example(key)}"
                )
            if list(numbers) != sorted(numbers):
                raise ConfigError(
                    f"{key}: {_shown(value)} ends before it begins; write the lower port, from "
                    f"{self.least} to {self.most}, first{self._example(key)}"
                )
        return result

    def _example(self, key: str) -> str:
        text = default_text(self.default)
        return f"; for example --{key} {text}" if text else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…" + text[-1]


def default_text(default: object) -> str:
    """A default as one would write it on the command line; empty for none."""
    if default is None or default == () or isinstance(default, bool):
        return ""
    if type(default) is tuple:
        return "-".join(str(part) for part in default)
    return str(default)


def written(row: Row, value: object) -> str:
    """A value as one would write it on the command line; a list with commas, nothing for none."""
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


def option(
    default: Any,
    least: int | Decimal | None = None,
    most: int | Decimal | None = None,
    help: str = "",
    *,
    read: Callable[[object], Any] = integer,
    flags: tuple[str, ...] = (),
    multiple: bool = False,
    metavar: str | None = None,
    restart: bool = False,
    bare: str | None = None,
) -> Any:
    """A row: a dataclass field with default, range (both ends included) and help.

    ``flags`` are further spellings on the command line (``-c``, ``--interface``); a ``multiple``
    one may be given more than once and is a tuple; one with ``restart`` is not changed by a reload; one
    with ``bare`` may stand without ``=VALUE`` and then has that.
    """
    row = Row(
        default=default,
        least=least,
        most=most,
        help=help,
        read=read,
        flags=flags,
        multiple=multiple,
        metavar=metavar,
        restart=restart,
        bare=bare,
    )
    return dataclasses.field(default=default, metadata={_ROW: row})


class Config:
    """Base of the programs' options: checks every row when it is made."""

    def __post_init__(self) -> None:
        for field, row in rows(type(self)):
            value = row.value(key_of(field), getattr(self, field))
            object.__setattr__(self, field, value)
        self.check_cross_rules()

    def check_cross_rules(self) -> None:
        """Rules over more than one option; raises :class:`ConfigError`."""


ConfigT = TypeVar("ConfigT", bound=Config)


def key_of(field: str) -> str:
    return field.replace("_", "-")


def rows(config_class: type[Config]) -> Sequence[tuple[str, Row]]:
    """The (field, row) pairs, in the order of declaration."""
    fields: Sequence[dataclasses.Field[Any]] = dataclasses.fields(config_class)  # type: ignore[arg-type]
    return [(field.name, field.metadata[_ROW]) for field in fields if _ROW in field.metadata]


# ---- a file --------------------------------------------------------------------------------------


def field_of(config_class: type[Config], key: str) -> str:
    """The field of a TOML key; an unknown key is refused with the nearest known one."""
    known = {key_of(field): field for field, _ in rows(config_class)}
    if key not in known:
        near = difflib.get_close_matches(key, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise ConfigError(f"{key!r} is no option; {remedy}")
    return known[key]


# ---- values and who said so ----------------------------------------------------------------------


class Given(NamedTuple):
    """A value of an option, and where it was given."""

    value: object
    origin: str  # "command line", or a file and its line

    def blame(self, error: ConfigError) -> ConfigError:
        """The same error, saying where the value is that caused it."""
        return ConfigError(f"{self.origin}: {error}")


def settle(
    config_class: type[ConfigT], *sources: Mapping[str, Given]
) -> tuple[ConfigT, dict[str, Given]]:
    """The config that the sources make, the later before the earlier, and what each field came from.

    Raises :class:`ConfigError` with the place of the value that is wrong.
    """
    given = {field: value for source in sources for field, value in source.items()}
    by_key = {key_of(field): value for field, value in given.items()}
    for field, row in rows(config_class):
        if field in given:
            try:
                row.value(key_of(field), given[field].value)
            except ConfigError as error:
                raise given[field].blame(error) from None
    try:
        return config_class(**{field: value.value for field, value in given.items()}), given
    except ConfigError as error:  # a rule over several: it begins with the key to change
        culprit = by_key.get(str(error).partition(":")[0])
        if culprit is None:
            raise
        raise culprit.blame(error) from None
