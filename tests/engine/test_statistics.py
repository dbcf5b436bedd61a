"""What C counts, as Python reads it: names and sums; one session's figures, and many at one look."""

import re
import socket
from dataclasses import replace

import pytest

from tests.support.reflector_bench import Bench, endpoint, request
from twamp._native import ffi, lib
from twamp.engine.native import enum_names
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.engine.statistics import COUNTERS, ReflectorStats
from twamp.protocol.crypto import PacketCipher, PacketKeys, Protection
from twamp.protocol.packets import ReflectorPacket, SecuredSenderPacket

CHUNK = 256  # sessions that C reads under one lock
IPV6_DONTFRAG = 62
KEYS = PacketKeys(bytes(range(16)), bytes(range(32)))


# ---- names and sums ------------------------------------------------------------------------------


def test_every_counter_has_a_row_of_help() -> None:
    assert list(COUNTERS) == list(enum_names("tw_counter", "TW_COUNTER_"))
    for row in COUNTERS.values():
        assert re.fullmatch(r"[A-Z].*\.", row.help)
        assert re.fullmatch(r"reflector_[a-z_]+", row.metric)
    assert len({row.metric for row in COUNTERS.values()}) == len(COUNTERS)


def test_every_counter_is_read_from_its_own_row() -> None:
    native = ffi.new("struct tw_reflector_stats *")
    for row in range(lib.TW_COUNTER_COUNT):
        native.counters[row] = 100 + row
    stats = ReflectorStats.of(native)
    assert dict(stats.counters) == {name: 100 + row for row, name in enumerate(COUNTERS)}


def some_stats(factor: int) -> ReflectorStats:
    return ReflectorStats(
        received=5 * factor,
        reflected=3 * factor,
        drops={"short": factor, "hmac": factor},
        receive_sources={"kernel": 4 * factor, "user": factor},
        counters={name: row * factor for row, name in enumerate(COUNTERS)},
        sessions=factor,
        sockets=2 * factor,
        receive_buffer=1000 * factor,
        chunk=factor / 8,
    )


def test_the_sum_of_reflectors_is_the_sum_of_every_counter() -> None:
    total = ReflectorStats.sum([some_stats(1), some_stats(10), some_stats(100)])
    expected = some_stats(111)
    assert total == replace(expected, receive_buffer=100_000, chunk=100 / 8)


def test_the_sum_of_one_reflector_is_itself() -> None:
    assert ReflectorStats.sum([some_stats(7)]) == some_stats(7)


# ---- one session -----------------------------------------------------------------------------------


def latest(bench: Bench, session: int) -> tuple[int | None, int | None]:
    stats = bench.reflector.session_stats(session)
    return stats.last_received_sequence, stats.last_sent_sequence


def test_before_any_good_packet_there_is_no_number_and_no_source(bench: Bench) -> None:
    client, session = bench.session()
    bench.send(client, b"short", request(7, error_estimate=0))
    stats = bench.reflector.session_stats(session)
    assert (stats.received, stats.dropped) == (2, 2)
    assert latest(bench, session) == (None, None)
    assert stats.last_source is None


def test_the_latest_numbers_are_the_senders_and_the_reflectors_own(bench: Bench) -> None:
    client, session = bench.session()
    seen = []
    for number in (0, 9, 2**32 - 1, 4):
        reply = ReflectorPacket.parse(bench.exchange(client, request(number)))
        assert latest(bench, session) == (number, reply.sequence_number)
        bench.send(client, b"short", request(77, error_estimate=0))  # what is dropped moves nothing
        seen.append(latest(bench, session))
    assert seen == [(0, 0), (9, 1), (2**32 - 1, 2), (4, 3)]
    assert bench.reflector.session_stats(session).last_source in ("kernel", "user")


def test_of_one_batch_the_last_packet_counts(bench: Bench) -> None:
    client, session = bench.session()
    bench.send(client, request(5), request(8), request(3), b"")
    assert latest(bench, session) == (3, 2)


