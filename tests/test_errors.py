"""The errors: what they say, which they are, and the remedies of those of the system."""

import errno
import os
from pathlib import Path

import pytest

from twamp import errors
from twamp.errors import (
    TWPING_REMEDIES,
    ConfigError,
    IntegrityError,
    LocalProtocolError,
    ProtocolError,
    Refused,
    RemoteProtocolError,
    TwampError,
    explain,
)


def test_every_error_of_the_package_is_a_twamp_error_and_none_is_of_the_system() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    own = [kind for kind in kinds if kind.__module__ == errors.__name__]
    assert len(own) == 7
    for kind in own:
        assert issubclass(kind, TwampError)
        assert not issubclass(kind, OSError)


@pytest.mark.parametrize("kind", [LocalProtocolError, RemoteProtocolError, IntegrityError])
def test_a_protocol_error_names_its_rule_and_its_accept_value(kind: type[ProtocolError]) -> None:
    error = kind("a fault", accept=3, section="RFC 5357 section 3")
    assert (str(error), error.accept) == ("a fault (RFC 5357 section 3)", 3)
    assert (str(kind("a fault")), kind("a fault").accept) == ("a fault", 1)


def test_a_refusal_keeps_the_accept_value() -> None:
    refused = Refused("no", accept=5, section="RFC 5357 section 3.5")
    assert (str(refused), refused.accept) == ("no (RFC 5357 section 3.5)", 5)
    assert refused.section == "RFC 5357 section 3.5"


def test_a_config_error_is_a_value_error() -> None:
    assert isinstance(ConfigError("port: …"), ValueError)


@pytest.mark.parametrize("number", TWPING_REMEDIES)
def test_a_system_error_is_explained_with_its_remedy(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert explain(error, TWPING_REMEDIES) == f"{os.strerror(number)}; {TWPING_REMEDIES[number]}"


def test_without_a_remedy_the_text_stands_alone() -> None:
    assert explain(OSError(errno.EIO, "broken"), TWPING_REMEDIES) == "broken"
    assert explain(OSError("no number"), {errno.EIO: "mend it"}) == "no number"


def test_the_file_of_an_error_is_named() -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        Path("/nonexistent/keys").read_text()
    assert explain(caught.value, {}) == "/nonexistent/keys: No such file or directory"


def test_another_error_is_one_line() -> None:
    assert explain(ValueError("two\n  lines"), TWPING_REMEDIES) == "two lines"
    assert explain(ConfigError("a: no\nb: no"), TWPING_REMEDIES) == "a: no\nb: no"
