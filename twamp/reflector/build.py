"""The parts of a responder that may fail to be made: sockets, metrics, the network card, the engine.

Everything here is made before the responder serves, and raises :class:`~twamp.errors.ConfigError` with the
option and the remedy when it cannot be.
"""

import contextlib
import errno
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

from twamp.config.reflector import ReflectorConfig
from twamp.config.row import placed, require_none
from twamp.control.listeners import listening_error, open_light_sockets, open_listeners
from twamp.engine.privileges import identity
from twamp.engine.session_reflector import SessionReflector
from twamp.engine.stamping import HardwareStamping, open_stamping
from twamp.engine.workers import Workers
from twamp.errors import ConfigError
from twamp.reflector.exporter import Exporter
from twamp.reflector.settings import Settings
from twamp.reflector.state import ResponderState
from twamp.reflector.status_socket import open_status_socket

logger = logging.getLogger("twamp.responder")

LATE = (errno.EADDRNOTAVAIL, errno.ENODEV)  # an address or an interface may still come
LOOK_EVERY = 0.5  # seconds, while they are waited for

Opened = TypeVar("Opened")
ReadState = Callable[[], ResponderState]


@dataclass
class Bound:
    """The sockets and files that a responder opens before it serves."""

    listeners: list[socket.socket]
    inherited: bool  # the listeners are systemd's, which has bound them
    light: list[list[socket.socket]]  # for each address, one for each worker
    status_socket: socket.socket | None
    exporter: Exporter | None
    stamping: HardwareStamping | None

    def close(self) -> None:
        """Closes all of it, for a responder that never served."""
        for one in (
            *(*self.listeners, *chain(*self.light)),
            *(self.status_socket, self.exporter, self.stamping),
        ):
            if one is not None:
                one.close()


def bind(settings: Settings, inherited: Sequence[socket.socket], read_state: ReadState) -> Bound:
    """Opens everything; leaves nothing open when it raises."""
    config = settings.config
    with contextlib.ExitStack() as opened:
        bound = Bound(list(inherited), bool(inherited), [], None, None, None)
        opened.callback(bound.close)
        if not inherited:
            bound.listeners = open_in_time("port", config, open_listeners)
        if config.light:
            bound.light = open_in_time("light-port", config, open_light_sockets)
        bound.status_socket = _open_status_socket(settings)
        if config.metrics_address is not None:
            bound.exporter = _open_exporter(config, read_state)
        bound.stamping = _open_stamping(config)
        opened.pop_all()
    return bound


def open_in_time(
    option: str, config: ReflectorConfig, opener: Callable[[ReflectorConfig], list[Opened]]
) -> list[Opened]:
    """Calls ``opener`` once its address and interface are there, or ``listen-wait`` has passed."""
    until = time.monotonic() + config.listen_wait
    waiting = False
    while True:
        try:
            return opener(config)
        except OSError as error:
            reason = listening_error(error, config, option)
            if error.errno not in LATE or time.monotonic() >= until:
                raise reason from None
        if not waiting:
            logger.warning("%s; waiting up to %d s for it", reason, config.listen_wait)
        waiting = True
        time.sleep(LOOK_EVERY)


def open_or_explain(
    option: str, config: ReflectorConfig, opener: Callable[[ReflectorConfig], list[Opened]]
) -> list[Opened]:
    """Calls ``opener``; raises ConfigError in terms of ``option`` when it fails."""
    try:
        return opener(config)
    except OSError as error:
        raise listening_error(error, config, option) from None


def _open_status_socket(settings: Settings) -> socket.socket | None:
    config = settings.config
    path = config.control_socket
    if path.lower() == "none":
        return None
    owner = identity(config.run_as_user, config.run_as_group)
    try:
        return open_status_socket(path, None if os.geteuid() else owner)
    except OSError as error:
        text = f"control-socket: cannot listen on {path}: {error.strerror}"
        if "control_socket" in settings.given:
            raise ConfigError(f"{text}; give another --control-socket, or none") from None
        # The default path may be closed to an ordinary user, whose responder does without.
        logger.warning("%s; twampctl will not find this responder", text)
        return None


