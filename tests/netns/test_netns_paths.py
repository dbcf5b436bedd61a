"""twping on paths that are out of the ordinary: link-local ends, a cut, a narrow link, a firewall."""

import json

import pytest

from tests.netns.namespaces import Namespace
from tests.netns.programs import Pair, measured, twampd, twping

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
