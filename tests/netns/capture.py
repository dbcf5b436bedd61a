"""Writes down every UDP or TCP packet that an interface carries: a line of JSON each, until SIGTERM.

A program: ``python -m tests.netns.capture INTERFACE udp|tcp``.  ``tos`` is IPv4's TOS or IPv6's Traffic Class,
``ttl`` TTL or Hop Limit, ``outgoing`` as the interface's host sees it.
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
    return packet | {"length": length - 8} if wanted == KINDS["udp"] else packet


def main(interface: str, wanted: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as sock:
        sock.bind((interface, ETH_P_ALL))
        print("capturing", flush=True)
        while True:
            octets, (_, protocol, kind, *_) = sock.recvfrom(65535)
            packet = read(wanted, protocol, octets)
            if packet is not None:
                print(json.dumps(packet | {"outgoing": kind == OUTGOING}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], KINDS[sys.argv[2]])
