"""Operational state as RFC 8913 has it: valid by the model, and saying what the ResponderState says.

The model is a twin of our own (``tests/yang/README.md``); with ``TWAMP_YANG_MODULES``, the published one, too.
"""

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yangson import DataModel
from yangson.enumerations import ContentType, ValidationScope
from yangson.exceptions import YangsonException

from tests.reflector.test_exporter import a_status
from twamp.protocol.registries import Modes
from twamp.protocol.states import State as ConversationState
from twamp.reflector.state import ConnectionRow, ResponderState, SessionRow
from twamp.reflector.yang import ietf_twamp

TWIN = Path(__file__).parent.parent / "yang"
PUBLISHED = os.environ.get("TWAMP_YANG_MODULES")
DIRECTORIES = [TWIN] if PUBLISHED is None else [TWIN, Path(PUBLISHED)]
MODULES = {"ietf-twamp": ["server", "session-reflector"], "ietf-inet-types": []}

Tree = dict[str, Any]


def load(directory: Path) -> Any:
    """The data model of the two modules in ``directory``, with our features."""
    modules = []
    for name, features in MODULES.items():
        (path,) = directory.glob(f"{name}*.yang")
        revision = re.search(r"^\s*revision\s+(\S+)", path.read_text(), re.MULTILINE)
        module = {
            "name": name,
            "namespace": f"urn:ietf:params:xml:ns:yang:{name}",
            "revision": revision[1] if revision else "",
            "conformance-type": "implement" if features else "import",
            "feature": features,
        }
        modules.append(module)
    library = {"ietf-yang-library:modules-state": {"module-set-id": "test", "module": modules}}
    return DataModel(json.dumps(library), (str(directory),))


@pytest.fixture(scope="module", params=DIRECTORIES, ids=["twin", "published"][: len(DIRECTORIES)])
def model(request: pytest.FixtureRequest) -> Any:
    return load(request.param)


def validate(model: Any, tree: Tree) -> None:
    """Raises YangsonException when ``tree``, as it comes out of JSON, is not valid."""
    instance = model.from_raw(json.loads(json.dumps(tree)))
    instance.validate(ValidationScope.all, ContentType.all)


def a_connection() -> ConnectionRow:
    return {
        "id": 7,
        "client": "192.0.2.1",
        "client_port": 40001,
        "server": "198.51.100.1",
        "server_port": 862,
        "state": "request",
        "mode": "mixed",
        "mode_bits": 0b0101_1000,
        "user": "probe é",
        "count": 1 << 12,
        "since": "2025-03-04T05:07:00Z",
        "age": 3.5,
        "idle": 0.5,
        "sessions": 1,
    }


def a_session() -> SessionRow:
    return {
        "sid": "c6336401ebf5d1000000000012345678",
        "connection": 7,
        "client": "192.0.2.1",
        "client_port": 40001,
        "server": "198.51.100.1",
        "server_port": 862,
        "sender": "2001:db8::5",
        "sender_port": 50001,
        "reflector": "fe80::1",
        "reflector_port": 50002,
        "mode": "mixed",
        "dscp": 46,
        "padding": 27,
        "state": "accepted",
        "since": "2025-03-04T05:07:01Z",
        "received": 1234,
        "reflected": 1200,
        "dropped": 34,
        "last_packet": 0.01,
        "last_received_sequence": 1240,
        "last_sent_sequence": 1199,
        "timestamp_source": "kernel",
        "offload": "none",
    }


def a_state() -> ResponderState:
    return {"status": a_status(), "connections": [a_connection()], "sessions": [a_session()]}


def server_of(state: ResponderState) -> Tree:
    tree: Tree = ietf_twamp(state)["ietf-twamp:twamp"]["server"]
    return tree


def reflector_of(state: ResponderState) -> Tree:
    tree: Tree = ietf_twamp(state)["ietf-twamp:twamp"]["session-reflector"]
    return tree


CONNECTION = {
    "client-ip": "192.0.2.1",
    "client-tcp-port": 40001,
    "server-ip": "198.51.100.1",
    "server-tcp-port": 862,
    "state": "servwait",
    "count": 12,
    "selected-mode": "unauth-test-encrypt-control individual-session-control symmetrical-size",
    "key-id": "probe é",
}


