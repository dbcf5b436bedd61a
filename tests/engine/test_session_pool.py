"""Sessions and the sockets that they share, as ``csrc/reflector/pool.c`` keeps them."""

import asyncio
import errno
import random
import socket
from collections import Counter
from typing import Any

import pytest

from tests.support.reflector_bench import Bench, bound, endpoint, os_error, request
from twamp._native import lib
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionConfig, SessionReflector

# ---- sessions and their sockets


def test_sessions_share_a_socket_and_a_4_tuple_is_taken_once(bench: Bench) -> None:
    first, second = bench.client(), bench.client()
    config = SessionConfig(local=bench.local, peer=endpoint(first))
    with os_error(errno.ENOENT):
        bench.reflector.add(config, None)
    session = bench.reflector.add(config, bench.port)
    for sock in (None, bench.port):
        with os_error(errno.EEXIST):
            bench.reflector.add(config, sock)
    other = bench.reflector.add(SessionConfig(local=bench.local, peer=endpoint(second)), None)
    assert other != session
    stats = bench.reflector.stats()
    assert (stats.sessions, stats.sockets) == (2, 1)
    for client, started in ((first, session), (second, other)):
        bench.reflector.start(started)
        bench.exchange(client, request())


def test_a_stale_id_is_no_session(bench: Bench) -> None:
    client, session = bench.session()
    bench.reflector.remove(session)
    successor = bench.add(client)
    for stale in (session, -1, successor + 1, successor + (1 << 32), (1 << 63) - 1):
        for use in (
            lambda: bench.reflector.start(stale),  # noqa: B023
            lambda: bench.reflector.finish(stale, 0),  # noqa: B023
            lambda: bench.reflector.session_stats(stale),  # noqa: B023
            lambda: bench.reflector.remove(stale),  # noqa: B023
        ):
            with os_error(errno.ENOENT):
                use()
    bench.exchange(client, request())


def test_what_is_still_queued_when_the_last_session_ends_is_counted(bench: Bench) -> None:
    client, session = bench.session()
    for number in range(70):  # more than one batch
        client.sendto(request(number), bench.local.sockaddr)
    bench.reflector.remove(session)
    bench.reflector.step(0)
    assert bench.drops() == {"no_session": 70}
    assert bench.reflector.stats().sockets == 0


def test_what_the_buffer_lost_before_the_last_session_ended_is_counted() -> None:
    with (bench := Bench("127.0.0.1", receive_buffer=1)).stack:
        client, session = bench.session()
        for number in range(100):
            client.sendto(request(number), bench.local.sockaddr)
        bench.reflector.remove(session)
        bench.reflector.step(0)
        stats = bench.reflector.stats()
        assert stats.received + stats.counters["overflows"] == 100
        assert stats.counters["overflows"] > 0


def test_the_port_is_free_after_its_last_session(bench: Bench) -> None:
    (client, first), (_, second) = bench.session(), bench.session()
    bench.port.close()
    bench.reflector.remove(first)
    bench.reflector.step(0)
    with os_error(errno.EADDRINUSE):
        require_free(bench.local)
    bench.reflector.remove(second)
    bench.reflector.step(0)
    assert bench.reflector.stats().sockets == 0
    require_free(bench.local)
    config = SessionConfig(local=bench.local, peer=endpoint(client))
    with os_error(errno.ENOENT):
        bench.reflector.add(config, None)


def require_free(local: Endpoint) -> None:
    family = socket.AF_INET if local.ip_version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(local.sockaddr)


def test_a_socket_that_its_owner_keeps_comes_and_goes(bench: Bench) -> None:
    """The duplicate is closed, the caller's is not: epoll must forget it all the same."""
    client = bench.client()
    for _ in range(3):
        session = bench.add(client)
        bench.exchange(client, request())
        bench.reflector.remove(session)
        assert bench.reflector.step(0) == 0
        assert bench.reflector.stats().sockets == 0
        client.sendto(request(), bench.local.sockaddr)  # nobody reads it, nobody is woken by it
        assert bench.reflector.step(0) == 0
        assert bench.port.recv(100)


def test_a_dying_socket_is_revived(bench: Bench) -> None:
    client, session = bench.session()
    bench.port.close()
    for _ in range(3):
        bench.reflector.remove(session)
        config = SessionConfig(local=bench.local, peer=endpoint(client))
        session = bench.reflector.add(config, None)
    bench.reflector.start(session)
    bench.reflector.step(0)  # it would have been closed here
    client.sendto(request(), bench.local.sockaddr)
    bench.turn(1)
    assert client.recv(100)


