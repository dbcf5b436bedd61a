"""The shape of the state: what is read of a running responder has exactly its keys."""

import asyncio
from typing import Any, get_type_hints

from tests.support.by_hand import Probe, RawClient
from tests.support.settings import responder_of, settings
from twamp.engine.statistics import COUNTERS
from twamp.reflector import state


def require_shape(row: Any, shape: Any) -> None:
    counters = COUNTERS if shape is state.PacketCounters else ()
    assert set(row) == {*get_type_hints(shape), *counters}, shape


def test_the_state_has_the_shape_that_is_declared() -> None:
    responder = responder_of(settings())

    async def test() -> None:
        async with responder:

            class Here:
                port = responder.server.addresses[0].port

            async with RawClient.connected(Here()) as client:
                with Probe() as probe:
                    await client.ask(probe.request())
                    reader = responder.snapshot
                    require_shape(reader.status(), state.Status)
                    [connection] = reader.connections()
                    require_shape(connection, state.ConnectionRow)
                    [[session]] = reader.sessions()
                    require_shape(session, state.SessionRow)
                    for option in reader.config():
                        require_shape(option, state.OptionRow)
                    counters = reader.counters()
                    require_shape(counters, state.Counters)
                    for part, shape in get_type_hints(state.Counters).items():
                        if shape is state.PacketCounters:  # the engine's counters are beside
                            assert set(counters["packets"]) >= set(get_type_hints(shape))
                        elif isinstance(shape, type) and issubclass(shape, dict):
                            require_shape(counters[part], shape)  # type: ignore[literal-required]

    asyncio.run(asyncio.wait_for(test(), 60))
