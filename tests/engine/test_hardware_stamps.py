"""Hardware stamps as the kernel writes them, in every layout, and what the engine makes of them.

The control messages are synthetic, octet by octet; they were not taken from a network card.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twamp.engine.native import ffi, lib

NS = 1_000_000_000
ROOT = Path(__file__).parent.parent.parent
COMPILER = shutil.which("cc")
SOL_SOCKET, IP, IPV6 = 1, 0, 41
OLD, NEW, PKTINFO = 37, 65, 58
IP_RECVERR, IPV6_RECVERR, IP_TTL = 11, 25, 2
KERNEL, HARDWARE = (1_700_000_000, 5), (1_700_000_037, 999_999_999)
NONE = (0, 0)
Pair = tuple[int, int]


class Stamps(NamedTuple):
    kernel_ns: int
    hardware_ns: int
    device: int


def control(level: int, kind: int, octets: bytes) -> bytes:
    length = struct.calcsize("@Nii") + len(octets)
    return (struct.pack("@Nii", length, level, kind) + octets).ljust(-(-length // 8) * 8, b"\0")


def stamps(layout: int, kernel: Pair, hardware: Pair) -> bytes:
    code = "@6l" if layout == OLD else "=6q"
    return control(SOL_SOCKET, layout, struct.pack(code, *kernel, 0, 0, *hardware))


def stamped_by(interface: int) -> bytes:
    return control(SOL_SOCKET, PKTINFO, struct.pack("=IIII", interface, 86, 0, 0))


def parse(octets: bytes) -> Stamps:
    buffer = ffi.new("uint8_t[]", octets)
    rx = ffi.new("struct tw_rx *")
    lib.tw_cmsg_parse(buffer, len(octets), rx)
    return Stamps(rx.stamps.kernel_ns, rx.stamps.hardware_ns, rx.stamps.device)


def in_ns(pair: Pair) -> int:
    return pair[0] * NS + pair[1]


@pytest.mark.parametrize("layout", [OLD, NEW])
@pytest.mark.parametrize("kernel", [NONE, KERNEL])
@pytest.mark.parametrize("hardware", [NONE, HARDWARE])
def test_both_stamps_are_read_in_both_layouts(layout: int, kernel: Pair, hardware: Pair) -> None:
    message = stamps(layout, kernel, hardware)
    ttl = control(IP, IP_TTL, struct.pack("@i", 9))
    expected = Stamps(in_ns(kernel), in_ns(hardware), 0)
    assert parse(message) == parse(ttl + message) == parse(message + ttl) == expected
    assert parse(message + stamped_by(7)) == expected._replace(device=7)
    assert parse(stamped_by(7) + message) == expected._replace(device=7)


@pytest.mark.parametrize("layout", [OLD, NEW])
def test_what_is_cut_short_is_no_stamp(layout: int) -> None:
    whole = stamps(layout, KERNEL, HARDWARE)
    for length in range(len(whole)):
        assert parse(whole[:length]) == Stamps(0, 0, 0)
    by = stamped_by(7)
    for length in range(len(by)):
        assert parse(by[:length]).device == 0


@pytest.mark.parametrize("layout", [OLD, NEW])
@pytest.mark.parametrize(
    "absurd", [(-1, 0), (0, -1), (5, NS), (1 << 62, 0), (-(1 << 63), 5), (9223372036, 0)]
)
def test_absurd_stamps_are_none(layout: int, absurd: Pair) -> None:
    assert parse(stamps(layout, KERNEL, absurd)) == Stamps(in_ns(KERNEL), 0, 0)
    assert parse(stamps(layout, absurd, HARDWARE)) == Stamps(0, in_ns(HARDWARE), 0)


@given(st.binary(max_size=200))
def test_any_octets_are_harmless(octets: bytes) -> None:
    parse(octets)
    parse(stamps(NEW, KERNEL, HARDWARE) + octets)


# ---- transmit stamps


def parse_departure(octets: bytes) -> tuple[int, int, int] | None:
    buffer = ffi.new("uint8_t[]", octets)
    departure = ffi.new("struct tw_departure *")
    if not lib.tw_cmsg_parse_departure(buffer, len(octets), departure):
        return None
    return departure.id, departure.stamps.kernel_ns, departure.stamps.hardware_ns


ERROR = struct.pack("@IBBBBII", 42, 4, 0, 0, 0, 0, 77)
V4 = control(IP, IP_RECVERR, ERROR + bytes(16))
V6 = control(IPV6, IPV6_RECVERR, ERROR + bytes(28))


@pytest.mark.parametrize("layout", [OLD, NEW])
@pytest.mark.parametrize("error", [V4, V6])
def test_departures_are_read_in_both_layouts(layout: int, error: bytes) -> None:
    for kernel, hardware in ((KERNEL, NONE), (NONE, HARDWARE), (KERNEL, HARDWARE)):
        message = stamps(layout, kernel, hardware)
        expected = (77, in_ns(kernel), in_ns(hardware))
        assert parse_departure(message + error) == parse_departure(error + message) == expected
    assert parse_departure(stamps(layout, NONE, NONE) + error) is None


# ---- a batch with such stamps, through the engine's own files


@pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc) on this machine")
def test_batches_with_hardware_stamps(tmp_path: Path) -> None:
    """tests/csrc/hardware_test.c in place of the system calls: it prints each claim that does not hold."""
    reflector = (
        *("batch", "histogram", "t3_correction", "t3_error", "outbox"),
        *("pool", "index", "rate_limit", "client_list"),
    )
    units = [
        *(f"reflector/{one}" for one in (*reflector, "admission")),
        *(
            f"kernel/{one}"
            for one in ("address", "clock", "cmsg", "device_clock", "options", "rehearsal", "stamp")
        ),
        *("packet/reflect", "packet/crypto"),
    ]
    sources = [ROOT / "tests/csrc/hardware_test.c", *(ROOT / f"csrc/{one}.c" for one in units)]
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}"]
    options += os.environ.get("TWAMP_TEST_CFLAGS", "").split()  # .ci/sanitize
    program = tmp_path / "hardware_test"
    subprocess.run(
        [str(COMPILER), *options, "-o", str(program), *map(str, sources), "-lcrypto"], check=True
    )
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")
