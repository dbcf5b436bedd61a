"""TWAMP (RFC 5357): the Two-Way Active Measurement Protocol.

The four roles of the RFC, each a class::

    Server             grants test sessions over TWAMP-Control          (twamp.control.server)
    SessionReflector   answers their test packets, in C                 (twamp.engine.session_reflector)
    ControlClient      asks a Server for test sessions                  (twamp.control.client)
    SessionSender      sends test packets and keeps what came, in C     (twamp.engine.session_sender)

``twamp.protocol`` is the protocol without I/O; ``measure`` turns samples into metrics, and where they are too
many to keep a ``SessionFold`` adds them to a ``Tally`` of ``Histogram``; the programs are
``twamp.reflector`` (``twampd``) and ``twamp.ping`` (``twping``).
"""

from twamp.config.reflector import ReflectorConfig
from twamp.control.client import AcceptedSession, ControlClient, SessionRequest
from twamp.control.server import Server
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.engine.session_sender import SenderConfig, SessionSender
from twamp.errors import (
    ConfigError,
    IntegrityError,
    LocalProtocolError,
    ProtocolError,
    Refused,
    RemoteProtocolError,
    TwampError,
)
from twamp.metrics.figures import Metrics
from twamp.metrics.histogram import Histogram
from twamp.metrics.measure import measure
from twamp.metrics.sample import Measurement, Sample
from twamp.metrics.tally import SessionFold, Tally
from twamp.protocol.schedule import make_schedule, parse_intervals

__all__ = [
    "AcceptedSession",
    "ConfigError",
    "ControlClient",
    "Endpoint",
    "Histogram",
    "IntegrityError",
    "LocalProtocolError",
    "Measurement",
    "Metrics",
    "ProtocolError",
    "ReflectorConfig",
    "Refused",
    "RemoteProtocolError",
    "Sample",
    "SenderConfig",
    "Server",
    "SessionConfig",
    "SessionFold",
    "SessionReflector",
    "SessionRequest",
    "SessionSender",
    "Tally",
    "TwampError",
    "make_schedule",
    "measure",
    "parse_intervals",
]
