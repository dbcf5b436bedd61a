"""Options of the responder, ``twampd``, one row per option."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from twamp.config.readers import (
    HIGHEST_PORT,
    MODES,
    HostPort,
    account_name,
    address,
    dscp,
    file_path,
    flag,
    integer,
    interface_name,
    metrics_endpoint,
    mode_name,
    one_of,
    port_range,
    power_of_two,
    prefix,
)
from twamp.config.row import Config, option
from twamp.errors import ConfigError

UNLISTED_CONNECTIONS = 64  # more need to know who comes


@dataclass(frozen=True, kw_only=True)
class ReflectorConfig(Config):
    """Options of the responder (``twampd``)."""

    listen_address: tuple[str, ...] = option(
        (), help="where TWAMP-Control listens; repeatable; without, any address of IPv4 and IPv6",
        read=address, multiple=True, restart=True,
    )  # fmt: skip
    port: int = option(
        862, 0, HIGHEST_PORT, "TCP port of TWAMP-Control; 0 takes a free one and logs it",
        restart=True,
    )  # fmt: skip
    iface: str | None = option(
        None, help="bind to this network interface", read=interface_name, flags=("--interface",),
        restart=True,
    )  # fmt: skip
    vrf: str | None = option(
        None, help="bind to this VRF device", read=interface_name, restart=True
    )
    client_list: tuple[IPv4Network | IPv6Network, ...] = option(
        (), help="prefix of clients that may connect, repeatable; without, all; "
        "others are refused before the greeting",
        read=prefix, multiple=True, metavar="PREFIX",
    )  # fmt: skip
    maximum_connections: int = option(
        16, 1, 4096, "control connections at once; more than 64 need a client-list, "
        "or a mode without unauthenticated",
    )  # fmt: skip
    maximum_connections_per_client: int = option(
        0, 0, 4096, "control connections of one client address at once; 0: no such limit"
    )
    maximum_sessions_per_connection: int = option(8, 1, 1024, "test sessions of one connection")
    maximum_sessions: int = option(4096, 1, 65536, "test sessions in all", restart=True)
    maximum_connection_duration: int = option(
        0, 0, 604800, "seconds after which a control connection is ended; 0: never"
    )
    handshake_timeout: int = option(
        30, 1, 3600, "seconds from connecting within which a client must have set the connection up"
    )
    server_inactivity_timeout: int = option(
        900, 1, 3600, "seconds without a control message after which a connection ends (SERVWAIT)"
    )
    test_inactivity_timeout: int = option(
        900, 1, 3600, "seconds without a test packet after which a session ends (REFWAIT)"
    )
    drain_timeout: int = option(60, 0, 3600, "seconds that sessions get to finish after SIGTERM")
    mode: tuple[str, ...] = option(
        (), help="security mode to offer, repeatable; or no-MODE to leave one out; "
        "without, all that can be served",
        read=mode_name, multiple=True, metavar="MODE",
    )  # fmt: skip
    key_file: str | None = option(
        None, help="users of the secured modes: lines of identity and hexadecimal passphrase",
        read=file_path, flags=("-k",), metavar="FILE",
    )  # fmt: skip
    pbkdf2_count: int = option(
        32768, 1024, 1 << 24, "iterations that make a key of a passphrase, a power of two",
        read=power_of_two,
    )  # fmt: skip
    dscp_value: int = option(
        0, 0, 63, "DSCP of the control packets, a number or a name such as EF; "
        "0: that of the client's SYN",
        read=dscp,
    )  # fmt: skip
    test_ports: tuple[int, int] = option(
        (18760, 19960), 1, HIGHEST_PORT, "UDP ports for test sessions",
        read=port_range, metavar="LO-HI",
    )  # fmt: skip
    light: bool = option(
        False, help="reflect without TWAMP-Control, too (TWAMP Light, STAMP), for the client-list",
        read=flag, restart=True,
    )  # fmt: skip
    light_port: int = option(
        862, 1, HIGHEST_PORT, "UDP port of test packets without TWAMP-Control", restart=True
    )
    timestamp: str = option(
        "auto", help="source of receive timestamps: auto (the kernel where it can), hardware, kernel, user",
        read=one_of("auto", "hardware", "kernel", "user"), restart=True,
    )  # fmt: skip
    hwtstamp: str = option(
        "no", help="have the interface's network card stamp: no, yes, strict (or not at all); "
        "--hwtstamp alone is yes",
        read=one_of("no", "yes", "strict"), restart=True, bare="yes", metavar="WHETHER",
    )  # fmt: skip
    timestamp_format: str = option(
        "ntp", help="format of the timestamps in replies: ntp or ptp",
        read=one_of("ntp", "ptp"), restart=True, metavar="FORMAT",
    )  # fmt: skip
    rate_limit: int = option(
        0, 0, 10_000_000, "test packets a second reflected for one client address; 0: no limit"
    )
    t3_budget: int = option(
        5, 1, 1000, "microseconds that a reply may leave after the T3 that it carries: "
        "more is faster", restart=True,
    )  # fmt: skip
    t3_correction: bool = option(
        False, help="correct T3 by what the kernel says of when replies leave", read=flag,
        restart=True,
    )  # fmt: skip
    tx_batch: int = option(
        0, 0, 64, "replies under one T3; 0: as many as t3-budget allows", restart=True
    )
    workers: int = option(
        1, 1, 64, "threads that reflect, each with test ports of its own", restart=True
    )
    cpu: tuple[int, ...] = option(
        (), 0, 4095, help="processor for a worker, repeatable: one each, or one for all; without, any",
        read=integer, multiple=True, restart=True,
    )  # fmt: skip
    realtime: int = option(
        0, 0, 99, "real-time priority (SCHED_FIFO) of the workers; 0: none", restart=True
    )
    spin_us: int = option(
        0, 0, 1_000_000, "microseconds that a worker looks for further packets before it sleeps: "
        "less delay, more load", restart=True,
    )  # fmt: skip
    metrics_address: HostPort | None = option(  # noqa: RUF009
        None, help="address and port to serve Prometheus metrics at, such as 127.0.0.1:9861",
        read=metrics_endpoint, restart=True,
    )  # fmt: skip
    control_socket: str = option(
        "/run/twamp/reflector.sock", help="UNIX socket that twampctl reads; none: no such socket",
        read=file_path, metavar="PATH", restart=True,
    )  # fmt: skip
    run_as_user: str | None = option(
        None, help="account to run as, once the ports are bound", read=account_name,
        flags=("--user",), restart=True,
    )  # fmt: skip
    run_as_group: str | None = option(
        None, help="group to run as; without, that of run-as-user", read=account_name,
        flags=("--group",), restart=True,
    )  # fmt: skip
    log_format: str = option(
        "auto", help="text, journald (with priorities), json, or auto: journald under systemd",
        read=one_of("auto", "text", "journald", "json"), metavar="FORMAT", restart=True,
    )  # fmt: skip

    @property
    def device(self) -> str | None:
        """What sockets are bound to; an interface in a VRF stands for both."""
        return self.iface or self.vrf

    @property
    def hardware(self) -> bool:
        """Whether the network card is to stamp."""
        return self.hwtstamp != "no" or self.timestamp == "hardware"

    def check_cross_rules(self) -> None:
        self._check_modes()
        self._check_timestamp()
        self._check_connections()
        self._check_sessions()
        self._check_workers()

    def _check_modes(self) -> None:
        negative = [name for name in self.mode if name.startswith("no-")]
        if negative and len(negative) != len(self.mode):
            raise ConfigError(
                f"mode: {', '.join(self.mode)} says both what to offer and what not to; "
                "give modes, or no- modes"
            )
        if len(set(negative)) == len(MODES):
            raise ConfigError("mode: nothing is left to offer; leave one of the no- modes out")

    def _check_timestamp(self) -> None:
        if self.hwtstamp != "no" and self.timestamp in ("kernel", "user"):
            raise ConfigError(
                f"hwtstamp: {self.hwtstamp} contradicts timestamp {self.timestamp}; leave one of them out"
            )
        if self.hardware and self.iface is None:
            key = "timestamp" if self.hwtstamp == "no" else "hwtstamp"
            raise ConfigError(f"{key}: which network card is to stamp? give --iface, too")

    def _check_connections(self) -> None:
        """Many connections are for clients that are known: by address, or by their passphrase."""
        negative = "no-unauthenticated" in self.mode
        positive = any(not name.startswith("no-") for name in self.mode)
        secured = negative or (positive and "unauthenticated" not in self.mode)
        if self.maximum_connections > UNLISTED_CONNECTIONS and not self.client_list and not secured:
            raise ConfigError(
                f"maximum-connections: {self.maximum_connections} is more than "
                f"{UNLISTED_CONNECTIONS}, which needs to know the clients; give a client-list, "
                "or --mode no-unauthenticated"
            )

    def _check_sessions(self) -> None:
        """Who changes a factor means the product; as long as both are the default it promises nothing."""
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
            raise ConfigError(
                f"maximum-sessions: {self.maximum_sessions} is less than maximum-connections, "
                f"{connections}, times maximum-sessions-per-connection, {each}; {remedy}"
            )

    def _check_workers(self) -> None:
        low, high = self.test_ports
        if self.workers > high - low + 1:
            raise ConfigError(
                f"workers: {self.workers} is more than test-ports {low}-{high} has ports, of which each "
                "needs one; give more ports, or fewer workers"
            )
        if len(self.cpu) > 1 and len(self.cpu) != self.workers:
            raise ConfigError(
                f"cpu: {len(self.cpu)} processors for {self.workers} workers; give one for each "
                "worker, or one for all"
            )
