"""The reflection in every layout: Python against recorded packets, C against Python."""

import ctypes
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.protocol.test_diagrams import layout_fields
from tests.support.c_reflection import (
    ROWS,
    Reflecting,
    in_place_by,
    reflect_in_c,
    reflecting_by,
    stamp_in_c,
)
from tests.vectors import CAPTURED, VECTORS
from twamp._native import ffi, lib
from twamp.protocol.packets import ReflectorPacket, SenderPacket
from twamp.protocol.reflect import LAYOUTS, Arrival, Drop, Layout, reflect, stamp

CSRC = Path(__file__).resolve().parents[2] / "csrc"
COMPILER = shutil.which("cc")

PLAIN = [vector for vector in VECTORS["test_packets"] if vector["mode"] == "unauthenticated"]
# Of the features, those that leave the unauthenticated layouts as they are.
STATELESS = "TWAMP Light, stateless (sequence number copied)"
AS_PLAIN = [
    vector
    for vector in VECTORS["test_packet_features"]
    if vector["name"]
    in (
        "unauth, padding 40, truncation",
        "unauth, reflect-octets 10 of 40, truncation",
        "unauth, sender NTP, reflector PTPv2 (Z=1)",
        STATELESS,
    )
]
Stamping = Callable[[str, bytes, int], bytes]


def reflect_in_python(name: str, request: bytes, arrival: Arrival) -> bytes | Drop:
    return reflect(LAYOUTS[name], request, arrival)


def stamp_in_python(name: str, reply: bytes, timestamp: int) -> bytes:
    return stamp(LAYOUTS[name], reply, timestamp)


BOTH = pytest.mark.parametrize(
    ("reflecting", "stamping"),
    [
        pytest.param(reflect_in_python, stamp_in_python, id="python"),
        pytest.param(reflect_in_c, stamp_in_c, id="c"),
    ],
)
EACH = pytest.mark.parametrize("name", LAYOUTS)


# ---- the rows --------------------------------------------------------------------------------------


def test_c_and_python_have_the_same_rows() -> None:
    assert list(ROWS) == list(LAYOUTS)


@EACH
def test_a_row_says_the_same_in_c_and_in_python(name: str) -> None:
    layout, row = LAYOUTS[name], lib.tw_layout(ROWS[name])[0]
    in_c = {field: getattr(row, field) for field, _ in ffi.typeof(row).fields}
    asked = {box.name: box.offset for box in layout_fields(layout.sender)}
    answered = {box.name: box.offset for box in layout_fields(layout.reflector)}
    assert in_c.pop("shortest_request") == layout.shortest_request
    assert in_c.pop("request_octets") == layout.request_octets
    assert in_c.pop("reply_octets") == layout.reply_octets
    assert in_c.pop("number_copied") == layout.number_copied
    assert in_c["sender_error_estimate"] == layout.sender_error_estimate
    assert in_c["timestamp"] == layout.timestamp == asked["timestamp"]
    assert in_c["error_estimate"] == asked["error_estimate"]
    assert asked["sequence_number"] == answered.pop("sequence_number") == 0
    answered.pop("hmac", None)
    assert in_c == answered


@pytest.mark.parametrize("length", range(41, 120))
def test_light_answers_with_as_many_octets_as_it_got(length: int) -> None:
    request = bytes(SenderPacket(1, 2, 3, padding=bytes(length - 14)))
    reply = reflect_in_python("light", request, Arrival(0, 0, 1, 64))
    assert isinstance(reply, bytes)
    assert len(reply) == length


# ---- recorded packets ------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("vector", PLAIN + AS_PLAIN, ids=lambda v: v.get("name", v.get("ttl")))
def test_generated_packets_are_reflected_to_the_octet(
    vector: dict[str, Any], reflecting: Reflecting, stamping: Stamping
) -> None:
    expected = bytes.fromhex(vector["reflector_packet"])
    answer = ReflectorPacket.parse(expected)
    stateless = vector.get("name") == STATELESS
    name = "light" if stateless else "unauthenticated"
    number = answer.sequence_number ^ 1 if stateless else answer.sequence_number
    arrival = Arrival(answer.receive_timestamp, number, answer.error_estimate, answer.sender_ttl)
    reply = reflecting(name, bytes.fromhex(vector["sender_packet"]), arrival)
    assert isinstance(reply, bytes)
    assert stamping(name, reply, answer.timestamp) == expected