def _open_exporter(config: ReflectorConfig, read_state: ReadState) -> Exporter:
    assert config.metrics_address is not None
    try:
        return Exporter(*config.metrics_address, read_state)
    except OSError as error:
        raise ConfigError(
            f"metrics-address: cannot listen on {config.metrics_address}: {error.strerror}; "
            "give another --metrics-address"
        ) from None


# ---- the engine ----------------------------------------------------------------------------------


def _open_stamping(config: ReflectorConfig) -> HardwareStamping | None:
    """The network card's timestamps; None if they are not wanted, or not to be had and not required."""
    if not config.hardware:
        return None
    assert config.iface is not None  # a rule of the config
    stamping, reason = open_stamping(config.iface, strict=config.hwtstamp == "strict")
    if stamping is None:
        logger.warning("%s", reason)
    return stamping


def make_workers(config: ReflectorConfig, stamping: HardwareStamping | None) -> Workers:
    """The Session-Reflectors, which do not run yet."""
    timestamp = "auto" if config.timestamp == "hardware" else config.timestamp
    if stamping is not None:
        timestamp = "hardware"
    with contextlib.ExitStack() as made:
        reflectors = []
        for number in range(config.workers):
            cpu = config.cpu[number % len(config.cpu)] if config.cpu else None
            reflectors.append(_make_reflector(config, cpu, timestamp))
            made.callback(reflectors[-1].close)
        workers = Workers(reflectors, config.maximum_sessions)
        workers.set_light_clients(config.client_list)
        made.pop_all()
    return workers


def _make_reflector(config: ReflectorConfig, cpu: int | None, timestamp: str) -> SessionReflector:
    return SessionReflector(
        maximum_sessions=config.maximum_sessions,
        tx_batch=config.tx_batch,
        t3_budget_ns=config.t3_budget * 1000,
        t3_correction=config.t3_correction,
        hash_seed=secrets.randbits(64),
        rate_limit=config.rate_limit,
        light_rate_limit=config.light_rate_limit,
        error_estimate=config.error_estimate,
        timestamp=timestamp,
        timestamp_format=config.timestamp_format,
        spin_us=config.spin_us,
        cpu=cpu,
        realtime=config.realtime,
    )


# ---- whether all of it could be made ---------------------------------------------------------------


def require_startable(settings: Settings) -> None:
    """Raises :class:`~twamp.errors.ConfigError`, a line each, for what this host lacks.

    Checked are accounts, processors, interfaces, addresses and prometheus-client; not ports, which the
    running responder may have, nor the privileges of the account that will start it.
    """
    require_none([placed(error, settings.given) for error in _lacking(settings.config)])


def _lacking(config: ReflectorConfig) -> Iterator[str]:
    try:
        identity(config.run_as_user, config.run_as_group)
    except ConfigError as error:
        yield str(error)
    for cpu in config.cpu:
        if not _may_run_on(cpu):
            yield f"cpu: this process may not run on processor {cpu}; `lscpu` lists the processors"
    for address in config.listen_address or (None,):
        one = replace(config, listen_address=() if address is None else (address,))
        try:
            for listener in open_listeners(replace(one, port=0)):
                listener.close()
        except OSError as error:
            yield str(listening_error(error, one))
    if config.metrics_address is not None:
        any_port = config.metrics_address._replace(port=0)
        try:
            _open_exporter(replace(config, metrics_address=any_port), _no_state).close()
        except ConfigError as error:
            yield str(error)


def _may_run_on(cpu: int) -> bool:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return False
    os.sched_setaffinity(0, before)
    return True


def _no_state() -> ResponderState:
    raise RuntimeError("nothing is served yet")
