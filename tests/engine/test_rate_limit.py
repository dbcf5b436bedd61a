"""The rate limit of each client, from outside.  At one packet a second a bucket of 16 hardly fills
again while a test lasts: what may be reflected beyond it is a slow machine's."""

import socket
from ipaddress import ip_network

import pytest

from tests.support.reflector_bench import Bench, bound, endpoint, request
from twamp.engine.session_reflector import SessionConfig

BURST = 16
SLOW = 1  # packets per second
SENT = 4 * BURST
SEED = 5357  # fixed, so that the clients here never meet in one bucket


def limited(host: str = "127.0.0.1", rate_limit: int = SLOW) -> Bench:
    return Bench(host, rate_limit=rate_limit, hash_seed=SEED)


def reflected(bench: Bench, session: int) -> int:
    return bench.reflector.session_stats(session).reflected


def require_limited(packets: int) -> None:
    assert BURST <= packets < 2 * BURST


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_is_more_than_a_bucket_is_dropped_under_its_name(host: str) -> None:
    with (bench := limited(host)).stack:
        client, session = bench.session()
        bench.send(client, *(request(number) for number in range(SENT)))
        stats = bench.reflector.session_stats(session)
        require_limited(stats.reflected)
        assert bench.drops() == {"rate_limit": SENT - stats.reflected}
        assert (stats.received, stats.dropped) == (SENT, SENT - stats.reflected)


def test_a_packet_beyond_the_limit_is_no_sign_of_life() -> None:
    with (bench := limited()).stack:
        client, session = bench.session()
        bench.send(client, *(request(number) for number in range(BURST)))
        before = bench.reflector.session_stats(session)
        assert before.reflected == BURST
        while True:
            bench.send(client, request(99))
            after = bench.reflector.session_stats(session)
            if after.reflected == before.reflected:
                break
            before = after
        assert after.last_packet_ns == before.last_packet_ns
        assert after.last_received_sequence == before.last_received_sequence
        assert after.dropped == 1


def test_each_client_has_a_bucket_of_its_own() -> None:
    with (bench := limited()).stack:
        one, two = bench.client("127.0.0.1"), bench.client("127.0.0.2")
        sessions = [bench.add(one), bench.add(two)]
        for client in (one, two):
            bench.send(client, *(request(number) for number in range(SENT)))
        for session in sessions:
            require_limited(reflected(bench, session))


def test_all_sessions_of_a_client_share_its_bucket() -> None:
    """And those on another port of ours."""
    with (bench := limited()).stack:
        (one, first), (two, second) = bench.session(), bench.session()
        bench.send(one, *(request(number) for number in range(SENT)))
        bench.send(two, *(request(number) for number in range(SENT)))
        port = bench.stack.enter_context(bound("127.0.0.1"))
        third = bench.reflector.add(SessionConfig(local=endpoint(port), peer=endpoint(one)), port)
        bench.reflector.start(third)
        for number in range(SENT):
            one.sendto(request(number), endpoint(port).sockaddr)
        bench.turn(SENT)
        require_limited(sum(reflected(bench, session) for session in (first, second, third)))
        assert bench.reflector.stats().received == 3 * SENT


def test_zero_is_no_limit() -> None:
    with (bench := limited(rate_limit=0)).stack:
        client, session = bench.session()
        bench.send(client, *(request(number) for number in range(SENT)))
        assert reflected(bench, session) == SENT
        assert bench.drops() == {}


def test_what_no_session_takes_costs_nothing() -> None:
    with (bench := limited()).stack:
        bench.session()  # which opens the port
        client = bench.client()
        bench.send(client, *(request(number) for number in range(SENT)))
        session = bench.add(client, started=False)
        bench.send(client, *(request(number) for number in range(SENT)))
        assert bench.drops() == {"no_session": SENT, "not_started": SENT}
        bench.reflector.start(session)
        bench.send(client, *(request(number) for number in range(BURST)))
        assert reflected(bench, session) == BURST


def test_a_change_takes_effect_while_it_runs() -> None:
    with (bench := limited(rate_limit=0)).stack:
        client, session = bench.session()

        def answered() -> int:
            before = reflected(bench, session)
            bench.send(client, *(request(number) for number in range(SENT)))
            return reflected(bench, session) - before

        assert answered() == SENT
        bench.reflector.set_rate_limit(SLOW)
        require_limited(answered())
        assert answered() < BURST  # it is empty
        bench.reflector.set_rate_limit(10 * SENT)  # whose bucket was never emptied
        assert answered() == SENT
        bench.reflector.set_rate_limit(0)
        assert answered() == SENT
        drops = bench.drops()
        assert list(drops) == ["rate_limit"]
        assert bench.reflector.stats().received == 5 * SENT


@pytest.mark.parametrize("rate_limit", [-1, 1 << 32])
def test_what_is_no_rate_is_refused(rate_limit: int) -> None:
    with pytest.raises(OverflowError):
        limited(rate_limit=rate_limit)
    with (bench := limited()).stack, pytest.raises(OverflowError):
        bench.reflector.set_rate_limit(rate_limit)


# ---- of light sessions, and of one session


def answered(bench: Bench, client: socket.socket) -> int:
    before = bench.reflector.stats().reflected
    bench.send(client, *(request(number, bytes(27)) for number in range(SENT)))
    return bench.reflector.stats().reflected - before


def test_strangers_of_a_light_session_have_a_limit_and_its_listed_clients_none() -> None:
    with (bench := Bench("127.0.0.1", light_rate_limit=SLOW, hash_seed=SEED)).stack:
        bench.reflector.add_light(bench.local, bench.port)
        stranger = bench.client()
        assert 16 <= answered(bench, stranger) < SENT
        assert bench.drops().keys() == {"rate_limit"}
        known, _ = bench.session()  # of a session that was asked for
        assert answered(bench, known) == SENT
        bench.reflector.set_light_clients([ip_network("127.0.0.0/8")])
        assert answered(bench, stranger) == SENT
        bench.reflector.set_light_clients([])
        bench.reflector.set_light_rate_limit(0)
        assert answered(bench, stranger) == SENT


def test_a_session_has_a_limit_of_its_own() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        other, _ = bench.session()
        client = bench.client()
        config = SessionConfig(local=bench.local, peer=endpoint(client), rate_limit=SLOW)
        session = bench.reflector.add(config, None)
        bench.reflector.start(session)
        assert 16 <= answered(bench, client) < SENT
        assert answered(bench, other) == SENT
        stats = bench.reflector.session_stats(session)
        assert bench.drops() == {"rate_limit": stats.dropped}
