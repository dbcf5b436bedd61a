"""A responder that tells at its end where its timestamps T2 came from, which twampd's log does not.

A program: ``python -m tests.netns.responder``; SIGTERM ends it.
"""

import asyncio
import json
import signal

from twamp.config.reflector import ReflectorConfig
from twamp.control.server import Server
from twamp.engine.session_reflector import SessionReflector


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with SessionReflector() as reflector:
        async with Server(ReflectorConfig(), reflector):
            print("listening", flush=True)
            await stop.wait()
        stats = reflector.stats()
    print(json.dumps({"reflected": stats.reflected, "sources": dict(stats.receive_sources)}))


if __name__ == "__main__":
    asyncio.run(main())