def test_all_of_it(model: Any) -> None:
    tree = ietf_twamp(a_state())
    validate(model, tree)
    assert tree == {
        "ietf-twamp:twamp": {
            "server": {
                "admin-state": True,
                "server-tcp-port": 862,
                "servwait": 901,
                "control-packet-dscp": 46,
                "count": 15,
                "modes": "unauthenticated encrypted unauth-test-encrypt-control"
                " individual-session-control",
                "ctrl-connection": [CONNECTION],
            },
            "session-reflector": {
                "admin-state": True,
                "refwait": 902,
                "test-session": [
                    {
                        "sid": "c6336401ebf5d1000000000012345678",
                        "sender-ip": "2001:db8::5",
                        "sender-udp-port": 50001,
                        "reflector-ip": "fe80::1",
                        "reflector-udp-port": 50002,
                        "parent-connection-client-ip": "192.0.2.1",
                        "parent-connection-client-tcp-port": 40001,
                        "parent-connection-server-ip": "198.51.100.1",
                        "parent-connection-server-tcp-port": 862,
                        "test-packet-dscp": 46,
                        "sent-packets": 1200,
                        "rcv-packets": 1234,
                        "last-sent-seq": 1199,
                        "last-rcv-seq": 1240,
                    }
                ],
            },
        }
    }


def test_a_responder_that_nobody_uses(model: Any) -> None:
    state = a_state()
    state["connections"], state["sessions"] = [], []
    validate(model, ietf_twamp(state))
    assert server_of(state)["ctrl-connection"] == []
    assert reflector_of(state)["test-session"] == []


def test_a_state_without_its_parts_is_an_error() -> None:
    with pytest.raises(KeyError, match="sessions"):
        ietf_twamp({"status": a_status(), "connections": []})
    with pytest.raises(KeyError, match="connections"):
        ietf_twamp({"status": a_status(), "sessions": []})


# ---- what the model calls it ---------------------------------------------------------------------


@pytest.mark.parametrize("conversation", ConversationState)
def test_states_of_a_conversation(model: Any, conversation: ConversationState) -> None:
    state = a_state()
    state["connections"][0]["state"] = conversation.name.lower()
    validate(model, ietf_twamp(state))
    told = [row["state"] for row in server_of(state)["ctrl-connection"]]
    if conversation is ConversationState.CLOSED:
        assert told == []
    else:
        assert told == ["servwait" if conversation is ConversationState.REQUEST else "active"]


@pytest.mark.parametrize(
    ("owner", "session_state", "told"),
    [(7, "started", "active"), (7, "stopped", "servwait"), (8, "started", "servwait")],
)
def test_servwait_rests_while_a_session_runs(owner: int, session_state: str, told: str) -> None:
    """Individual Session Control: the client may command while sessions run."""
    state = a_state()
    state["sessions"][0]["connection"] = owner
    state["sessions"][0]["state"] = session_state
    assert server_of(state)["ctrl-connection"][0]["state"] == told


def test_bits_of_modes_have_the_names_of_the_registry(model: Any) -> None:
    names = {
        Modes.UNAUTHENTICATED: "unauthenticated",
        Modes.AUTHENTICATED: "authenticated",
        Modes.ENCRYPTED: "encrypted",
        Modes.MIXED: "unauth-test-encrypt-control",
        Modes.INDIVIDUAL_SESSION_CONTROL: "individual-session-control",
        Modes.REFLECT_OCTETS: "reflect-octets",
        Modes.SYMMETRICAL_SIZE: "symmetrical-size",
        Modes.IKEV2_DERIVED: "IKEv2Derived",
        Modes.DSCP_ECN_MONITORING: "",  # younger than the model
    }
    for bit, name in names.items():
        state = a_state()
        state["status"]["mode_bits"] = int(bit)
        validate(model, ietf_twamp(state))
        assert server_of(state)["modes"] == name


def test_a_client_that_has_not_chosen_has_no_mode_and_no_user(model: Any) -> None:
    state = a_state()
    state["connections"][0].update({"state": "set_up", "mode": None, "mode_bits": 0, "user": None})
    validate(model, ietf_twamp(state))
    assert not {"selected-mode", "key-id"} & server_of(state)["ctrl-connection"][0].keys()


@pytest.mark.parametrize(
    ("user", "told"),
    [("x" * 80, True), ("x" * 81, False), ("", False), ("a b", True), ("a\0b", False)],
)
def test_an_identity_is_told_as_it_is_or_not_at_all(model: Any, user: str, told: bool) -> None:
    state = a_state()
    state["connections"][0]["user"] = user
    validate(model, ietf_twamp(state))
    assert server_of(state)["ctrl-connection"][0].get("key-id") == (user if told else None)


def test_the_port_is_the_one_in_use() -> None:
    state = a_state()
    state["status"].update({"port": 0, "listening": ["[127.0.0.1]:41999"]})
    assert server_of(state)["server-tcp-port"] == 41999
    state["status"].update({"port": 863, "listening": [], "state": "draining"})
    assert server_of(state)["server-tcp-port"] == 863
    assert server_of(state)["admin-state"] is False


def test_counters_wrap_as_32_bits_do(model: Any) -> None:
    state = a_state()
    state["sessions"][0].update({"received": (1 << 32) + 5, "reflected": (3 << 32) - 1})
    state["sessions"][0].update({"last_received_sequence": None, "last_sent_sequence": None})
    validate(model, ietf_twamp(state))
    (session,) = reflector_of(state)["test-session"]
    assert (session["rcv-packets"], session["sent-packets"]) == (5, (1 << 32) - 1)
    assert not {"last-sent-seq", "last-rcv-seq"} & session.keys()


