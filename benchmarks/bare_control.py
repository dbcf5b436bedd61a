"""A TCP server that exchanges as many octets as TWAMP-Control does, and understands none of them.

A program of bench_handshake.py: it prints its port, and ends with its standard input.
"""

import asyncio
import sys

import uvloop

GREETING, SET_UP_RESPONSE, SERVER_START = 64, 164, 48
REQUEST, ACCEPT_SESSION = 112, 48
START_SESSIONS, START_ACK, STOP_SESSIONS = 32, 32, 32
START_AT, REQUEST_AT = 2, 5  # command numbers, where ours stand: the first octet


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(GREETING))
    await reader.readexactly(SET_UP_RESPONSE)
    writer.write(bytes(SERVER_START))
    try:
        while True:
            command = (await reader.readexactly(1))[0]
            if command == REQUEST_AT:
                await reader.readexactly(REQUEST - 1)
                writer.write(bytes(ACCEPT_SESSION))
            else:
                await reader.readexactly(START_SESSIONS - 1)
                if command == START_AT:
                    writer.write(bytes(START_ACK))
    except asyncio.IncompleteReadError:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
