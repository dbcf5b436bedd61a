"""What can go wrong, as a tree.

::

    TwampError
    ├── ProtocolError            the conversation broke a rule; .accept and .section say which
    │   ├── LocalProtocolError   we were about to break it: a bug of the caller
    │   └── RemoteProtocolError  the peer broke it
    │       └── IntegrityError   its HMAC is wrong
    ├── Refused                  the peer said no; .accept and .section say how
    └── ConfigError              an option has a value that it cannot have (also a ValueError)

System errors stay :class:`OSError`.  A message ends with the remedy where there is one.
"""


class TwampError(Exception):
    """Any error of this package that is not a system error."""


class ProtocolError(TwampError):
    """A rule of the RFCs was broken.

    ``accept`` is the Accept value that tells the peer so (RFC 4656 section 3.3), ``section`` names
    the rule.
    """

    def __init__(self, message: str, *, accept: int = 1, section: str = "") -> None:
        super().__init__(f"{message} ({section})" if section else message)
        self.accept = accept
        self.section = section


class LocalProtocolError(ProtocolError):
    """We were asked to send what the RFCs do not let us send now."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what it may not send, or not now."""


class IntegrityError(RemoteProtocolError):
    """The HMAC of a message does not fit it: the connection ends (RFC 4656 section 6.10)."""


class Refused(TwampError):
    """The peer answered with an Accept value other than 0; ``accept`` holds it."""

    def __init__(self, message: str, *, accept: int, section: str = "") -> None:
        super().__init__(f"{message} ({section})" if section else message)
        self.accept = accept
        self.section = section


class ConfigError(TwampError, ValueError):
    """An option is wrong; the message names the option, the value, the range and the remedy."""