@pytest.mark.parametrize(
    ("sender_port", "reflector_port", "told"),
    [
        *((49152, 65535, True), (65535, 862, True)),
        *((49151, 50000, False), (862, 50000, False)),
        *((50000, 49151, False), (50000, 861, False), (50000, 18760, False)),
    ],
)
def test_a_session_on_ports_that_the_model_lacks_stays_out(
    model: Any, sender_port: int, reflector_port: int, told: bool
) -> None:
    state = a_state()
    state["sessions"][0].update({"sender_port": sender_port, "reflector_port": reflector_port})
    validate(model, ietf_twamp(state))
    assert bool(reflector_of(state)["test-session"]) is told


def test_no_two_sessions_with_one_key(model: Any) -> None:
    state = a_state()
    state["sessions"].append({**a_session(), "sid": "00" * 16})
    state["sessions"].append({**a_session(), "sender_port": 50003})
    validate(model, ietf_twamp(state))
    assert [row["sid"][:2] for row in reflector_of(state)["test-session"]] == ["00", "c6"]


@given(
    mode_bits=st.integers(0, (1 << 32) - 1),
    count=st.integers(0, (1 << 32) - 1) | st.sampled_from([1 << n for n in range(33)]),
    dscp=st.integers(0, 63),
    timeout=st.integers(0, 1 << 33),
    port=st.integers(0, 65535),
    counter=st.integers(0, (1 << 64) - 1),
    user=st.none() | st.text(max_size=100),
    address=st.ip_addresses().map(str),
)
def test_whatever_the_values_the_tree_is_valid(model: Any, **values: Any) -> None:
    state = a_state()
    status, (connection,), (session,) = state["status"], state["connections"], state["sessions"]
    status.update(
        {"mode_bits": values["mode_bits"], "count": values["count"], "dscp": values["dscp"]}
    )
    status.update({"server_inactivity_timeout": values["timeout"]})
    status.update({"test_inactivity_timeout": values["timeout"]})
    connection.update(
        {"mode_bits": values["mode_bits"], "count": values["count"], "user": values["user"]}
    )
    connection.update({"client": values["address"], "client_port": values["port"]})
    session.update(
        {"sender": values["address"], "sender_port": values["port"], "dscp": values["dscp"]}
    )
    session.update({"received": values["counter"], "reflected": values["counter"]})
    validate(model, ietf_twamp(state))


# ---- validation bites ----------------------------------------------------------------------------


def plant(part: str, name: str, value: object) -> Callable[[Tree], None]:
    """Puts a wrong ``value`` into the server, the reflector, or the first entry of their lists."""

    def change(twamp: Tree) -> None:
        places = {
            "server": twamp["server"],
            "reflector": twamp["session-reflector"],
            "connection": twamp["server"]["ctrl-connection"][0],
            "session": twamp["session-reflector"]["test-session"][0],
        }
        if value is None:
            del places[part][name]
        else:
            places[part][name] = value

    return change


def duplicate_session(twamp: Tree) -> None:
    twamp["session-reflector"]["test-session"] *= 2


FAULTS = {
    "enum": plant("connection", "state", "idle"),
    "key of a connection": plant("connection", "client-ip", None),
    "key of a session": plant("session", "sender-udp-port", None),
    "key twice": duplicate_session,
    "sender port": plant("session", "sender-udp-port", 8760),
    "reflector port": plant("session", "reflector-udp-port", 863),
    "exponent": plant("server", "count", 32),
    "SERVWAIT": plant("server", "servwait", 0),
    "REFWAIT": plant("reflector", "refwait", 604_801),
    "DSCP": plant("session", "test-packet-dscp", 64),
    "bit": plant("server", "modes", "unauthenticated mixed"),
    "address": plant("session", "sender-ip", "192.0.2.256"),
    "no address": plant("connection", "server-ip", "localhost"),
    "counter": plant("session", "rcv-packets", 1 << 32),
    "empty identity": plant("connection", "key-id", ""),
    "long identity": plant("connection", "key-id", "x" * 81),
    "name": plant("server", "server-udp-port", 862),
    "type": plant("server", "admin-state", "true"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(model: Any, fault: str) -> None:
    tree = copy.deepcopy(ietf_twamp(a_state()))
    FAULTS[fault](tree["ietf-twamp:twamp"])
    with pytest.raises(YangsonException):
        validate(model, tree)


def test_the_twin_has_the_nodes_of_the_model(model: Any) -> None:
    """Says something only with the published modules: same nodes, keys, and what is configuration."""
    assert model.ascii_tree(no_types=True) == load(TWIN).ascii_tree(no_types=True)
