"""The options of twampd's operator, seen over the wire: interfaces, VRFs, clients, limits, users."""

import json
import os
import pwd
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.netns.namespaces import Lab, Namespace
from tests.netns.programs import (
    CLIENT,
    REFUSED,
    SERVER,
    Pair,
    capture,
    captured,
    counters,
    measured,
    packets_of,
    twampd,
    twping,
)
from twamp.engine.privileges import CAPABILITIES

if TYPE_CHECKING:
    from subprocess import CompletedProcess

pytestmark = pytest.mark.root

EF, AF41 = 46, 34
PORT = 862
GREETING = 64  # octets
LENGTH = {4: 24, 6: 64}  # of the prefixes of CLIENT and SERVER
NEAR = {4: "192.0.2.2", 6: "2001:db8:0:1::2"}
FAR = {4: "192.0.2.130", 6: "2001:db8:0:2::2"}
BOTH = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


# ---- interfaces and VRFs -------------------------------------------------------------------------


@dataclass
class Crossing:
    """A server with two interfaces: NEAR on ``eth-si`` for ``inside``, FAR on ``eth-so`` for ``outside``."""

    server: Namespace
    inside: Namespace
    outside: Namespace

    def put_into_vrf(self) -> None:
        """Makes ``red`` with ``eth-si`` in it; skips the test where the kernel has no VRFs."""
        try:
            self.server.ip("link", "add", "red", "type", "vrf", "table", "10")
        except RuntimeError as error:
            if "Unknown device type" in str(error) or "not supported" in str(error):
                pytest.skip(f"NOT TESTED: this kernel has no VRF: {error}")
            raise
        self.server.ip("link", "set", "red", "up")
        self.server.ip("link", "set", "eth-si", "master", "red")
        self.server.ip("-6", "address", "flush", "dev", "eth-si")  # some of them may have gone
        self.server.add_address("eth-si", f"{NEAR[6]}/64", "fe80::53/64")

    def require_only_inside(self, version: int) -> None:
        """Inside is served; outside finds nobody there."""
        assert measured(self.inside, NEAR[version])["destination"]["address"] == NEAR[version]
        refused = twping(self.outside, FAR[version])
        assert refused.returncode == REFUSED
        assert "refused" in refused.stderr


@pytest.fixture
def crossing(lab: Lab) -> Crossing:
    server, inside, outside = (lab.namespace(role) for role in ("server", "inside", "outside"))
    lab.link(
        (inside, "eth-i", ("192.0.2.1/25", "2001:db8:0:1::1/64")),
        (server, "eth-si", (f"{NEAR[4]}/25", f"{NEAR[6]}/64")),
    )
    lab.link(
        (outside, "eth-o", ("192.0.2.129/25", "2001:db8:0:2::1/64")),
        (server, "eth-so", (f"{FAR[4]}/25", f"{FAR[6]}/64")),
    )
    return Crossing(server, inside, outside)


@BOTH
def test_with_iface_only_that_interface_is_served(crossing: Crossing, version: int) -> None:
    responder = twampd(crossing.server, "--iface", "eth-si")
    crossing.require_only_inside(version)
    responder.end()
    # And without it both are.
    twampd(crossing.server)
    measured(crossing.inside, NEAR[version])
    assert measured(crossing.outside, FAR[version])["destination"]["address"] == FAR[version]


@BOTH
@pytest.mark.parametrize("option", ["--vrf=red", "--iface=eth-si"])
def test_a_vrf_is_served_and_nobody_outside(crossing: Crossing, version: int, option: str) -> None:
    crossing.put_into_vrf()
    twampd(crossing.server, option)
    crossing.require_only_inside(version)


def cable(pair: Pair) -> None:
    """Lays the cable of a pair again."""
    pair.server.lab.link(
        (pair.client, "eth-c", [f"{CLIENT[version]}/{LENGTH[version]}" for version in (4, 6)]),
        (pair.server, "eth-s", ()),
    )


def give_addresses(pair: Pair) -> None:
    pair.server.add_address(
        "eth-s", *(f"{SERVER[version]}/{LENGTH[version]}" for version in (4, 6))
    )


