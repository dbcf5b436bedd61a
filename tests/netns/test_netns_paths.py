"""twping on paths that are out of the ordinary: link-local ends, a cut, a narrow link, a firewall."""

import json

import pytest

from tests.netns.namespaces import Lab, Namespace
from tests.netns.programs import COUNT, SERVER, Pair, measured, twampd, twping

pytestmark = pytest.mark.root


def link_local(namespace: Namespace, device: str) -> str:
    shown = json.loads(namespace.ip("-json", "-6", "addr", "show", "dev", device))
    infos = (info for each in shown for info in each.get("addr_info", ()))
    [address] = [info["local"] for info in infos if info["scope"] == "link"]
    return str(address)


def test_link_local_ends_are_measured(pair: Pair) -> None:
    twampd(pair.server)
    target, source = link_local(pair.server, "eth-s"), link_local(pair.client, "eth-c")
    for arguments in (
        (f"{target}%eth-c",),
        (f"[{target}%eth-c]:862",),
        ("-Z", f"{target}%eth-c"),
        ("-S", f"{source}%eth-c", f"{target}%eth-c"),
        ("-B", "eth-c", target),
        (f"{target}%eth-c", f"{target}%eth-c"),
    ):
        session = measured(pair.client, *arguments)
        assert session["destination"]["address"].partition("%")[0] == target
    refused = twping(pair.client, target)
    assert refused.returncode == 1
    assert "a link-local address needs its interface" in refused.stderr


def test_packets_too_big_for_the_path_are_told(lab: Lab) -> None:
    client, router, server = (lab.namespace(name) for name in ("client", "router", "server"))
    lab.link((client, "cn", ("10.77.1.2/24",)), (router, "nc", ("10.77.1.1/24",)))
    lab.link((server, "sn", ("203.0.113.10/24",)), (router, "ns", ("203.0.113.1/24",)))
    router.forward()
    client.add_route("default", "10.77.1.1")
    server.add_route("default", "203.0.113.1")
    router.ip("link", "set", "ns", "mtu", "1400")
    server.ip("link", "set", "sn", "mtu", "1400")
    twampd(server)

    whole = twping(client, "203.0.113.10", "-s", "1450", "--do-not-fragment")
    assert whole.returncode == 3
    packets = json.loads(whole.stdout)["total"]["packets"]
    assert packets["icmp"] == {"too_big": COUNT}
    assert packets["num-pkts-lost"] == COUNT
    assert "too big for the path (its MTU is 1400), says ICMP from 10.77.1.1" in whole.stderr

    pieces = twping(client, "203.0.113.10", "-s", "1450")
    assert pieces.returncode == 0
    assert "packets were sent in fragments: the path's MTU is 1400" in pieces.stderr
    [session] = json.loads(pieces.stdout)["results"]
    assert (session["path-mtu"], session["fragmented"]) == (1400, True)

    short = twping(client, "203.0.113.10")
    assert (short.returncode, short.stderr) == (0, "")


def test_a_firewall_that_says_no_is_told(pair: Pair) -> None:
    twampd(pair.server)
    pair.client.ip("rule", "add", "ipproto", "udp", "prohibit")
    refused = twping(pair.client, SERVER[4])
    assert refused.returncode == 3
    assert "no packet could be sent: Permission denied" in refused.stderr
