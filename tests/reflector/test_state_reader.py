"""The reader of a running responder: sessions in portions, clients by prefix, options with their origin."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest

from tests.support.by_hand import Probe, RawClient
from tests.support.settings import responder_of, settings
from twamp.engine.clock_model import ClockModel
from twamp.reflector.responder import Responder
from twamp.reflector.state_reader import clock_row


def serve(test: Callable[[Responder, RawClient], Awaitable[None]], **options: Any) -> None:
    responder = responder_of(settings(**options))

    async def scenario() -> None:
        async with responder:

            class Here:
                port = responder.server.addresses[0].port

            async with RawClient.connected(Here()) as client:
                await test(responder, client)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_sessions_come_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twamp.reflector.state_reader.SESSIONS_AT_ONCE", 2)

    async def test(responder: Responder, client: RawClient) -> None:
        with Probe() as probe:
            for _ in range(5):
                await client.ask(probe.request())
            portions = [len(portion) for portion in responder.snapshot.sessions()]
        assert portions == [2, 2, 1]

    serve(test)


@pytest.mark.parametrize(("prefix", "seen"), [("127.0.0.0/8", 1), ("192.0.2.0/24", 0)])
def test_a_prefix_leaves_other_clients_out(prefix: str, seen: int) -> None:
    async def test(responder: Responder, client: RawClient) -> None:
        with Probe() as probe:
            await client.ask(probe.request())
            network = ip_network(prefix)
            assert len(list(responder.snapshot.connections(network))) == seen
            assert sum(map(len, responder.snapshot.sessions(network))) == seen

    serve(test)


def test_options_have_their_origin() -> None:
    async def test(responder: Responder, client: RawClient) -> None:
        options = {row["option"]: row for row in responder.snapshot.config()}
        assert options["rate-limit"]["value"] == "7"
        assert options["rate-limit"]["origin"] == "command line"
        assert options["workers"]["value"] == "1"
        assert options["workers"]["origin"] == "default"

    serve(test, rate_limit=7)


def test_what_is_granted_and_rejected_is_counted() -> None:
    async def test(responder: Responder, client: RawClient) -> None:
        with Probe() as probe:
            await client.ask(probe.request())
            await client.ask(probe.request())
        counters = responder.snapshot.counters()
        assert counters["sessions"]["accepted"] == 1
        assert counters["sessions"]["rejected"]["maximum_sessions_per_connection"] == 1
        assert counters["connections"]["accepted"] == 1

    serve(test, maximum_sessions_per_connection=1)


def test_a_clock_that_was_never_read_is_not_readable() -> None:
    row = clock_row(ClockModel())
    assert row["readable"] == 0
    assert (row["offset_ns"], row["error_ns"], row["readings"]) == (0, 0, 0)
