"""Options of ``twping``, one row per option."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from twamp.config.readers import (
    HostPort,
    auth_modes,
    bucket_bounds,
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
    threshold,
    unit_of_time,
    user_name,
)
from twamp.config.row import Config, option
from twamp.metrics.threshold import Threshold

LONGEST_SECURED = 65459  # octets of padding that a datagram has room for in modes A and E


@dataclass(frozen=True, kw_only=True)
class PingConfig(Config):
    """Options of ``twping``.  The short ones mean what they mean to perfSONAR's."""

    control_port: int = option(
        862,
        "TCP port of the Server, where HOST names none",
        group="what to measure",
        range="1-65535",
    )
    loopback: bool = option(
        False,
        "measure a responder inside this program, on a port of its own",
        read=flag,
    )
    ipv4: bool = option(
        False,
        "use IPv4 only",
        read=flag,
        flags=("-4",),
    )
    ipv6: bool = option(
        False,
        "use IPv6 only",
        read=flag,
        flags=("-6",),
    )
    source_address: str | None = option(
        None,
        "local address of control and test packets; a host name or an interface name also does",
        read=host_or_interface,
        flags=("-S",),
    )
    interface: str | None = option(
        None,
        "bind to this network interface",
        read=interface_name,
        flags=("-B",),
    )
    zero_addresses: bool = option(
        False,
        "leave the addresses out of the request, so that test packets may cross a NAT",
        read=flag,
        flags=("-Z",),
    )
    session_count: int = option(
        1,
        "test sessions at once, on one connection",
        range="1-1024",
        flags=("-r",),
    )

    count: int = option(
        100,
        "test packets of each session",
        group="packets",
        range="1-10000000",
        flags=("-c",),
    )
    interval: str = option(
        "0.1e",
        "seconds between packets, used in turn: VALUE[e|f],...; e exponential, f fixed",
        read=intervals,
        flags=("-i",),
    )
    padding: int | None = option(
        None,
        "octets of padding in a test packet; by default a packet is as long as its reply: 27, or 64 in "
        "modes A and E",
        range="0-65493",
        flags=("-s",),
    )
    do_not_fragment: bool = option(
        False,
        "forbid routers to fragment test packets (DF); those too big for the path are lost, and told",
        read=flag,
    )
    zero_padding: bool = option(
        False,
        "pad with zeros instead of random octets",
        read=flag,
    )
    test_dscp_value: int = option(
        0,
        "DSCP of the test packets, a number or a name such as EF",
        range="0-63",
        read=dscp,
        flags=("-D",),
        metavar="DSCP",
    )
    control_dscp_value: int = option(
        0,
        "DSCP of the control packets, a number or a name such as CS6",
        range="0-63",
        read=dscp,
        metavar="DSCP",
    )
    port_range: tuple[int, int] = option(
        (8760, 9960),
        "UDP ports to send from; 0: any",
        range="0-65535",
        read=sender_ports,
        flags=("-P",),
        metavar="LO-HI|0",
    )

    any_source: bool = option(
        False,
        "take replies from any address and port, as of a Server with several addresses",
        read=flag,
    )
    zero_error_estimate: str = option(
        "accept",
        "whether replies whose Error Estimate is 0 are taken: accept, or drop (RFC 4656, 4.1.2)",
        read=one_of("accept", "drop"),
        metavar="WHETHER",
    )

    loss_timeout: Decimal = option(
        2,
        "seconds after which a packet counts as lost; 0 means the default",
        group="timing",
        range="0-3600",
        read=loss_timeout,
        flags=("-L", "--wait"),
    )
    start_delay: Decimal = option(
        0,
        "seconds to wait before the first packet",
        range="0-3600",
        read=seconds,
        flags=("-z",),
    )
    end_delay: Decimal = option(
        0,
        "seconds to wait at the end before the sessions are stopped",
        range="0-3600",
        read=seconds,
        flags=("-E",),
    )
    deadline: Decimal = option(
        0,
        "seconds after which the run, also of --continuous, ends and reports what it has; 0: none",
        range="0-31536000",
        read=seconds,
    )
    hwtstamp: str = option(
        "no",
        "timestamps of the network card of --interface: no, yes, or strict (fail if it cannot); "
        "--hwtstamp alone means yes",
        read=one_of("no", "yes", "strict"),
        bare="yes",
        metavar="WHETHER",
    )

    auth_mode: str | None = option(
        None,
        "modes to accept, of A, E, M, O: authenticated, encrypted, mixed, open; "
        "without it O, or AEM with a user",
        group="security",
        read=auth_modes,
        flags=("-A",),
        metavar="AEMO",
    )
    user: str | None = option(
        None,
        "user name for the secured modes",
        read=user_name,
        flags=("-u",),
    )
    key_file: str | None = option(
        None,
        "file with the user's passphrase; without it twping asks the terminal or standard input",
        read=file_path,
        flags=("-k",),
        metavar="FILE",
    )
    maximum_pbkdf2_count: int = option(
        32768,
        "most PBKDF2 iterations to spend on a key when the Server asks for them",
        range="1024-2147483648",
    )

    units: str = option(
        "m",
        "unit of times: n, u, m or s",
        group="report",
        read=unit_of_time,
        flags=("-n",),
    )
    percentiles: tuple[Decimal, ...] = option(
        (),
        "percentiles of the round-trip time to report, such as 95,99.9",
        read=percentile_list,
        flags=("-a",),
        metavar="LIST",
    )
    verbose: int = option(
        0,
        "print a line for each packet, or for the first N (-vN)",
        range="0-10000000",
        read=packet_limit,
        metavar="N|all",
    )
    unix_time: bool = option(
        False,
        "print Unix times in the line of each packet",
        read=flag,
        flags=("-U",),
    )
    quiet: bool = option(
        False,
        "print no summary",
        read=flag,
        flags=("-Q",),
    )
    plot: str | None = option(
        None,
        "draw the run: in the terminal, or with =FILE to a .png or .svg file",
        read=picture,
        bare="terminal",
        metavar="FILE",
    )
    progress: str = option(
        "auto",
        "show the progress of a long run on stderr: auto (on a terminal), on, off",
        read=one_of("auto", "on", "off"),
    )
    fail: tuple[Threshold, ...] = option(
        (),
        "exit with 3 when this is so, repeatable: loss>1% (a share), loss>5 (packets), rtt.p99>5ms, ...; "
        "--continuous judges each interval, too, and exits by its totals",
        read=threshold,
        entries=64,
        metavar="THRESHOLD",
    )
    trust_clocks: bool = option(
        False,
        "take one-way delays as they are, though the clocks are not known to agree",
        read=flag,
    )

    json: bool = option(
        False,
        "report as JSON, in nanoseconds",
        group="report for programs",
        read=flag,
    )
    samples: bool = option(
        False,
        "with --json: include every packet, so that twping report can read the run again",
        read=flag,
    )
    csv: bool = option(
        False,
        "report as CSV, a line for each session and bin or report interval",
        read=flag,
    )
    influx: bool = option(
        False,
        "report in the line protocol of InfluxDB, a point for each session and bin or report interval",
        read=flag,
    )
    bin: Decimal = option(
        0,
        "seconds that a line of --csv or --influx covers; 0: the whole run",
        range="0-86400",
        read=seconds,
    )
    raw: bool = option(
        False,
        "print rows of 16 columns, as perfSONAR does, and no summary",
        read=flag,
        flags=("-R",),
    )
    machine: bool = option(
        False,
        "print the summary as keys and values, as perfSONAR does",
        read=flag,
        flags=("-M",),
    )
    bucket_width: Decimal = option(
        Decimal("0.0001"),
        "width in seconds of a bucket of -M; every other report is exact",
        range="0.000000001-3600",
        read=seconds,
        flags=("-b",),
        metavar="WIDTH",
    )
    packets_per_summary: int = option(
        0,
        "packets of each summary; 0: one summary of the whole session",
        range="0-10000000",
        flags=("-N",),
    )
    save_summaries: bool = option(
        False,
        "write each summary to a file START_END.txt (-M: .sum) and print its name",
        read=flag,
        flags=("-p",),
    )
    directory: str = option(
        ".",
        "directory that -p writes to",
        read=file_path,
        flags=("-d",),
    )

    continuous: bool = option(
        False,
        "measure until interrupted, and report interval by interval",
        group="continuous measurement",
        read=flag,
    )
    report_interval: Decimal = option(
        60,
        "seconds of each report of --continuous",
        range="0.1-86400",
        read=seconds,
    )
    output: str | None = option(
        None,
        "file that the reports of --continuous are added to; without it standard output",
        read=file_path,
        metavar="FILE",
    )
    rotate_size: int = option(
        0,
        "octets that the output file may reach before it is rotated; 0: never",
        range="0-1125899906842624",
    )
    rotate_count: int = option(
        5,
        "rotated output files to keep",
        range="0-1000",
    )
    metrics_address: HostPort | None = option(
        None,
        "address and port to serve Prometheus metrics of --continuous on",
        read=metrics_endpoint,
    )
    metrics_buckets: tuple[Decimal, ...] = option(
        (),
        "upper bounds in seconds of the buckets of delay in these metrics; "
        "without it 1, 2, 5 of each power of ten from 10 us to 10 s",
        read=bucket_bounds,
        metavar="LIST",
    )

    def contradictions(self) -> Iterator[str]:
        yield from self._of_continuous()
        yield from self._of_credentials()
        yield from self._of_reports()
        if self.hwtstamp != "no" and self.interface is None:
            yield "hwtstamp: hardware timestamps need to know the network card; give --interface, too"
        if self.ipv4 and self.ipv6:
            yield "ipv4: true excludes ipv6: true; leave one of --ipv4 and --ipv6 out"
        low, high = self.port_range
        if low and high - low + 1 < self.session_count:
            yield (
                f"port-range: {low}-{high} has fewer ports than session-count, "
                f"{self.session_count}; give as many, or --port-range 0 for any"
            )

    def _of_credentials(self) -> Iterator[str]:
        if self.user is None and "O" not in (self.auth_mode or "O"):
            yield f"auth-mode: {self.auth_mode} needs a user; give --user NAME"

        if (
            (self.padding or 0) > LONGEST_SECURED
            and self.auth_mode
            and not set(self.auth_mode) & set("OM")
        ):
            yield (
                f"padding: {self.padding} octets fit no datagram in authenticated and encrypted mode; "
                f"give at most {LONGEST_SECURED}"
            )

    def _of_reports(self) -> Iterator[str]:
        forms = [
            name for name in ("json", "csv", "influx", "raw", "machine") if getattr(self, name)
        ]
        if len(forms) > 1 and (self.csv or self.influx):
            yield f"{forms[0]}: not with {forms[1]}; give one form of report"
        if self.save_summaries and self.json:
            yield "save-summaries: not with --json; write twping --json ... > FILE"
        if self.bin and not (self.csv or self.influx):
            yield "bin: only --csv and --influx have bins; give one of them, too"
        if self.samples and not self.json:
            yield "samples: only --json has samples; give --json, too"
        if self.packets_per_summary and self.json:
            yield "packets-per-summary: --json has each session whole; -M and text have parts"

    def _of_continuous(self) -> Iterator[str]:
        if self.continuous:
            for key in (
                *("raw", "machine", "verbose", "samples", "plot"),
                *("save_summaries", "packets_per_summary"),
            ):
                if getattr(self, key):
                    yield (
                        f"{key.replace('_', '-')}: continuous keeps no single packets; leave one of "
                        "the two out (--json, --csv and --influx report each interval)"
                    )
            if self.bin:
                yield "bin: continuous has a row for each interval; give --report-interval instead"
        elif self.output is not None or self.metrics_address is not None:
            key = "metrics-address" if self.output is None else "output"
            yield f"{key}: is for continuous measurements; give --continuous, too"
        if self.metrics_buckets and self.metrics_address is None:
            yield "metrics-buckets: are those of the metrics; give --metrics-address, too"