MEASURE_LONG = """
import sys
from twamp.ping.__main__ import main
print("begun")
main(["-c", "1000", "-i", "0.1f", *sys.argv[1:]])
"""


@BOTH
def test_an_interface_that_comes_back_is_served_again(pair: Pair, version: int) -> None:
    """Also by who is root no more."""
    responder = twampd(pair.server, "--iface", "eth-s", "--user", "nobody")
    measured(pair.client, SERVER[version])
    assert counters(pair.server)["events"]["interface_lost"] == 0
    pair.server.ip("link", "delete", "eth-s")
    responder.await_line("interface eth-s is gone")
    assert counters(pair.server)["events"]["interface_lost"] == 1
    cable(pair)
    give_addresses(pair)
    responder.await_line("interface eth-s is back; listening there again")
    measured(pair.client, SERVER[version])
    assert counters(pair.server)["events"]["interface_lost"] == 1


@BOTH
def test_an_address_may_come_later_than_its_interface(pair: Pair, version: int) -> None:
    address = ("--listen-address", SERVER[version])
    responder = twampd(pair.server, "--iface", "eth-s", *address)
    pair.server.ip("link", "delete", "eth-s")
    responder.await_line("interface eth-s is gone")
    cable(pair)
    responder.await_line("interface eth-s is back, but")
    give_addresses(pair)
    responder.await_line("interface eth-s is back; listening there again")
    measured(pair.client, SERVER[version])


def test_what_was_bound_to_an_interface_goes_with_it_and_comes_back(pair: Pair) -> None:
    """A session on a socket of the interface that is gone would starve who shares the port later."""
    one_port = ("--test-ports", "9000-9000", "--light")
    responder = twampd(pair.server, "--iface", "eth-s", *one_port)
    client = pair.client.start("-c", MEASURE_LONG, SERVER[4], until="begun")
    responder.await_line("started 1 sessions")
    pair.server.ip("link", "delete", "eth-s")
    responder.await_line("interface eth-s is gone")
    responder.await_line("ended (its interface is gone)")
    cable(pair)
    give_addresses(pair)
    responder.await_line("interface eth-s is back; listening there again")
    client.end()
    assert measured(pair.client, SERVER[4])["destination"]["port"] == 9000
    asked = pair.client.python("-m", "tests.netns.light", "ask", *SERVER.values())
    assert json.loads(asked.stdout) == {address: address for address in SERVER.values()}


# ---- the DSCP of TWAMP-Control -------------------------------------------------------------------


def dscps_of_control(pair: Pair, version: int) -> set[int]:
    """The DSCPs of all that the Server sends on a new TWAMP-Control connection.

    Resets are the kernel's, for a connection that is no more, and have no socket to take a DSCP from.
    """
    wire = capture(pair.server, "eth-s", "tcp")
    measured(pair.client, SERVER[version])
    sent = [packet for packet in captured(wire) if packet["outgoing"]]
    assert {tuple(packet["source"]) for packet in sent} == {(SERVER[version], PORT)}
    return {packet["tos"] >> 2 for packet in sent if not packet["reset"]}


@BOTH
def test_a_reload_changes_the_dscp_of_new_connections(
    pair: Pair, tmp_path: Path, version: int
) -> None:
    file = tmp_path / "twampd.toml"
    file.write_text('dscp-value = "EF"\n')
    responder = twampd(pair.server, "--config", str(file))
    assert dscps_of_control(pair, version) == {EF}
    file.write_text('dscp-value = "AF41"\n')
    responder.process.send_signal(signal.SIGHUP)
    responder.await_line("reloaded; changed: dscp-value")
    assert dscps_of_control(pair, version) == {AF41}


# ---- who may, and how much -----------------------------------------------------------------------


def octets_of_greeting(pair: Pair, source: str, version: int) -> int:
    asked = pair.client.python("-m", "tests.netns.greeting", source, SERVER[version])
    assert asked.returncode == 0, asked.stderr
    return int(asked.stdout)


# In the prefixes that the tests allow, and outside of them.
ALLOWED = {4: "192.0.2.64/30", 6: "2001:db8::40/126"}
LISTED = {4: ["192.0.2.64", "192.0.2.67"], 6: ["2001:db8::40", "2001:db8::43"]}
UNLISTED = {4: ["192.0.2.63", "192.0.2.68"], 6: ["2001:db8::3f", "2001:db8::44"]}