@BOTH
def test_captured_packets_are_reflected_as_the_reference_does(
    reflecting: Reflecting, stamping: Stamping
) -> None:
    reflected = 0
    for conversation in CAPTURED["conversations"]:
        if conversation["mode"] not in (1, 8):
            continue
        packets = [(r["dir"], bytes.fromhex(r["packet"])) for r in conversation["test"]]
        requests = {
            SenderPacket.parse(octets).sequence_number: octets
            for direction, octets in packets
            if direction == "sender"
        }
        for expected in (octets for direction, octets in packets if direction == "reflector"):
            answer = ReflectorPacket.parse(expected)
            arrival = Arrival(
                answer.receive_timestamp,
                answer.sequence_number,
                answer.error_estimate,
                answer.sender_ttl,
            )
            request = requests[answer.sender_sequence_number]
            reply = reflecting("unauthenticated", request, arrival)
            assert isinstance(reply, bytes)
            assert stamping("unauthenticated", reply, answer.timestamp) == expected
            reflected += 1
    assert reflected >= 8


@BOTH
@EACH
@pytest.mark.parametrize("more", [0, 1, 26, 27, 28, 63, 64, 65, 1360])
def test_a_reply_is_as_long_as_the_request_and_never_shorter_than_its_header(
    name: str, more: int, reflecting: Reflecting, stamping: Stamping
) -> None:
    layout = LAYOUTS[name]
    sender = layout.sender(1, 2, 3, padding=bytes(range(256)) * 6)
    request = bytes(sender)[: layout.shortest_request + more]
    reply = reflecting(name, request, Arrival(0, 0, 1, 64))
    assert isinstance(reply, bytes)
    assert len(reply) == max(len(request), layout.reply_octets)
    kept = max(0, len(request) - layout.reply_octets)
    assert reply[layout.reply_octets :] == sender.padding[:kept]  # the first octets stay


# ---- C equals Python, and the comparison can fail --------------------------------------------------


def lengths(name: str) -> st.SearchStrategy[int]:
    """Around the thresholds: random octets alone would hardly ever reach the reflecting branch."""
    layout = LAYOUTS[name]
    thresholds = {layout.shortest_request, layout.request_octets, layout.reply_octets}
    near = {size + step for size in thresholds for step in (-1, 0, 1)}
    cut = layout.reply_octets + layout.reply_octets - layout.request_octets
    some = st.sampled_from(sorted({0, 1, cut - 1, cut, cut + 1, *near}))
    # Of Light's requests only those of one length get a reply without padding.
    return some | st.just(layout.reply_octets) | st.integers(0, 250)


def make_reply_like(octets: bytearray, layout: Layout, draw: Callable[..., Any]) -> None:
    """Makes of random octets a reply, or something that falls short of one in a single field."""
    boxes = {box.name: box.offset for box in layout_fields(layout.reflector)}
    received = draw(st.sampled_from([0, 1, 1 << 63]))
    edge = 16 << 32
    residence = draw(st.sampled_from([0, 1, edge - 1, edge, -1, -edge, -edge - 1, 1 << 63]))
    timestamp = (received + residence) % (1 << 64)
    octets[layout.timestamp : layout.timestamp + 8] = timestamp.to_bytes(8)
    at = boxes["receive_timestamp"]
    octets[at : at + 8] = received.to_bytes(8)
    octets[boxes["sender_ttl"]] = draw(st.sampled_from([0, 1, 64]))
    mbz = layout.sender_error_estimate + 2
    octets[mbz : mbz + 2] = draw(st.sampled_from([b"\0\0", b"\0\0", b"\0\1", b"\1\0"]))


