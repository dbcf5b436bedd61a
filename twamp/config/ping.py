"""Options of ``twping``, one row per option."""

from dataclasses import dataclass
from decimal import Decimal

from twamp.config.readers import (
    HIGHEST_PORT,
    MOST_PACKETS,
    HostPort,
    auth_modes,
    dscp,
    file_path,
    flag,
    host_or_interface,
    interface_name,
    intervals,
    loss_timeout,
    metrics_endpoint,
    one_of,
    packet_limit,
    percentile_list,
    picture,
    seconds,
    sender_ports,
    unit_of_time,
    user_name,
)
from twamp.config.row import Config, option
from twamp.errors import ConfigError
from twamp.metrics.threshold import Threshold, parse_threshold

MOST_PADDING = 65507 - 14  # what UDP over IPv4 carries, less a sender packet


@dataclass(frozen=True, kw_only=True)
class PingConfig(Config):
    """Options of ``twping``.  The short ones mean what they mean to perfSONAR's."""

    count: int = option(100, 1, MOST_PACKETS, "test packets of each session", flags=("-c",))
    interval: str = option(
        "0.1e",
        help="waits between packets in seconds, in turn: VALUE[e|f],…; e exponential, f fixed",
        read=intervals,
        flags=("-i",),
    )
    loss_timeout: Decimal = option(  # noqa: RUF009
        2, 0, 3600, "seconds after which a packet is lost; 0: the default",
        read=loss_timeout, flags=("-L", "--wait"),
    )  # fmt: skip
    end_delay: Decimal = option(  # noqa: RUF009
        0, 0, 3600, "seconds to wait at the end before the sessions are stopped",
        read=seconds, flags=("-E",),
    )  # fmt: skip
    deadline: Decimal = option(  # noqa: RUF009
        0, 0, 31536000, "seconds after which the run ends with what there is; 0: none", read=seconds
    )
    port_range: tuple[int, int] = option(
        (8760, 9960), 0, HIGHEST_PORT, "UDP ports to send from; 0: any",
        read=sender_ports, flags=("-P",), metavar="LO-HI|0",
    )  # fmt: skip
    test_dscp_value: int = option(
        0, 0, 63, "DSCP of the test packets, a number or a name such as EF",
        read=dscp, flags=("-D",), metavar="DSCP",
    )  # fmt: skip
    padding: int = option(
        27, 0, MOST_PADDING,
        "octets added to a test packet; 27 makes it as long as its reply", flags=("-s",),
    )  # fmt: skip
    source_address: str | None = option(
        None, help="local address of control and test packets, a host's name for it, or an interface",
        read=host_or_interface, flags=("-S",),
    )  # fmt: skip
    interface: str | None = option(
        None, help="bind to this network interface", read=interface_name, flags=("-B",)
    )
    hwtstamp: str = option(
        "no", help="have the network card of --interface stamp: no, yes, strict (or not at all); "
        "--hwtstamp alone is yes",
        read=one_of("no", "yes", "strict"), bare="yes", metavar="WHETHER",
    )  # fmt: skip
    ipv4: bool = option(False, help="IPv4 only", read=flag, flags=("-4",))
    ipv6: bool = option(False, help="IPv6 only", read=flag, flags=("-6",))
    zero_addresses: bool = option(
        False,
        help="name no addresses in the request, so that test packets may cross a NAT",
        read=flag,
        flags=("-Z",),
    )
    start_delay: Decimal = option(  # noqa: RUF009
        0, 0, 3600, "seconds to wait before the first packet is due",
        read=seconds, flags=("-z",),
    )  # fmt: skip
    session_count: int = option(
        1, 1, 1024, "test sessions at once, on one connection", flags=("-r",)
    )
    control_port: int = option(862, 1, HIGHEST_PORT, "TCP port where HOST names none")
    loopback: bool = option(
        False, help="measure a responder inside this program, on a port of its own", read=flag
    )
    verbose: int = option(
        0, 0, MOST_PACKETS, "a line for each packet, or for the first N (-vN)",
        read=packet_limit, metavar="N|all",
    )  # fmt: skip
    raw: bool = option(False, help="rows of 16 columns, and no summary", read=flag, flags=("-R",))
    unix_time: bool = option(
        False, help="Unix times in the line of each packet", read=flag, flags=("-U",)
    )
    machine: bool = option(False, help="summary as keys and values", read=flag, flags=("-M",))
    bucket_width: Decimal = option(  # noqa: RUF009
        Decimal("0.0001"), Decimal("0.000000001"), 3600,
        "seconds that a bucket of -M is wide; medians and percentiles are exact without",
        read=seconds, flags=("-b",), metavar="WIDTH",
    )  # fmt: skip
    packets_per_summary: int = option(
        0, 0, MOST_PACKETS, "packets of each summary; 0: all of the session", flags=("-N",)
    )
    save_summaries: bool = option(
        False, help="write each summary to a file START_END.txt (-M: .sum) and print its name",
        read=flag, flags=("-p",),
    )  # fmt: skip
    directory: str = option(".", help="where -p writes to", read=file_path, flags=("-d",))
    json: bool = option(False, help="report as JSON, in nanoseconds", read=flag)
    csv: bool = option(False, help="report as CSV, a line for each session and bin", read=flag)
    influx: bool = option(
        False, help="report in the line protocol of InfluxDB, a point for each session and bin",
        read=flag,
    )  # fmt: skip
    bin: Decimal = option(  # noqa: RUF009
        0,
        0,
        86400,
        "seconds that a line of --csv or --influx covers; 0: the whole run",
        read=seconds,
    )
    plot: str | None = option(
        None, help="draw the run: in the terminal, or with =FILE to a .png or .svg file",
        read=picture, bare="terminal", metavar="FILE",
    )  # fmt: skip
    samples: bool = option(
        False, help="with --json: every packet, too, so that twping report can tell all again",
        read=flag,
    )  # fmt: skip
    fail: tuple[Threshold, ...] = option(
        (), help="exit with 3 when this is so, repeatable: loss>1%, rtt.p99>5ms, duplicates>0, …",
        read=parse_threshold, multiple=True, metavar="THRESHOLD",
    )  # fmt: skip
    auth_mode: str | None = option(
        None, help="modes to accept, of A, E, M, O: authenticated, encrypted, mixed, open; "
        "without, O, or AEM with a user",
        read=auth_modes, flags=("-A",), metavar="AEMO",
    )  # fmt: skip
    user: str | None = option(None, help="user of the secured modes", read=user_name, flags=("-u",))
    key_file: str | None = option(
        None, help="file with the user's passphrase; without, the terminal or standard input is asked",
        read=file_path, flags=("-k",), metavar="FILE",
    )  # fmt: skip
    maximum_pbkdf2_count: int = option(
        32768, 1024, 1 << 31, "most iterations to spend on a key at a Server's wish"
    )
    zero_padding: bool = option(False, help="padding of zeros, not of random octets", read=flag)
    units: str = option("m", help="unit of times: n, u, m or s", read=unit_of_time, flags=("-n",))
    quiet: bool = option(False, help="no summary", read=flag, flags=("-Q",))
    percentiles: tuple[Decimal, ...] = option(
        (), help="percentiles of the round-trip time to report, such as 95,99.9",
        read=percentile_list, flags=("-a",), metavar="LIST",
    )  # fmt: skip

    continuous: bool = option(
        False, help="measure until interrupted, and report interval by interval", read=flag
    )
    report_interval: Decimal = option(  # noqa: RUF009
        60, Decimal("0.1"), 86400, "seconds of each report of --continuous", read=seconds
    )
    output: str | None = option(
        None, help="file that the reports of --continuous are added to; without, standard output",
        read=file_path, metavar="FILE",
    )  # fmt: skip
    rotate_size: int = option(
        0, 0, 1 << 50, "octets that the output file may reach before it is rotated; 0: never"
    )
    rotate_count: int = option(5, 0, 1000, "rotated output files to keep")
    metrics_address: HostPort | None = option(  # noqa: RUF009
        None, help="address and port to serve Prometheus metrics of --continuous at",
        read=metrics_endpoint,
    )  # fmt: skip
    progress: str = option(
        "auto", help="how a long run is getting on, on stderr: auto (on a terminal), on, off",
        read=one_of("auto", "on", "off"),
    )  # fmt: skip

    def check_cross_rules(self) -> None:
        self._check_continuous()
        if self.key_file is not None and self.user is None:
            raise ConfigError("key-file: whose passphrase? give --user too")
        if self.user is None and set(self.auth_mode or "O") != {"O"}:
            raise ConfigError(f"auth-mode: {self.auth_mode} needs a user; give --user NAME")
        if self.save_summaries and self.json:
            raise ConfigError("save-summaries: not with --json; write twping --json … > FILE")
        forms = [
            name for name in ("json", "csv", "influx", "raw", "machine") if getattr(self, name)
        ]
        if len(forms) > 1 and (self.csv or self.influx):
            raise ConfigError(f"{forms[0]}: not with {forms[1]}; give one form of report")
        if self.bin and not (self.csv or self.influx):
            raise ConfigError("bin: of what? give --csv or --influx, too")
        if self.samples and not self.json:
            raise ConfigError("samples: they go into the JSON; give --json, too")
        if self.packets_per_summary and self.json:
            raise ConfigError(
                "packets-per-summary: --json has each session whole; -M and text have parts"
            )
        if self.hwtstamp != "no" and self.interface is None:
            raise ConfigError("hwtstamp: which network card is to stamp? give --interface, too")
        if self.ipv4 and self.ipv6:
            raise ConfigError("ipv4: true excludes ipv6: true; give one of -4 and -6")
        low, high = self.port_range
        if low and high - low + 1 < self.session_count:
            raise ConfigError(
                f"port-range: {low}-{high} has fewer ports than session-count, "
                f"{self.session_count}; give as many, or --port-range 0 for any"
            )

    def _check_continuous(self) -> None:
        if self.continuous:
            for key in (
                *("raw", "machine", "verbose", "csv", "influx", "samples", "plot"),
                *("save_summaries", "packets_per_summary"),
            ):
                if getattr(self, key):
                    raise ConfigError(
                        f"{key.replace('_', '-')}: continuous keeps no single packets; leave one of "
                        "the two out (--json has an object for each interval)"
                    )
            if self.fail:
                raise ConfigError(
                    "fail: continuous has no end to judge at; alert on --metrics-address, or leave "
                    "one of the two out"
                )
        elif self.output is not None or self.metrics_address is not None:
            key = "metrics-address" if self.output is None else "output"
            raise ConfigError(f"{key}: is for endless measurements; give --continuous too")
