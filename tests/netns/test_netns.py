"""twampd and twping on networks of their own: TTL, DSCP, ports in use, many addresses, interfaces."""

import json
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

from tests.netns.namespaces import Lab, ip
from tests.netns.programs import (
    CLIENT,
    COUNT,
    REFUSED,
    SERVER,
    Pair,
    capture,
    captured,
    measured,
    twampd,
    twping,
)

pytestmark = pytest.mark.root

EF = 46
BOTH = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


def hops(session: dict[str, Any]) -> list[tuple[int, int]]:
    return [(session[way]["min"], session[way]["max"]) for way in ("send-hops", "reflect-hops")]


# ---- the harness itself --------------------------------------------------------------------------


def test_a_lab_leaves_nothing_behind(lab: Lab, tmp_path: Path) -> None:
    before = ip("netns")
    inner = Lab(tmp_path)

    def fail_inside() -> None:
        with inner:
            host = inner.namespace("host")
            assert host.name in ip("netns")
            host.start("-c", "print('here')\nimport time\ntime.sleep(3600)", until="here")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_inside()
    assert ip("netns") == before
    [program] = inner.programs
    assert program.process.returncode == -SIGTERM


def test_a_program_that_ends_too_soon_is_told_with_its_words(lab: Lab) -> None:
    host = lab.namespace("host")
    with pytest.raises(RuntimeError, match="no luck today"):
        host.start("-c", "print('no luck today')", until="listening")


# ---- twping and twampd ---------------------------------------------------------------------------


@BOTH
def test_twping_measures_over_a_cable(pair: Pair, version: int) -> None:
    responder = twampd(pair.server)
    session = measured(pair.client, SERVER[version])
    assert session["source"]["address"] == CLIENT[version]
    assert session["destination"]["address"] == SERVER[version]
    assert hops(session) == [(0, 0), (0, 0)]
    log = responder.end()
    assert f"{COUNT} test packets received, {COUNT} reflected, dropped: none" in log
    assert responder.process.returncode == 0


@BOTH
def test_hops_are_the_routers_on_the_way(lab: Lab, version: int) -> None:
    client, router, server = (lab.namespace(role) for role in ("client", "router", "server"))
    lab.link(
        (client, "eth-c", ("192.0.2.1/25", "2001:db8:0:1::1/64")),
        (router, "eth-rc", ("192.0.2.2/25", "2001:db8:0:1::2/64")),
    )
    lab.link(
        (router, "eth-rs", ("192.0.2.129/25", "2001:db8:0:2::1/64")),
        (server, "eth-s", ("192.0.2.130/25", "2001:db8:0:2::2/64")),
    )
    router.forward()
    client.add_route("192.0.2.128/25", "192.0.2.2")
    client.add_route("2001:db8:0:2::/64", "2001:db8:0:1::2")
    server.add_route("192.0.2.0/25", "192.0.2.129")
    server.add_route("2001:db8:0:1::/64", "2001:db8:0:2::1")
    twampd(server)
    session = measured(client, {4: "192.0.2.130", 6: "2001:db8:0:2::2"}[version])
    assert hops(session) == [(1, 1), (1, 1)]


@BOTH
@pytest.mark.parametrize("dscp", [0, EF])
def test_the_dscp_is_on_the_wire_both_ways(pair: Pair, version: int, dscp: int) -> None:
    twampd(pair.server)
    wire = capture(pair.server, "eth-s")
    session = measured(pair.client, "-D", str(dscp), SERVER[version])
    packets = captured(wire)
    ends = [[session[end]["address"], session[end]["port"]] for end in ("source", "destination")]
    for source, destination in (ends, ends[::-1]):
        one_way = [packet for packet in packets if packet["source"] == source]
        assert len(one_way) == COUNT
        assert {(packet["tos"], packet["ttl"]) for packet in one_way} == {(dscp << 2, 255)}
        assert [packet["destination"] for packet in one_way] == [destination] * COUNT


@BOTH
def test_kernel_stamps_are_on_every_packet(pair: Pair, version: int) -> None:
    responder = pair.server.start("-m", "tests.netns.responder", until="listening")
    session = measured(pair.client, SERVER[version])
    assert session["timestamp-sources"] == {"t1": {"kernel": COUNT}, "t4": {"kernel": COUNT}}
    told = json.loads(responder.end().splitlines()[-1])
    assert told["reflected"] == told["sources"]["kernel"] == COUNT
    assert sum(told["sources"].values()) == COUNT