@pytest.fixture
def many(pair: Pair) -> Pair:
    """The pair with a client of several addresses: LISTED and UNLISTED."""
    for version in (4, 6):
        for address in LISTED[version] + UNLISTED[version]:
            pair.client.add_address("eth-c", f"{address}/{LENGTH[version]}")
    return pair


def allowing_prefixes() -> list[str]:
    return [word for version in (4, 6) for word in ("--client-list", ALLOWED[version])]


def test_who_is_not_on_the_client_list_gets_no_greeting(many: Pair) -> None:
    twampd(many.server, *allowing_prefixes())
    for version in (4, 6):
        for source in LISTED[version]:
            assert octets_of_greeting(many, source, version) == GREETING
        for source in UNLISTED[version]:
            assert octets_of_greeting(many, source, version) == 0
    measured(many.client, "-S", LISTED[4][0], SERVER[4])
    measured(many.client, "-S", LISTED[6][0], SERVER[6])
    rejected = counters(many.server)["connections"]["rejected"]
    assert {reason: count for reason, count in rejected.items() if count} == {"client_list": 4}


def test_who_is_on_the_client_list_is_reflected_without_control(many: Pair) -> None:
    twampd(many.server, "--light", *allowing_prefixes())
    expected: dict[str, str | None] = {}
    for version in (4, 6):
        server = SERVER[version]
        expected |= {f"{server},{source}": server for source in LISTED[version]}
        expected |= {f"{server},{source}": None for source in UNLISTED[version]}
    asked = many.client.python("-m", "tests.netns.light", "ask", *expected)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == expected
    packets = counters(many.server)["packets"]
    assert (packets["received"], packets["reflected"]) == (8, 4)
    assert drops(packets) == {"client_list": 4}


def drops(packets: dict[str, Any]) -> dict[str, int]:
    """Those reasons that there were."""
    return {reason: count for reason, count in packets["dropped"].items() if count}


def test_only_the_client_that_sends_too_much_loses_packets(pair: Pair) -> None:
    """At a packet a second nothing matters but what may come at once: 16 packets, whatever the machine."""
    fast, slow = "192.0.2.77", CLIENT[4]
    pair.client.add_address("eth-c", f"{fast}/24")
    # Many sessions mean many buckets: two clients hardly ever meet in one.
    twampd(pair.server, "--rate-limit", "1", "--maximum-sessions", "65536")

    def run(source: str, *options: str) -> "CompletedProcess[str]":
        return twping(pair.client, "-S", source, "-L", "2", *options, SERVER[4])

    with ThreadPoolExecutor() as both:
        a_lot = both.submit(run, fast, "-c", "200", "-i", "0.005f")
        a_few = both.submit(run, slow, "-c", "10", "-i", "0.1f")
        sent, answered = packets_of(a_lot.result())
        assert packets_of(a_few.result()) == (10, 10)
    assert sent == 200
    assert 16 <= answered < 100
    packets = counters(pair.server)["packets"]
    assert packets["received"] == sent + 10
    assert packets["reflected"] == answered + 10
    assert drops(packets) == {"rate_limit": sent - answered}


# ---- privileges ----------------------------------------------------------------------------------


def test_port_862_is_served_by_who_is_root_no_more(pair: Pair) -> None:
    responder = twampd(pair.server, "--user", "nobody", "--port", str(PORT))
    measured(pair.client, f"{SERVER[4]}:{PORT}")
    nobody = pwd.getpwnam("nobody")
    kept = sum(1 << CAPABILITIES[name] for name in ("net_admin", "net_bind_service"))
    threads = list(Path(f"/proc/{responder.process.pid}/task").iterdir())
    assert len(threads) > 1  # the reflecting loop has one
    for thread in threads:
        status = status_of(thread)
        assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
        assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
        for capabilities in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status[capabilities], 16) == kept
        assert status["NoNewPrivs"] == "1"
    assert os.geteuid() == 0  # or this says nothing


def status_of(thread: Path) -> dict[str, str]:
    lines = (thread / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
