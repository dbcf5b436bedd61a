"""TWAMP (RFC 5357): the Two-Way Active Measurement Protocol.

To measure a path, three lines are enough::

    results = await twamp.measure_path("192.0.2.1", count=100)
    print(results.total.lost, results.total.round_trip.delay.median)

The four roles of the RFC, each a class::

    Server             grants test sessions over TWAMP-Control          (twamp.control.server)
    SessionReflector   answers their test packets, in C                 (twamp.engine.session_reflector)
    ControlClient      asks a Server for test sessions                  (twamp.control.client)
    SessionSender      sends test packets and keeps what came, in C     (twamp.engine.session_sender)

``twamp.protocol`` is the protocol without I/O; ``measure`` turns samples into metrics, and where they are too
many to keep a ``SessionFold`` adds them to a ``Tally`` of ``Histogram``; the programs are
``twamp.reflector`` (``twampd``) and ``twamp.ping`` (``twping``).

A name is imported when it is first used, so ``import twamp.protocol`` loads neither C nor asyncio.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # as mypy has a name exported: by its own name
    from twamp.config.classes import ClientClass as ClientClass, Classes as Classes
    from twamp.config.readers import HostPort as HostPort
    from twamp.config.reflector import ReflectorConfig as ReflectorConfig
    from twamp.config.users import Users as Users
    from twamp.control.client import (
        AcceptedSession as AcceptedSession,
        ControlClient as ControlClient,
        Credentials as Credentials,
        SessionRequest as SessionRequest,
    )
    from twamp.control.server import Server as Server
    from twamp.endpoint import Endpoint as Endpoint
    from twamp.engine.native import EngineClockModel as EngineClockModel
    from twamp.engine.session_reflector import (
        SessionConfig as SessionConfig,
        SessionReflector as SessionReflector,
    )
    from twamp.engine.session_sender import (
        Collected as Collected,
        SenderConfig as SenderConfig,
        SenderStats as SenderStats,
        SessionSender as SessionSender,
    )
    from twamp.engine.statistics import (
        EngineHistogram as EngineHistogram,
        ReflectorStats as ReflectorStats,
        SessionStats as SessionStats,
        T3ErrorStats as T3ErrorStats,
    )
    from twamp.errors import (
        ConfigError as ConfigError,
        IntegrityError as IntegrityError,
        LocalProtocolError as LocalProtocolError,
        ProtocolError as ProtocolError,
        Refused as Refused,
        RemoteProtocolError as RemoteProtocolError,
        TwampError as TwampError,
    )
    from twamp.metrics.figures import (
        Delay as Delay,
        Hops as Hops,
        Loss as Loss,
        Metrics as Metrics,
        Reordering as Reordering,
    )
    from twamp.metrics.histogram import Histogram as Histogram
    from twamp.metrics.measure import Results as Results, measure as measure
    from twamp.metrics.incidents import Incidents as Incidents
    from twamp.metrics.sample import Measurement as Measurement, Sample as Sample
    from twamp.metrics.tally import (
        SessionFold as SessionFold,
        Tally as Tally,
        Variation as Variation,
    )
    from twamp.metrics.values import (
        Distribution as Distribution,
        Less as Less,
        Movable as Movable,
        Values as Values,
    )
    from twamp.ping.path import PathOptions as PathOptions, measure_path as measure_path
    from twamp.protocol.crypto import PacketKeys as PacketKeys
    from twamp.protocol.registries import Accept as Accept, Modes as Modes
    from twamp.protocol.schedule import (
        Slot as Slot,
        make_schedule as make_schedule,
        parse_intervals as parse_intervals,
    )

    __version__: str

# Each module, and what of it is public.
_PUBLIC = {
    # measuring a path
    "twamp.ping.path": ("PathOptions", "measure_path"),
    "twamp.metrics.measure": ("Results", "measure"),
    "twamp.metrics.incidents": ("Incidents",),
    "twamp.metrics.sample": ("Measurement", "Sample"),
    "twamp.metrics.figures": ("Delay", "Hops", "Loss", "Metrics", "Reordering"),
    "twamp.metrics.values": ("Distribution", "Less", "Movable", "Values"),
    "twamp.metrics.histogram": ("Histogram",),
    "twamp.metrics.tally": ("SessionFold", "Tally", "Variation"),
    # roles
    "twamp.config.classes": ("Classes", "ClientClass"),
    "twamp.config.readers": ("HostPort",),
    "twamp.config.reflector": ("ReflectorConfig",),
    "twamp.config.users": ("Users",),
    "twamp.control.client": ("AcceptedSession", "ControlClient", "Credentials", "SessionRequest"),
    "twamp.control.server": ("Server",),
    "twamp.endpoint": ("Endpoint",),
    "twamp.engine.native": ("EngineClockModel",),
    "twamp.engine.session_reflector": ("SessionConfig", "SessionReflector"),
    "twamp.engine.session_sender": ("Collected", "SenderConfig", "SenderStats", "SessionSender"),
    "twamp.engine.statistics": (
        "EngineHistogram",
        "ReflectorStats",
        "SessionStats",
        "T3ErrorStats",
    ),
    # protocol
    "twamp.protocol.registries": ("Accept", "Modes"),
    "twamp.protocol.crypto": ("PacketKeys",),
    "twamp.protocol.schedule": ("Slot", "make_schedule", "parse_intervals"),
    # errors
    "twamp.errors": (
        "ConfigError",
        "IntegrityError",
        "LocalProtocolError",
        "ProtocolError",
        "Refused",
        "RemoteProtocolError",
        "TwampError",
    ),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used (PEP 562)."""
    if name == "__version__":
        from twamp.version import version

        value: object = version()
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
