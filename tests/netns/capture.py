"""Writes down every UDP or TCP packet that an interface carries: a line of JSON each, until SIGTERM.

A program: ``python -m tests.netns.capture INTERFACE udp|tcp``.  ``tos`` is IPv4's TOS or IPv6's Traffic Class,
``ttl`` TTL or Hop Limit, ``outgoing`` as the interface's host sees it; ``at_ns`` when the kernel saw the
packet pass (Unix time), ``payload`` of UDP in hexadecimal, ``reset`` of TCP.  What leaves as
segments is one packet here, with all their payloads (tests/engine/test_segments.py).
"""

import json
import socket
import struct
import sys
from ipaddress import ip_address
from typing import Any

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
KINDS = {"tcp": 6, "udp": 17}
OUTGOING = 4  # PACKET_OUTGOING
RST = 0x04  # of TCP's flags
SO_TIMESTAMPNS = 35  # which the socket module does not name; old and new are one on 64-bit Linux
TIMESPEC = struct.Struct("@qq")


def read(wanted: int, protocol: int, octets: bytes) -> dict[str, Any] | None:
    """The packet's headers, or None if it is not of the kind that is wanted, or a later fragment."""
    if protocol == ETH_P_IP:
        head = (octets[0] & 15) * 4
        kind, tos, ttl = octets[9], octets[1], octets[8]
        source, destination = octets[12:16], octets[16:20]
        later_fragment = int.from_bytes(octets[6:8]) & 0x1FFF
    elif protocol == ETH_P_IPV6:
        head, later_fragment = 40, 0
        kind, ttl = octets[6], octets[7]
        tos = (octets[0] & 15) << 4 | octets[1] >> 4
        source, destination = octets[8:24], octets[24:40]
    else:
        return None
    if kind != wanted or later_fragment:
        return None
    source_port, destination_port, length = struct.unpack_from("!HHH", octets, head)
    packet = {
        "source": [str(ip_address(source)), source_port],
        "destination": [str(ip_address(destination)), destination_port],
        "tos": tos,
        "ttl": ttl,
    }
    if wanted == KINDS["udp"]:
        packet |= {"length": length - 8, "payload": octets[head + 8 :].hex()}
    else:
        packet["reset"] = bool(octets[head + 13] & RST)
    return packet


def stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The kernel's timestamp among the control messages, Unix ns."""
    [seconds_ns] = [data for _, kind, data in ancillary if kind == SO_TIMESTAMPNS]
    seconds, nanoseconds = TIMESPEC.unpack(seconds_ns)
    return int(seconds * 10**9 + nanoseconds)


def main(interface: str, wanted: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((interface, ETH_P_ALL))
        print("capturing", flush=True)
        while True:
            octets, ancillary, _, (_, protocol, kind, *_) = sock.recvmsg(65535, 64)
            packet = read(wanted, protocol, octets)
            if packet is not None:
                packet |= {"outgoing": kind == OUTGOING, "at_ns": stamp(ancillary)}
                print(json.dumps(packet), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], KINDS[sys.argv[2]])
