"""The devices that stamp for an interface, by the kernel: a bridge over two cables without hardware."""

import json

import pytest

from tests.netns.namespaces import Lab

pytestmark = pytest.mark.root


def test_the_ports_of_a_bridge_are_asked_and_named(lab: Lab) -> None:
    near, far = lab.namespace("near"), lab.namespace("far")
    near.ip("link", "add", "br0", "type", "bridge")
    for device in ("eth-a", "eth-b"):
        lab.link((near, device, ()), (far, f"{device}-far", ()))
        near.ip("link", "set", device, "master", "br0")
    near.ip("link", "set", "br0", "up")
    asked = near.python("-m", "twamp.ctl", "hwtstamp", "br0", "--seconds", "1", "--json")
    assert (asked.returncode, asked.stderr) == (1, "")
    findings = json.loads(asked.stdout)
    assert [device["name"] for device in findings["devices"]] == ["eth-a", "eth-b"]
    assert all("rx_software" in device["offers"] for device in findings["devices"])
    assert findings["verdict"] is False
    assert findings["reasons"][0].startswith("eth-a (driver veth) has no PTP hardware clock")


def test_a_responder_on_a_cable_does_without(lab: Lab) -> None:
    """It says what is missing, and measures by the kernel's timestamps."""
    near, far = lab.namespace("near"), lab.namespace("far")
    lab.link((near, "eth-n", ("192.0.2.1/24",)), (far, "eth-f", ("192.0.2.2/24",)))
    options = ("--iface", "eth-n", "--hwtstamp", "--control-socket", "none")
    program = near.start("-m", "twamp.reflector", *options, until="listening on")
    measured = far.python(
        *("-m", "twamp.ping", "192.0.2.1", "--hwtstamp", "-B", "eth-f", "-c", "10"),
        *("-i", "0.01f", "-L", "0.5", "--json"),
    )
    assert measured.returncode == 0
    assert "eth-f (driver veth) has no PTP hardware clock" in measured.stderr
    (result,) = json.loads(measured.stdout)["results"]
    assert result["timestamp-sources"] == {"t1": {"kernel": 10}, "t4": {"kernel": 10}}
    assert "eth-n (driver veth) has no PTP hardware clock" in program.end()