@st.composite
def requests(draw: Callable[..., Any], name: str) -> bytes:
    octets = bytearray(draw(st.binary(min_size=250, max_size=250)))
    multiplier = LAYOUTS[name].timestamp + 9
    octets[multiplier] = draw(st.sampled_from([0, 1, 255]) | st.integers(0, 255))
    if draw(st.booleans()):
        make_reply_like(octets, LAYOUTS[name], draw)
    return bytes(octets[: draw(lengths(name))])


ARRIVALS = st.builds(
    Arrival,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 255),
    st.booleans(),
)


def longest(name: str) -> bytes:
    sender = LAYOUTS[name].sender(1, 2, 3)
    padding = random.Random(1).randbytes(lib.TW_PACKET_MAX - LAYOUTS[name].request_octets)
    return bytes(sender) + padding


def compare(name: str, tw_reflect: Any, tw_layout: Any) -> Counter[object]:
    """Holds a reflection in C to Python's on a thousand packets; returns how often each outcome came."""
    hits: Counter[object] = Counter()
    head = LAYOUTS[name].reply_octets
    reflecting = reflecting_by(tw_reflect, tw_layout)
    in_place = in_place_by(tw_reflect, tw_layout)

    # Phase.generate alone: a mutant is to be found, not to be shown at its smallest.
    @settings(
        max_examples=1000,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(requests(name), ARRIVALS)
    def agree(request: bytes, arrival: Arrival) -> None:
        expected = reflect_in_python(name, request, arrival)
        hits[expected if isinstance(expected, Drop) else len(expected) > head] += 1
        assert reflecting(name, request, arrival) == expected
        if len(request) <= head:
            assert in_place(name, request, arrival) == expected

    agree()
    arrival = Arrival(1, 2, 3, 4)
    expected = reflect_in_python(name, longest(name), arrival)
    assert reflecting(name, longest(name), arrival) == expected
    return hits


@EACH
def test_c_equals_python_on_random_packets(name: str) -> None:
    hits = compare(name, lib.tw_reflect, lib.tw_layout)
    for outcome in (Drop.SHORT, Drop.ERROR_ESTIMATE, Drop.LOOP, True, False):
        assert hits[outcome] >= 30, hits


@EACH
def test_c_equals_python_with_a_row_that_its_compiler_has_not_seen(name: str) -> None:
    row = ffi.new("struct tw_layout *", lib.tw_layout(ROWS[name])[0])
    assert compare(name, lib.tw_reflect, lambda _: row)[True] >= 30


@EACH
def test_the_packet_that_the_kernel_had_to_cut_is_dropped_in_c(name: str) -> None:
    octets = ffi.new("uint8_t[]", lib.TW_PACKET_MAX + 1)
    reply = ffi.new("uint8_t[]", lib.TW_PACKET_MAX)
    ffi.memmove(octets, longest(name), lib.TW_PACKET_MAX)
    layout, arrival = lib.tw_layout(ROWS[name]), ffi.new("struct tw_arrival *")
    assert lib.tw_reflect(layout, octets, len(octets), arrival, reply) == -lib.TW_DROP_LONG
    assert lib.tw_reflect(layout, octets, len(octets) - 1, arrival, reply) == lib.TW_PACKET_MAX


class Mutant(NamedTuple):
    """What a slip of the pen would make of the C text, and the layouts in which it shows."""

    text: str
    slip: str
    layouts: tuple[str, ...] = tuple(LAYOUTS)


NUMBER = "layout->number_copied ? number : arrival->sequence_number"
COUNTING = ("unauthenticated", "secured")
PADDING = "request + layout->request_octets, length - head"
CLEARING = "__builtin_memset(reply, 0, layout->reply_octets);"
# None that would crash instead of being wrong.
MUTANTS = [
    Mutant("length < layout->shortest_request", "length <= layout->shortest_request"),
    Mutant("length < layout->shortest_request", "length < layout->reply_octets", COUNTING),
    Mutant("length < layout->shortest_request", "length < layout->request_octets", ("light",)),
    Mutant("length > TW_PACKET_MAX", "length >= TW_PACKET_MAX"),
    Mutant("#define TW_MULTIPLIER 1", "#define TW_MULTIPLIER 0"),
    Mutant("TW_MULTIPLIER] == 0", "TW_MULTIPLIER] == 1"),
    Mutant(" && !arrival->takes_zero_error", ""),
    Mutant("received != 0 && ", ""),
    Mutant("residence + TW_LONGEST_RESIDENCE", "residence"),
    Mutant("(16ull << 32)", "(8ull << 32)"),
    Mutant("length < layout->reply_octets", "length <= layout->reply_octets"),
    Mutant("packet[layout->sender_ttl] != 0", "1"),
    Mutant("+ sizeof(be16)) == 0", "+ sizeof(be16)) < 2"),
    Mutant(NUMBER, "number", COUNTING),
    Mutant(NUMBER, "arrival->sequence_number", ("light",)),
    Mutant("arrival->error_estimate", "error_estimate"),
    Mutant("arrival->receive_timestamp", "timestamp"),
    Mutant("tw_write32(reply + layout->sender_sequence_number, number);", ""),
    Mutant("reply + layout->sender_timestamp, ", "reply + layout->timestamp, "),
    Mutant("tw_write16(reply + layout->sender_error_estimate, error_estimate);", ""),
    Mutant("= arrival->sender_ttl", "= 255"),
    Mutant(CLEARING, ""),
    Mutant(CLEARING, CLEARING.replace("0", "1")),
    Mutant(CLEARING, CLEARING.replace("reply_octets", "request_octets")),
    Mutant(CLEARING, CLEARING + " number = tw_read32(request);"),
    Mutant(CLEARING, CLEARING + " timestamp = tw_read64(request + layout->timestamp);"),
    Mutant(PADDING, "request + head, length - head"),
    Mutant(PADDING, "request + layout->request_octets, length - layout->request_octets"),
    Mutant("return (int)length;", "return (int)(length + head - layout->request_octets);"),
    Mutant("struct reflector, sender_ttl)", "struct reflector, sender_ttl) - 1"),
    Mutant(
        ".shortest_request = sizeof(struct tw_reflector_packet)",
        ".shortest_request = sizeof(struct tw_sender_packet)",
        ("light",),
    ),
    Mutant(".number_copied = 1", ".number_copied = 0", ("light",)),
]


def test_every_layout_has_its_share_of_mutants() -> None:
    shares = Counter(name for mutant in MUTANTS for name in mutant.layouts)
    assert min(shares[name] for name in LAYOUTS) >= 20


def built(mutant: Mutant, directory: Path) -> ctypes.CDLL:
    """The mutant as a library."""
    texts = {name: (CSRC / "packet" / name).read_text() for name in ("reflect.c", "reflect_head.h")}
    found = sum(text.count(mutant.text) for text in texts.values())
    assert found == 1, f"{mutant.text!r} stands {found} times in the C text, not once"
    (directory / "packet").mkdir()
    for name, text in texts.items():
        (directory / "packet" / name).write_text(text.replace(mutant.text, mutant.slip))
    library = directory / "mutant.so"
    options = ["-std=gnu11", "-shared", "-fPIC", f"-I{directory}", f"-I{CSRC}", "-o", str(library)]
    subprocess.run([str(COMPILER), *options, directory / "packet/reflect.c"], check=True)
    return ctypes.CDLL(str(library))


@pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc) on this machine")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.slip or mutant.text)
def test_the_comparison_catches_a_planted_mutant(mutant: Mutant, tmp_path: Path) -> None:
    library = built(mutant, tmp_path)

    def function(name: str) -> Any:
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        return ffi.cast(ffi.typeof(ffi.addressof(lib, name)), address)

    for name in mutant.layouts:
        with pytest.raises(AssertionError):
            compare(name, function("tw_reflect"), function("tw_layout"))


@EACH
@given(st.binary(min_size=112, max_size=150), st.integers(0, 2**64 - 1))
def test_c_and_python_stamp_alike(name: str, reply: bytes, timestamp: int) -> None:
    assert stamp_in_c(name, reply, timestamp) == stamp_in_python(name, reply, timestamp)
