"""The shape of a running responder's state, as ``twampctl``, the exporter and YANG share it.

A :class:`ResponderState` is plain data (JSON can carry it), copied out of the Server and the engine at one
moment.  Absolute times are RFC 3339 text in UTC, ages are seconds, counters are totals since the start, and
every counter that can move is there from the start with 0.
"""

from typing import NotRequired, TypedDict, cast


class Gauge(TypedDict):
    """A number now, and its limit."""

    current: int
    maximum: int


class Status(TypedDict):
    """The responder as a whole."""

    version: str
    pid: int
    state: str  # "serving" or "draining"
    started: str
    uptime: float
    listening: list[str]  # TWAMP-Control, TCP: "[::]:862"
    light: list[str]  # without TWAMP-Control, UDP
    port: int  # of the configuration
    test_ports: str
    modes: list[str]  # offered, lower case
    mode_bits: int  # the same as the Modes field
    count: int  # of the greeting: PBKDF2 iterations
    dscp: int  # dscp-value
    server_inactivity_timeout: int
    test_inactivity_timeout: int
    clock_synchronized: bool
    connections: Gauge  # set up; those that handshake are counted apart
    handshaking: int
    sessions: Gauge
    reloads: int
    last_reload: str | None
    restart_needed: list[str]  # options whose value in the file is not in force


class ConnectionRow(TypedDict):
    """One TWAMP-Control connection."""

    id: int
    client: str
    client_port: int
    server: str
    server_port: int
    state: str  # of the conversation, lower case: "set_up", "request", "test", ...
    mode: str | None  # chosen; None while the client has not
    mode_bits: int
    user: str | None
    count: int  # of its greeting
    since: str
    age: float
    idle: float  # since the last octet from the client
    sessions: int


class SessionRow(TypedDict):
    """One test session."""

    sid: str  # hexadecimal
    connection: (
        int  # id of the connection that requested it; gone while the session waits for its Timeout
    )
    client: str
    client_port: int
    server: str
    server_port: int
    sender: str
    sender_port: int
    reflector: str
    reflector_port: int
    mode: str
    dscp: int
    padding: int
    state: str  # "accepted", "started", "stopped"
    since: str
    received: int
    reflected: int
    dropped: int
    last_packet: float | None  # seconds ago
    last_received_sequence: int | None
    last_sent_sequence: int | None
    timestamp_source: str | None  # of the latest T2: "kernel", "user", "hardware"
    offload: str  # "none" until packets are answered below the socket


class ConnectionCounters(TypedDict):
    accepted: int  # TCP connections
    established: int  # set up
    ended: int
    rejected: dict[str, int]  # by reason
    handshake_timeout: int
    tokens: int  # of the secured modes, checked
    token_wait_seconds: float  # of all of them together, for their keys


class SessionCounters(TypedDict):
    accepted: int
    completed: int  # Stop-Sessions
    aborted: int  # its connection ended, or REFWAIT
    rejected: dict[str, int]  # by reason


class PacketCounters(TypedDict):
    """received == reflected + the sum of dropped, always.

    Beside these keys there is one for each row of :data:`twamp.engine.statistics.COUNTERS`.
    """

    received: int
    reflected: int
    dropped: dict[str, int]  # by reason
    timestamp_sources: dict[str, dict[str, int]]  # point ("T2") -> source -> packets
    sockets: int
    receive_buffer: int  # octets that the kernel granted, of the latest socket
    t3_chunk: float  # replies under one T3, now


def engine_counter(packets: PacketCounters, name: str) -> int:
    """The counter of that name, a row of :data:`twamp.engine.statistics.COUNTERS`."""
    return cast("dict[str, int]", packets)[name]


class T3Error(TypedDict):
    """The delay in ns between the T3 of sampled replies and their departure."""

    source: str | None  # of the transmit stamps: "kernel", "hardware"; None while there is none
    samples: int
    missed: int  # replies without a transmit stamp
    early: int  # left before their T3, by their transmit stamp
    correction_ns: int  # added to the clock for T3, now
    p50_ns: int
    p99_ns: int
    max_ns: int


class Lag(TypedDict):
    """The delay in ns of the kernel's receive stamp after the network card's, of packets with both."""

    samples: int
    p50_ns: int
    p99_ns: int
    max_ns: int
    histogram: dict[str, int]  # greatest ns of a doubling -> packets


class Clock(TypedDict):
    """The clock of a network card (PHC) beside the system clock."""

    readable: int  # 1; or 0: its stamps are refused, and the values below mean nothing
    timescale: str  # "UTC", "TAI" or "free"; empty: unknown
    offset_ns: int  # system clock less this one
    drift_ppb: float  # by how much the system clock runs faster
    error_ns: int  # bound of the error of a stamp as Unix time
    readings: int
    outliers: int  # refused readings
    steps: int  # times that a clock was set


class Counters(TypedDict):
    connections: ConnectionCounters
    sessions: SessionCounters
    packets: PacketCounters
    t3_error: T3Error
    receive_lag: Lag
    clocks: dict[str, Clock]  # by path, of the network cards that stamp
    events: dict[str, int]  # other failures, by name


class OptionRow(TypedDict):
    """An option in force, and its origin."""

    option: str
    value: str  # as one would write it on the command line
    origin: str  # "default", "command line", or "FILE, line N"


class ResponderState(TypedDict):
    """The answer of the control socket: ``status`` and the parts that were requested."""

    status: Status
    connections: NotRequired[list[ConnectionRow]]
    sessions: NotRequired[list[SessionRow]]
    counters: NotRequired[Counters]
    config: NotRequired[list[OptionRow]]