# ---- ports and addresses -------------------------------------------------------------------------


@BOTH
def test_a_port_that_is_asked_for_is_given_if_it_is_free(pair: Pair, version: int) -> None:
    twampd(pair.server, "--test-ports", "9000-9010")
    session = measured(pair.client, "-P", "9004-9004", SERVER[version])
    assert session["destination"]["port"] == 9004


@BOTH
def test_another_port_is_given_if_a_program_has_the_one_asked_for(pair: Pair, version: int) -> None:
    family = {4: "AF_INET", 6: "AF_INET6"}[version]
    pair.server.start(
        "-c",
        "import signal, socket\n"
        f"sock = socket.socket(socket.{family}, socket.SOCK_DGRAM)\n"
        f"sock.bind(({SERVER[version]!r}, 9004))\n"
        "print('taken')\n"
        "signal.pause()",
        until="taken",
    )
    twampd(pair.server, "--test-ports", "9000-9010")
    session = measured(pair.client, "-P", "9004-9004", SERVER[version])
    assert session["destination"]["port"] in {*range(9000, 9011)} - {9004}


@BOTH
@pytest.mark.parametrize("control_elsewhere", [False, True], ids=["same", "control-elsewhere"])
def test_the_answer_comes_from_the_address_that_was_asked(
    pair: Pair, version: int, control_elsewhere: bool
) -> None:
    """An address that the server's routes would never choose for what it sends."""
    asked = {4: "198.51.100.7", 6: "2001:db8:1::7"}[version]
    length = {4: 32, 6: 128}[version]
    pair.server.add_address("lo", f"{asked}/{length}")
    pair.client.add_route(f"{asked}/{length}", SERVER[version])
    twampd(pair.server)
    wire = capture(pair.server, "eth-s")
    server = [SERVER[version]] if control_elsewhere else []
    session = measured(pair.client, asked, *server)
    assert session["destination"]["address"] == asked
    replies = [packet for packet in captured(wire) if packet["outgoing"]]
    assert len(replies) == COUNT
    assert {packet["source"][0] for packet in replies} == {asked}


@BOTH
def test_twping_sends_from_the_address_it_is_told(pair: Pair, version: int) -> None:
    other = {4: "192.0.2.77", 6: "2001:db8::77"}[version]
    pair.client.add_address("eth-c", f"{other}/{ {4: 24, 6: 64}[version] }")
    twampd(pair.server)
    wire = capture(pair.server, "eth-s")
    session = measured(pair.client, "-S", other, SERVER[version])
    assert session["source"]["address"] == other
    requests = [packet for packet in captured(wire) if not packet["outgoing"]]
    assert [packet["source"][0] for packet in requests] == [other] * COUNT


# ---- interfaces ----------------------------------------------------------------------------------


@BOTH
def test_packets_go_and_come_by_the_interface_that_was_told(lab: Lab, version: int) -> None:
    """Two cables between the same two addresses; each end's routes would take the first."""
    client, server = lab.namespace("client"), lab.namespace("server")
    ends = [f"{addresses[version]}/{ {4: 24, 6: 64}[version] }" for addresses in (CLIENT, SERVER)]
    for which in ("first", "second"):
        lab.link((client, f"c-{which}", ends[:1]), (server, f"s-{which}", ends[1:]))
    twampd(server, "--iface", "s-second")
    first, second = (capture(server, device) for device in ("s-first", "s-second"))
    measured(client, "--interface", "c-second", SERVER[version])
    assert sorted(packet["outgoing"] for packet in captured(second)) == COUNT * [False] + COUNT * [
        True
    ]
    assert captured(first) == []


def test_an_interface_that_is_not_there_is_told(pair: Pair) -> None:
    finished = pair.server.python("-m", "twamp.reflector", "--iface", "nowhere0")
    assert finished.returncode == REFUSED
    assert "`ip link` lists them" in finished.stderr
    finished = twping(pair.client, "--interface", "nowhere0", SERVER[4])
    assert finished.returncode == REFUSED
    assert "`ip link` lists the interfaces" in finished.stderr
