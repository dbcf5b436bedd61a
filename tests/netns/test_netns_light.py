"""A light responder at wildcard addresses answers from the address that was asked."""

import json

import pytest

from tests.netns.namespaces import Lab

pytestmark = pytest.mark.root

ASKED = ["192.0.2.2", "192.0.2.3", "198.51.100.2", "2001:db8::2", "2001:db8::3", "2001:db8:1::2"]
LINK_LOCAL = ["fe80::53%eth-c", "fe80::53%eth-d", "169.254.7.7"]
MANY = ["192.0.2.255", "ff02::1%eth-c"]  # hosts: those must get no reply


def test_every_address_answers_for_itself_and_none_for_many(lab: Lab) -> None:
    """Two cables; the same link-local address at the server's end of both."""
    client, server = lab.namespace("client"), lab.namespace("server")
    lab.link(
        (client, "eth-c", ("192.0.2.1/24", "2001:db8::1/64", "169.254.7.1/16")),
        (server, "eth-s", ("192.0.2.2/24", "192.0.2.3/24", "2001:db8::2/64", "2001:db8::3/64")),
    )
    lab.link(
        (client, "eth-d", ("198.51.100.1/24", "2001:db8:1::1/64")),
        (server, "eth-t", ("198.51.100.2/24", "2001:db8:1::2/64")),
    )
    server.add_address("eth-s", "169.254.7.7/16", "fe80::53/64")
    server.add_address("eth-t", "fe80::53/64")
    program = server.start("-m", "tests.netns.light", "serve", until="listening")
    asked = client.python("-m", "tests.netns.light", "ask", *ASKED, *LINK_LOCAL, *MANY)
    assert asked.returncode == 0, asked.stderr
    expected = {address: address for address in ASKED + LINK_LOCAL}
    assert json.loads(asked.stdout) == expected | dict.fromkeys(MANY)
    told = json.loads(program.end().splitlines()[-1])
    assert told == {"reflected": len(expected), "drops": {"send_refused": len(MANY)}}
