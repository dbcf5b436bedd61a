"""Options of the responder, ``twampd``, one row per option."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from twamp.config.classes import Classes
from twamp.config.readers import (
    MODES,
    HostPort,
    account_name,
    address,
    dscp,
    file_path,
    flag,
    interface_name,
    metrics_endpoint,
    mode_name,
    one_of,
    port_range,
    power_of_two,
    prefix,
    socket_path,
)
from twamp.config.row import Config, option

UNLISTED_CONNECTIONS = 64  # more are for known clients only
MOST_PREFIXES = 1024  # TW_LIGHT_CLIENTS_MAX of the engine


@dataclass(frozen=True, kw_only=True)
class ReflectorConfig(Config):
    """Options of the responder (``twampd``)."""

    listen_address: tuple[str, ...] = option(
        (),
        "address to listen on for TWAMP-Control, repeatable; without it every address of this host",
        group="listening",
        read=address,
        entries=64,
        restart=True,
    )
    port: int = option(
        862,
        "TCP port of TWAMP-Control; 0 takes a free one and logs it",
        range="0-65535",
        restart=True,
    )
    listen_wait: int = option(
        0,
        "seconds to wait at the start for a listen-address or an interface that comes late; 0: none",
        range="0-3600",
        restart=True,
    )
    iface: str | None = option(
        None,
        "bind to this network interface",
        read=interface_name,
        flags=("--interface",),
        restart=True,
    )
    vrf: str | None = option(
        None,
        "bind to this VRF device",
        read=interface_name,
        restart=True,
    )
    test_ports: tuple[int, int] = option(
        (18760, 19960),
        "UDP ports of test sessions",
        range="1-65535",
        read=port_range,
        metavar="LO-HI",
    )
    dscp_value: int = option(
        0,
        "DSCP of control packets, a number or a name such as EF; 0 takes the DSCP of the client's SYN",
        range="0-63",
        read=dscp,
    )
    light: bool = option(
        False,
        "also reflect without TWAMP-Control (TWAMP Light), for clients of the client-list",
        read=flag,
        restart=True,
    )
    light_port: int = option(
        862,
        "UDP port of --light",
        range="1-65535",
        restart=True,
    )

    client_list: tuple[IPv4Network | IPv6Network, ...] = option(
        (),
        "address or prefix of clients that may connect, repeatable; without it everybody may",
        group="who may connect",
        read=prefix,
        entries=MOST_PREFIXES,
        metavar="PREFIX",
    )
    sender_address_list: tuple[IPv4Network | IPv6Network, ...] = option(
        (),
        "address or prefix that a session may name as its sender, repeatable, beside the client's own",
        read=prefix,
        entries=MOST_PREFIXES,
        metavar="PREFIX",
    )
    maximum_connections: int = option(
        16,
        "control connections at once; more than 64 need a client-list, or --mode no-unauthenticated",
        range="1-4096",
    )
    maximum_connections_per_client: int = option(
        0,
        "control connections of one client address at once; 0: no limit",
        range="0-4096",
    )
    maximum_connection_duration: int = option(
        0,
        "seconds after which a control connection is ended; 0: never",
        range="0-604800",
    )
    handshake_timeout: int = option(
        30,
        "seconds that a client has to set its connection up",
        range="1-3600",
    )
    server_inactivity_timeout: int = option(
        900,
        "seconds without a control message after which a connection is ended (SERVWAIT)",
        range="1-3600",
    )

    maximum_sessions: int = option(
        4096,
        "test sessions at once",
        group="sessions and limits",
        range="1-65536",
        restart=True,
    )
    maximum_sessions_per_connection: int = option(
        8,
        "test sessions of one connection",
        range="1-1024",
    )
    test_inactivity_timeout: int = option(
        900,
        "seconds without a test packet after which a session is ended (REFWAIT)",
        range="1-3600",
    )
    maximum_timeout: int = option(
        10,
        "seconds for which a stopped session is still reflected at most, whatever Timeout it asked for",
        range="0-3600",
    )
    rate_limit: int = option(
        0,
        "test packets reflected per second for one client address; 0: no limit",
        range="0-10000000",
    )

    light_rate_limit: int = option(
        1000,
        "test packets of --light reflected per second for one client address while there is no "
        "client-list; 0: no limit",
        range="0-10000000",
    )
    session_rate_limit: int = option(
        0,
        "test packets of one session reflected per second; 0: no limit",
        range="0-10000000",
    )
    error_estimate: str = option(
        "accept",
        "a test packet whose Error Estimate has Multiplier 0: accept (reflect and count it), or drop",
        read=one_of("accept", "drop"),
        metavar="WHAT",
        restart=True,
    )
    port_translation: bool = option(
        False,
        "let the first packet of a started session name its Sender Port, for clients whose NAT "
        "changes ports",
        read=flag,
    )

    mode: tuple[str, ...] = option(
        (),
        "security mode to offer, repeatable, or no-MODE to leave one out; "
        "without it every mode that can be served",
        group="security",
        read=mode_name,
        entries=2 * len(MODES),
        metavar="MODE",
    )
    key_file: str | None = option(
        None,
        "users of the secured modes: a line each of name and passphrase in hexadecimal",
        read=file_path,
        flags=("-k",),
        metavar="FILE",
    )
    pbkdf2_count: int = option(
        32768,
        "PBKDF2 iterations that derive a key from a passphrase, a power of two",
        range="1024-16777216",
        read=power_of_two,
    )

    timestamp: str = option(
        "auto",
        "source of receive timestamps: auto (the kernel, if it can), hardware, kernel, user",
        group="timestamps",
        read=one_of("auto", "hardware", "kernel", "user"),
        restart=True,
    )
    hwtstamp: str = option(
        "no",
        "timestamps of the network card of --iface: no, yes, or strict (end if it cannot); "
        "--hwtstamp alone means yes",
        read=one_of("no", "yes", "strict"),
        restart=True,
        bare="yes",
        metavar="WHETHER",
    )
    timestamp_format: str = option(
        "ntp",
        "format of the timestamps in replies of --light: ntp or ptp",
        read=one_of("ntp", "ptp"),
        restart=True,
        metavar="FORMAT",
    )
    t3_budget: int = option(
        5,
        "microseconds that a reply may leave after the T3 in it; more is faster",
        range="1-1000",
        restart=True,
    )
    t3_correction: bool = option(
        True,
        "correct T3 by the delay that the kernel reports for earlier replies; "
        "--no-t3-correction: leave T3 as read",
        read=flag,
        restart=True,
    )

    tx_batch: int = option(
        0,
        "replies that share one T3; 0: as many as t3-budget allows",
        group="speed",
        range="0-64",
        restart=True,
    )
    workers: int = option(
        1,
        "threads that reflect, each with its own test ports",
        range="1-64",
        restart=True,
    )
    cpu: tuple[int, ...] = option(
        (),
        "processor of a worker, repeatable: one for each worker, or one for all; without it any",
        range="0-4095",
        entries=64,
        restart=True,
    )
    realtime: int = option(
        0,
        "real-time priority (SCHED_FIFO) of the workers; 0: none",
        range="0-99",
        restart=True,
    )
    spin_us: int = option(
        0,
        "microseconds that a worker looks for more packets before it sleeps; more means less delay, "
        "and a busier processor",
        range="0-1000000",
        restart=True,
    )

    metrics_address: HostPort | None = option(
        None,
        "address and port to serve Prometheus metrics on, such as 127.0.0.1:9861",
        group="operation",
        read=metrics_endpoint,
        restart=True,
    )
    control_socket: str = option(
        "/run/twamp/reflector.sock",
        "UNIX socket that twampctl asks; none: no socket",
        read=socket_path,
        metavar="PATH",
        restart=True,
    )
    drain_timeout: int = option(
        60,
        "seconds that sessions have to finish after SIGTERM",
        range="0-3600",
    )
    run_as_user: str | None = option(
        None,
        "account to run as once the ports are bound",
        read=account_name,
        flags=("--user",),
        restart=True,
    )
    run_as_group: str | None = option(
        None,
        "group to run as; without it the group of run-as-user",
        read=account_name,
        flags=("--group",),
        restart=True,
    )
    log_format: str = option(
        "auto",
        "format of the log: text, journald (with priorities), json, or auto (journald under systemd)",
        read=one_of("auto", "text", "journald", "json"),
        metavar="FORMAT",
        restart=True,
    )

    classes: Classes = field(default_factory=Classes)  # of files alone: [class.NAME]

    @property
    def device(self) -> str | None:
        """The device that sockets are bound to; an interface in a VRF stands for both."""
        return self.iface or self.vrf

    @property
    def hardware(self) -> bool:
        """Whether the network card takes timestamps."""
        return self.hwtstamp != "no" or self.timestamp == "hardware"

    def contradictions(self) -> Iterator[str]:
        yield from self._of_modes()
        yield from self._of_timestamps()
        yield from self._of_connections()
        yield from self._of_sessions()
        yield from self._of_workers()

    def _of_modes(self) -> Iterator[str]:
        negative = [name for name in self.mode if name.startswith("no-")]
        if negative and len(negative) != len(self.mode):
            yield (
                f"mode: {', '.join(self.mode)} mixes modes to offer and modes to leave out; "
                "give modes, or no- modes"
            )
        if len(set(negative)) == len(MODES):
            yield "mode: nothing is left to offer; leave one of the no- modes out"

    def _of_timestamps(self) -> Iterator[str]:
        if self.hwtstamp != "no" and self.timestamp in ("kernel", "user"):
            yield (
                f"hwtstamp: {self.hwtstamp} contradicts timestamp {self.timestamp}; "
                "leave one of them out"
            )
        if self.hardware and self.iface is None:
            key = "timestamp" if self.hwtstamp == "no" else "hwtstamp"
            yield f"{key}: hardware timestamps need to know the network card; give --iface, too"

    def _of_connections(self) -> Iterator[str]:
        """Many connections are for clients that are known: by address, or by their passphrase."""
        negative = "no-unauthenticated" in self.mode
        positive = any(not name.startswith("no-") for name in self.mode)
        secured = negative or (positive and "unauthenticated" not in self.mode)
        if self.maximum_connections > UNLISTED_CONNECTIONS and not self.client_list and not secured:
            yield (
                f"maximum-connections: {self.maximum_connections} is more than "
                f"{UNLISTED_CONNECTIONS}, which needs to know the clients; give a client-list, "
                "or --mode no-unauthenticated"
            )

    def _of_sessions(self) -> Iterator[str]:
        """Each connection has room for its sessions, unless both limits are the defaults."""
        connections, each = self.maximum_connections, self.maximum_sessions_per_connection
        default = type(self)
        chosen = (connections, each) != (
            default.maximum_connections,
            default.maximum_sessions_per_connection,
        )
        if chosen and connections * each > self.maximum_sessions:
            remedy = (
                f"give at least {connections * each} (it goes to 65536), or lower one of these"
                if connections * each <= 65536
                else "lower one of these: there are 65536 at most"
            )
            yield (
                f"maximum-sessions: {self.maximum_sessions} is less than maximum-connections, "
                f"{connections}, times maximum-sessions-per-connection, {each}; {remedy}"
            )
        light = (len(self.listen_address) or 2) if self.light else 0
        if light >= self.maximum_sessions:
            yield (
                f"maximum-sessions: light takes {light} of {self.maximum_sessions}, one for each "
                f"address, and leaves none to test sessions; give at least {light + 1}"
            )

    def _of_workers(self) -> Iterator[str]:
        low, high = self.test_ports
        if self.workers > high - low + 1:
            yield (
                f"workers: {self.workers} is more than the ports of test-ports {low}-{high}, and each "
                "needs one; give more ports, or fewer workers"
            )
        if len(self.cpu) > 1 and len(self.cpu) != self.workers:
            yield (
                f"cpu: {len(self.cpu)} processors for {self.workers} workers; give one for each "
                "worker, or one for all"
            )
