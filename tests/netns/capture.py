"""Writes down every UDP packet that an interface carries: a line of JSON each, until SIGTERM.

A program: ``python -m tests.netns.capture INTERFACE``.  ``tos`` is IPv4's TOS or IPv6's Traffic Class,
``ttl`` TTL or Hop Limit, ``outgoing`` as the interface's host sees it.
"""

import json
import socket
import struct
import sys
from ipaddress import ip_address
from typing import Any

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
UDP = 17
OUTGOING = 4  # PACKET_OUTGOING


def read(protocol: int, octets: bytes) -> dict[str, Any] | None:
    """The packet's headers, or None if it is no UDP packet, or a later fragment."""
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
    if kind != UDP or later_fragment:
        return None
    source_port, destination_port, length = struct.unpack_from("!HHH", octets, head)
    return {
        "source": [str(ip_address(source)), source_port],
        "destination": [str(ip_address(destination)), destination_port],
        "tos": tos,
        "ttl": ttl,
        "length": length - 8,
    }


def main(interface: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as sock:
        sock.bind((interface, ETH_P_ALL))
        print("capturing", flush=True)
        while True:
            octets, (_, protocol, kind, *_) = sock.recvfrom(65535)
            packet = read(protocol, octets)
            if packet is not None:
                print(json.dumps(packet | {"outgoing": kind == OUTGOING}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
