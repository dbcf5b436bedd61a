"""The errors of this package, as a tree, and what to do about those of the system.

::

    TwampError
    ├── ProtocolError            a rule of the RFCs was broken; .accept and .section say which
    │   ├── LocalProtocolError   we were about to break it: a bug of the caller
    │   └── RemoteProtocolError  the peer broke it
    │       └── IntegrityError   its HMAC is wrong
    ├── Refused                  the peer refused a request; .accept and .section say how
    └── ConfigError              an option has a value that it cannot have (also a ValueError)

System errors stay :class:`OSError`; :func:`explain` adds the remedy to them.  Every other message ends
with the remedy where there is one.
"""

import errno
import os
from collections.abc import Mapping


class TwampError(Exception):
    """Base of all errors of this package; system errors are :class:`OSError`."""


class ProtocolError(TwampError):
    """A rule of the RFCs was broken.

    ``accept`` is the Accept value to answer with (RFC 4656 section 3.3), ``section`` names the rule.
    """

    def __init__(self, message: str, *, accept: int = 1, section: str = "") -> None:
        super().__init__(f"{message} ({section})" if section else message)
        self.accept = accept
        self.section = section


class LocalProtocolError(ProtocolError):
    """The caller asked to send a message that the RFCs do not allow now."""


class RemoteProtocolError(ProtocolError):
    """The peer sent a message that the RFCs do not allow, or not now."""


class IntegrityError(RemoteProtocolError):
    """The HMAC of a message is wrong: the connection ends (RFC 4656 section 6.10)."""


class Refused(TwampError):
    """The peer answered with an Accept value other than 0; ``accept`` holds it."""

    def __init__(self, message: str, *, accept: int, section: str = "") -> None:
        super().__init__(f"{message} ({section})" if section else message)
        self.accept = accept
        self.section = section


class ConfigError(TwampError, ValueError):
    """An option is wrong; the message names the option, the value, the range and the remedy."""


# What to do about an error of the system, by errno and in the words of twping's options.
TWPING_REMEDIES: Mapping[int, str] = {
    errno.ECONNREFUSED: "is a TWAMP Server running there? --control-port names another TCP port",
    errno.EADDRNOTAVAIL: "--source-address must be an address of this machine",
    errno.ENODEV: "`ip link` lists the interfaces",
    errno.EPERM: "--interface needs CAP_NET_RAW where the kernel is older than 5.7",
    errno.ENETUNREACH: "`ip route get` says which way packets would go; -4 and -6 choose",
    errno.EHOSTUNREACH: "`ip route get` says which way packets would go; -4 and -6 choose",
    errno.EMSGSIZE: "--padding must leave room in the path's packets",
    errno.EMFILE: "`ulimit -n` allows too few open files for so many sessions",
}


def explain(error: BaseException, remedies: Mapping[int, str]) -> str:
    """Describes an error in one line, with the remedy that ``remedies`` has for its errno, if any.

    A :class:`ConfigError` of several options keeps its lines.
    """
    if isinstance(error, ConfigError):
        return str(error)
    if not isinstance(error, OSError):
        return " ".join(str(error).split())
    text = error.strerror or str(error)
    if isinstance(error.filename, str | os.PathLike):
        text = f"{os.fspath(error.filename)}: {text}"
    remedy = remedies.get(error.errno or 0)
    return f"{text}; {remedy}" if remedy else text