def test_a_reply_that_was_not_sent_has_no_number(bench6: Bench) -> None:
    """The packet was good all the same."""
    bench6.port.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
    client, session = bench6.session()
    longest = bytes(65507 - 14)
    bench6.send(client, request(6, padding=longest))
    assert bench6.drops() == {"send_refused": 1}
    assert latest(bench6, session) == (6, None)
    bench6.exchange(client, request(7))
    assert latest(bench6, session) == (7, 1)
    bench6.send(client, request(8, padding=longest))
    assert latest(bench6, session) == (8, 1)


@pytest.mark.parametrize("protection", Protection)
def test_in_the_secured_modes_the_number_is_the_one_in_clear(protection: Protection) -> None:
    with (bench := Bench("127.0.0.1")).stack:
        client = bench.client()
        mode = {Protection.AUTHENTICATED: 2, Protection.ENCRYPTED: 4}[protection]
        config = SessionConfig(local=bench.local, peer=endpoint(client), mode=mode, keys=KEYS)
        session = bench.reflector.add(config, bench.port)
        bench.reflector.start(session)
        clear = bytes(SecuredSenderPacket(4711, 0xEAEBFDCE40000000, 1))
        sealed = PacketCipher(protection, KEYS).seal_sender_packet(clear)
        bench.send(client, sealed, bytes(len(sealed)))
        assert bench.drops() == {"hmac": 1}
        assert latest(bench, session) == (4711, 0)


def test_a_session_in_the_place_of_another_begins_anew(bench: Bench) -> None:
    client, session = bench.session()
    bench.exchange(client, request(5))
    bench.reflector.remove(session)
    successor = bench.add(client)
    assert latest(bench, successor) == (None, None)
    assert bench.reflector.session_stats(successor).last_source is None


# ---- many at once


def test_many_are_what_each_one_is_in_the_order_asked_for(bench: Bench) -> None:
    (first, one), (second, two), (_, three) = bench.session(), bench.session(), bench.session()
    bench.exchange(first, request(5))
    bench.send(second, request(6), request(7), b"")
    single = {session: bench.reflector.session_stats(session) for session in (one, two, three)}
    assert len({*single.values()}) == 3
    asked = [three, one, two, two, one]
    assert bench.reflector.stats_of(asked) == [single[session] for session in asked]
    assert bench.reflector.stats_of(()) == []


def test_a_stale_id_is_none_among_the_others(bench: Bench) -> None:
    client, gone = bench.session()
    bench.exchange(client, request(5))
    bench.reflector.remove(gone)
    session = bench.add(client)
    bench.exchange(client, request(6))
    for stale in (gone, -1, session + 1, (1 << 63) - 1):
        before, none, after = bench.reflector.stats_of([session, stale, session])
        assert none is None
        assert before == after == bench.reflector.session_stats(session)


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1])
def test_more_than_are_read_under_one_lock(count: int) -> None:
    with (bench := Bench("127.0.0.1", maximum_sessions=count)).stack:
        peers = [bench.local._replace(port=1 + i) for i in range(count - 1)]
        ids = [
            bench.reflector.add(SessionConfig(local=bench.local, peer=peer), bench.port)
            for peer in peers
        ]
        client, last = bench.session()
        bench.exchange(client, request(5))
        bench.reflector.remove(ids[count // 2])
        found = bench.reflector.stats_of([*ids, last])
        assert len(found) == count
        assert [i for i, stats in enumerate(found) if stats is None] == [count // 2]
        assert [i for i, stats in enumerate(found) if stats and stats.reflected] == [count - 1]


def test_of_a_closed_reflector_there_is_nothing_to_ask() -> None:
    reflector = SessionReflector()
    reflector.close()
    with pytest.raises(RuntimeError, match="closed"):
        reflector.stats_of([1])