def test_many_sockets_die_at_once() -> None:
    with (bench := Bench("127.0.0.1", maximum_sessions=200)).stack:
        client = bench.client()
        sessions = []
        for _ in range(200):
            with bound("127.0.0.1") as port:
                config = SessionConfig(local=endpoint(port), peer=endpoint(client))
                sessions.append(bench.reflector.add(config, port))
        for session in sessions:
            bench.reflector.remove(session)
        turns = 0
        while bench.reflector.stats().sockets:
            bench.reflector.step(-1)  # it wakes itself for the rest, or this lasts for ever
            turns += 1
        assert 1 < turns <= 5


def test_removing_the_last_session_wakes_the_loop() -> None:
    """The port is free soon after, though no packet comes."""

    async def remove_and_wait() -> None:
        async with SessionReflector() as reflector:
            with bound("127.0.0.1") as client, bound("127.0.0.1") as port:
                config = SessionConfig(local=endpoint(port), peer=endpoint(client))
                session = reflector.add(config, port)
            reflector.remove(session)
            while reflector.stats().sockets:
                await asyncio.sleep(0.001)
            require_free(config.local)

    asyncio.run(asyncio.wait_for(remove_and_wait(), 30))


def test_maximum_sessions_is_a_limit_that_frees_up() -> None:
    with (bench := Bench("127.0.0.1", maximum_sessions=2)).stack:
        (_, first), (client, _) = bench.session(), bench.session()
        with os_error(errno.ENOSPC):
            bench.session()
        other = bench.client()
        with os_error(errno.ENOSPC):
            bench.reflector.add(SessionConfig(local=endpoint(other), peer=endpoint(client)), other)
        assert bench.reflector.stats().sockets == 1
        bench.reflector.remove(first)
        late, _ = bench.session()
        bench.exchange(late, request())
        bench.exchange(client, request())


def test_thousands_of_sessions_against_a_dictionary() -> None:
    """Ids and refusals while sessions come and go; the hash is never far from full."""
    chance = random.Random(5357)
    outcomes = Counter[str]()
    with (bench := Bench("127.0.0.1", maximum_sessions=2000)).stack:
        peers = [bench.local._replace(port=port) for port in range(1, 3001)]
        known: dict[Endpoint, int] = {}

        def add(peer: Endpoint) -> str:
            config = SessionConfig(local=bench.local, peer=peer)
            if peer in known:
                with os_error(errno.EEXIST):
                    bench.reflector.add(config, bench.port)
                return "exists"
            if len(known) == 2000:
                with os_error(errno.ENOSPC):
                    bench.reflector.add(config, bench.port)
                return "full"
            known[peer] = bench.reflector.add(config, bench.port)
            return "added"

        def remove(peer: Endpoint) -> str:
            if peer not in known:
                return "absent"
            bench.reflector.remove(known.pop(peer))
            return "removed"

        for step in range(24_000):
            growing = step // 6000 % 2 == 0
            use = add if chance.random() < (0.95 if growing else 0.3) else remove
            outcomes[use(chance.choice(peers))] += 1
            if step % 1000 == 0:
                assert len(set(known.values())) == len(known) == bench.reflector.stats().sessions
    assert min(outcomes.values()) > 500, outcomes
    assert len(outcomes) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"local": "wildcard"},
        {"local": "another port"},
        {"peer": "the other IP version"},
        {"dscp": 64},
        {"sock": "TCP"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(bench: Bench, change: dict[str, Any]) -> None:
    client = bench.client()
    sock, local, peer = bench.port, bench.local, endpoint(client)
    if change.get("local") == "wildcard":
        sock = bench.client("::" if ":" in bench.host else "0.0.0.0")
        local = endpoint(sock)
    elif change.get("local") == "another port":
        local = local._replace(port=local.port ^ 1)
    elif "peer" in change:
        peer = endpoint(bench.client("127.0.0.1" if ":" in bench.host else "::1"))
    elif "sock" in change:
        sock = bench.stack.enter_context(socket.socket(sock.family, socket.SOCK_STREAM))
        sock.bind((bench.host, 0))
        local = endpoint(sock)
    config = SessionConfig(local=local, peer=peer, dscp=change.get("dscp", 0))
    with os_error(errno.EINVAL):
        bench.reflector.add(config, sock)
    assert bench.reflector.stats().sessions == bench.reflector.stats().sockets == 0


@pytest.mark.parametrize(
    "options",
    [{"maximum_sessions": 0}, {"maximum_sessions": 65537}, {"t3_budget_ns": 0}, {"tx_batch": 65}],
    ids=str,
)
def test_open_refuses_what_it_cannot_be(options: dict[str, Any]) -> None:
    with os_error(errno.EINVAL):
        SessionReflector(**options)


def test_counters_are_named_after_the_enumeration(bench: Bench) -> None:
    stats = bench.reflector.stats()
    assert len(stats.drops) == lib.TW_DROP_COUNT - 1
    assert len(stats.receive_sources) == lib.TW_SOURCE_COUNT - 1
