"""Whole sessions of a Session-Sender against a scripted reflector, and what must hold of each."""

import asyncio
import time
from array import array
from typing import Any

from tests.support.scripted_reflector import LOOPBACK, Request, Script, ScriptedReflector
from twamp.endpoint import Endpoint
from twamp.engine.session_sender import SenderConfig, SenderStats, SessionSender

NONE = 0  # enum tw_source
MILLISECOND = 10**6


def fixed(count: int, interval_ns: int = MILLISECOND) -> "array[int]":
    return array("Q", range(0, count * interval_ns, interval_ns))


def config_for(peer: Endpoint, **changes: Any) -> SenderConfig:
    values: dict[str, Any] = {
        "peer": peer,
        "schedule": fixed(10),
        "start_ns": time.monotonic_ns() + 10 * MILLISECOND,
        "loss_timeout_ns": 2000 * MILLISECOND,
    }
    return SenderConfig(**(values | changes))


def measure(
    script: Script, ip_version: int = 4, **changes: Any
) -> tuple[SessionSender, ScriptedReflector]:
    """One whole session against a scripted reflector, over when that has seen every packet."""

    async def session() -> tuple[SessionSender, ScriptedReflector]:
        def script_then_stop(reflector: ScriptedReflector, request: Request) -> None:
            script(reflector, request)
            if len(reflector.requests) == len(sender.config.schedule):
                sender.stop(drain=False)

        with (
            ScriptedReflector(script_then_stop, ip_version) as reflector,
            ScriptedReflector.bound(LOOPBACK[ip_version]) as sock,
        ):
            sender = SessionSender(sock, config_for(reflector.endpoint, **changes))
            await sender.run()
            return sender, reflector

    sender, reflector = asyncio.run(session())
    assert_books_balance(sender)
    return sender, reflector


def assert_books_balance(sender: SessionSender) -> None:
    stats = sender.stats()
    answered = [sample for sample in sender.samples if sample.rank]
    assert stats.replies == len(answered)
    assert stats.received == len(answered) + len(sender.duplicates) + sum(stats.drops.values())
    assert stats.sent == sum(sample.t1_source != NONE for sample in sender.samples)
    ranks = sorted(sample.rank for sample in (*answered, *sender.duplicates))
    assert ranks == list(range(1, len(ranks) + 1))


def drops(stats: SenderStats) -> dict[str, int]:
    return {name: count for name, count in stats.drops.items() if count}
