"""Classes of clients, over the wire: each limit of a class, and that others do not have it."""

import asyncio
from typing import Any

from tests.support.by_hand import ANSWER_WITHIN, Probe, RawClient, Responder, dropped, run
from twamp.config.classes import Classes, read_class_tables
from twamp.protocol.control_messages import ServerGreeting, ServerStart, SetUpResponse
from twamp.protocol.registries import Accept, Modes


def guests(**limits: Any) -> Classes:
    """Clients of 127.0.0.0/8 are guests with these limits; those of IPv6 are in no class."""
    table = {"clients": ["127.0.0.0/8"]} | {key.replace("_", "-"): v for key, v in limits.items()}
    return Classes(read_class_tables({"guests": table}, lambda *_: "twampd.toml, line 1"))


async def accept_of(client: RawClient, probe: Probe, **fields: Any) -> Accept:
    return (await client.ask(probe.request(**fields))).accept


def test_a_class_has_so_many_connections_and_a_place_is_free_again() -> None:
    async def test() -> None:
        async with Responder.listening(classes=guests(maximum_connections=1)) as responder:
            async with RawClient.connected(responder):
                async with RawClient.connected(responder, set_up=False) as second:
                    await second.read(ServerGreeting)
                    second.send(SetUpResponse(Modes.UNAUTHENTICATED))
                    started = await second.read(ServerStart)
                    assert started.accept is Accept.TEMPORARY_RESOURCE_LIMITATION
                    await second.read_eof()
                async with RawClient.connected(responder, "::1"):
                    pass
            assert responder.server.service.rejected == {"class": 1}
            async with asyncio.timeout(ANSWER_WITHIN):
                while responder.server.service.of_class["guests"]:
                    await asyncio.sleep(0.002)
            async with RawClient.connected(responder):
                pass

    run(test)


def test_a_class_has_so_many_sessions() -> None:
    async def test() -> None:
        async with (
            Responder.listening(classes=guests(maximum_sessions=1)) as responder,
            RawClient.connected(responder) as one,
            RawClient.connected(responder) as two,
            RawClient.connected(responder, "::1") as other,
        ):
            with Probe() as probe, Probe("::1") as far:
                assert await accept_of(one, probe) is Accept.OK
                full = Accept.TEMPORARY_RESOURCE_LIMITATION
                assert await accept_of(two, probe) is full
                for _ in range(2):
                    assert await accept_of(other, far) is Accept.OK
                one.writer.close()
                await responder.sessions_left(2)
                assert await accept_of(two, probe) is Accept.OK
            assert responder.server.sessions.rejected == {"class": 1}

    run(test)


def test_a_class_may_ask_for_some_dscps_and_so_much_padding() -> None:
    async def test() -> None:
        async with (
            Responder.listening(
                classes=guests(dscp_values=[0, "EF"], maximum_padding=100)
            ) as responder,
            RawClient.connected(responder) as client,
            RawClient.connected(responder, "::1") as other,
        ):
            with Probe() as probe, Probe("::1") as far:
                for dscp, padding, accept in (
                    (0, 100, Accept.OK),
                    (46, 0, Accept.OK),
                    (8, 0, Accept.NOT_SUPPORTED),
                    (0, 101, Accept.NOT_SUPPORTED),
                ):
                    fields = {"type_p_descriptor": dscp << 24, "padding_length": padding}
                    assert await accept_of(client, probe, **fields) is accept
                    assert await accept_of(other, far, **fields) is Accept.OK
            assert responder.server.sessions.rejected == {"class": 2}

    run(test)


def test_the_sessions_of_a_class_have_its_rate_instead_of_that_of_all() -> None:
    async def test() -> None:
        async with (
            Responder.listening(
                classes=guests(session_rate_limit=0), session_rate_limit=1
            ) as responder,
            RawClient.connected(responder) as client,
            RawClient.connected(responder, "::1") as other,
        ):
            with Probe() as probe, Probe("::1") as far:
                port = (await client.ask(probe.request())).port
                far_port = (await other.ask(far.request())).port
                await client.start()
                await other.start()
                for _ in range(64):
                    await probe.measure(port)
                    far.send(far_port)
                await dropped(responder, "rate_limit", 30)

    run(test)
