"""A reflector as one writes it in Python in an afternoon: two system calls a packet, and its own clock.

``python -m benchmarks.naive FD``: a bound UDP socket; ends with its parent.
"""

import socket
import struct
import sys
import time

NTP_TO_UNIX = 2_208_988_800
SENDER = struct.Struct("!IQH")
REFLECTOR = struct.Struct("!IQHxxQIQHxxB")


def ntp_now() -> int:
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return (seconds + NTP_TO_UNIX) << 32 | (nanoseconds << 32) // 10**9


def reflect(sock: socket.socket) -> None:
    number = 0
    while True:
        packet, peer = sock.recvfrom(65535)
        received = ntp_now()
        sender_number, sender_stamp, sender_error = SENDER.unpack_from(packet)
        head = REFLECTOR.pack(
            number, ntp_now(), 1, received, sender_number, sender_stamp, sender_error, 255
        )
        sock.sendto(head + packet[REFLECTOR.size :], peer)
        number += 1


if __name__ == "__main__":
    reflect(socket.socket(fileno=int(sys.argv[1])))
