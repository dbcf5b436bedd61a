"""The Session-Reflector: what it answers, and its thread."""

import asyncio
import contextlib
import gc
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.reflector_bench import (
    TIMEOUT_MS,
    Bench,
    await_kernel_stamps,
    bound,
    endpoint,
    request,
    require_balance,
    require_silence,
)
from twamp.endpoint import Endpoint
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.engine.statistics import COUNTERS
from twamp.protocol.packets import ReflectorPacket, SenderPacket
from twamp.protocol.timestamps import ErrorEstimate, ntp_from_unix_ns

PACKET_MAX = 65507
BATCH = 64
IP_RECVTTL, IP_RECVTOS = 12, 13
IPV6_RECVTCLASS, IPV6_TCLASS = 66, 67


# ---- the reply (RFC 5357 section 4.2.1)


def test_reply_says_what_the_packet_said_and_when(bench: Bench) -> None:
    client, _ = bench.session()
    if ":" in bench.host:
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 77)
    else:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 77)
    asked = SenderPacket(4711, 0xEAEBFDCE40000000, 0x9421)
    before = ntp_from_unix_ns(time.time_ns())
    reply = ReflectorPacket.parse(bench.exchange(client, bytes(asked)))
    after = ntp_from_unix_ns(time.time_ns())
    assert before <= reply.receive_timestamp <= reply.timestamp <= after
    assert reply.sequence_number == 0
    assert reply.sender_sequence_number == asked.sequence_number
    assert reply.sender_timestamp == asked.timestamp
    assert reply.sender_error_estimate == asked.error_estimate
    assert reply.sender_ttl == 77
    estimate = ErrorEstimate.from_int(reply.error_estimate)
    assert estimate.multiplier > 0
    assert not estimate.ptp_format


@pytest.mark.parametrize("length", [14, 15, 40, 41, 42, 44, 127, 1400, 9000, PACKET_MAX])
def test_reply_is_as_long_as_the_packet_or_the_header(bench: Bench, length: int) -> None:
    client, _ = bench.session()
    padding = random.Random(length).randbytes(length - 14)
    reply = bench.exchange(client, request(padding=padding))
    assert len(reply) == max(length, 41)
    assert reply[41:] == padding[: length - 41] if length > 41 else not reply[41:]
    assert reply[14:16] == reply[38:40] == bytes(2)  # MBZ


def test_padding_of_one_packet_never_shows_in_another(bench: Bench) -> None:
    client, _ = bench.session()
    bench.exchange(client, request(padding=b"secret" * 200))
    for length in (0, 1, 26, 27):
        reply = bench.exchange(client, request(padding=b"x" * length))
        assert len(reply) == 41
        assert b"secret" not in reply


def test_replies_number_themselves_for_each_session(bench: Bench) -> None:
    """Duplicates and packets out of order get a number, dropped ones do not."""
    (first, _), (second, _) = bench.session(), bench.session()
    numbers: dict[socket.socket, list[tuple[int, int]]] = {first: [], second: []}
    for client, number in [(first, 5), (second, 9), (first, 5), (first, 2), (second, 8)]:
        bench.send(client, b"short", request(error_estimate=0x100))
        reply = ReflectorPacket.parse(bench.exchange(client, request(number)))
        numbers[client].append((reply.sequence_number, reply.sender_sequence_number))
    assert numbers[first] == [(0, 5), (1, 5), (2, 2)]
    assert numbers[second] == [(0, 9), (1, 8)]
    assert bench.drops() == {"short": 5, "error_estimate": 5}


def test_a_session_that_takes_the_place_of_another_begins_at_zero(bench: Bench) -> None:
    client, session = bench.session()
    bench.exchange(client, request())
    bench.reflector.remove(session)
    assert bench.add(client) != session
    assert ReflectorPacket.parse(bench.exchange(client, request())).sequence_number == 0


@pytest.mark.parametrize("tx_batch", [1, 2, 3, 64])
def test_a_burst_is_answered_in_order_whatever_the_chunks(tx_batch: int) -> None:
    with (bench := Bench("127.0.0.1", tx_batch=tx_batch)).stack:
        client, session = bench.session()
        count = 2 * BATCH + 17
        bench.send(client, *(request(number, bytes(number)) for number in range(count)))
        replies = [ReflectorPacket.parse(client.recv(2048)) for _ in range(count)]
        assert [reply.sequence_number for reply in replies] == list(range(count))
        assert [reply.sender_sequence_number for reply in replies] == list(range(count))
        stamps = [reply.timestamp for reply in replies]
        assert stamps == sorted(stamps)
        # One Timestamp a chunk; a batch of 64 may end a chunk early.
        assert max(Counter(stamps).values()) <= tx_batch
        assert bench.reflector.session_stats(session).reflected == count


def test_one_turn_takes_at_most_a_batch_of_each_socket() -> None:
    """So a flood of one port does not keep the others waiting."""
    with (bench := Bench("127.0.0.1")).stack:
        other_port = bench.client()
        flooding, quiet = bench.client(), bench.client()
        flooded = bench.add(flooding)
        config = SessionConfig(local=endpoint(other_port), peer=endpoint(quiet))
        session = bench.reflector.add(config, other_port)
        bench.reflector.start(session)
        for number in range(3 * BATCH):
            flooding.sendto(request(number), bench.local.sockaddr)
        quiet.sendto(request(), endpoint(other_port).sockaddr)
        assert bench.reflector.step(TIMEOUT_MS) == BATCH + 1
        assert bench.reflector.session_stats(session).reflected == 1
        assert bench.reflector.session_stats(flooded).reflected == BATCH


# ---- TTL, DSCP, addresses


def received_tos_and_ttl(client: socket.socket) -> tuple[int, int]:
    _, messages, _, _ = client.recvmsg(2048, 256)
    values = {kind: int.from_bytes(octets, "little") for _, kind, octets in messages}
    if client.family == socket.AF_INET:
        return values[socket.IP_TOS], values[socket.IP_TTL]
    return values[IPV6_TCLASS], values[socket.IPV6_HOPLIMIT]


def test_replies_carry_ttl_255_and_the_dscp_of_their_session(bench: Bench) -> None:
    clients = {dscp: bench.client() for dscp in (0, 46, 8, 63)}
    for dscp, client in clients.items():
        if client.family == socket.AF_INET:
            client.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            client.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
            # What the packet carries does not matter (RFC 5357 section 3.5).
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x28)
        else:
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            client.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
            client.setsockopt(socket.IPPROTO_IPV6, IPV6_TCLASS, 0x28)
        bench.add(client, dscp=dscp)
    for _ in range(3):  # in one batch, so that each follows another
        for client in clients.values():
            client.sendto(request(), bench.local.sockaddr)
    bench.turn(3 * len(clients))
    for dscp, client in clients.items():
        for _ in range(3):
            assert received_tos_and_ttl(client) == (dscp << 2, 255)


def test_one_reflector_answers_both_ip_versions_in_turn() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        client, _ = bench.session(dscp=46)
        port6, client6 = bench.client("::1"), bench.client("::1")
        local6 = endpoint(port6)
        config = SessionConfig(local=local6, peer=endpoint(client6), dscp=46)
        bench.reflector.start(bench.reflector.add(config, port6))
        for number in range(3):
            bench.exchange(client, request(number))
            client6.sendto(request(number), local6.sockaddr)
            bench.turn(1)
            reply, source = client6.recvfrom(2048)
            assert ReflectorPacket.parse(reply).sender_sequence_number == number
            assert source == local6.sockaddr


def test_a_socket_that_came_with_a_dscp_does_not_lend_it_to_sessions() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        bench.port.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)
        client, _ = bench.session()
        client.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        client.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        bench.send(client, request())
        assert received_tos_and_ttl(client) == (0, 255)


def test_the_peer_is_its_address_and_its_port() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        known, session = bench.session()
        same_address, same_port = bench.client(), bench.client("127.0.0.2")
        same_port.close()
        same_port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bench.stack.enter_context(same_port)
        same_port.bind(("127.0.0.2", endpoint(known).port))
        for foreign in (same_address, same_port):
            bench.send(foreign, request(), b"", request(error_estimate=0))
            require_silence(foreign)
        require_silence(known)
        assert bench.drops() == {"no_session": 6}
        assert bench.reflector.session_stats(session).received == 0


# ---- T2


def test_every_receive_timestamp_is_the_kernels_from_the_first_packet_on(bench: Bench) -> None:
    await_kernel_stamps()
    client, _ = bench.session()
    for number in range(50):
        bench.send(client, *(request(number) for _ in range(number + 1)))
    stats = bench.reflector.stats()
    assert stats.received == 50 * 51 // 2
    assert stats.receive_sources == {"user": 0, "kernel": stats.received, "hardware": 0}
    assert stats.counters["refused_stamps"] == stats.counters["truncated_control"] == 0


def test_a_packet_that_waited_keeps_the_time_of_its_arrival(bench: Bench) -> None:
    await_kernel_stamps()
    client, _ = bench.session()
    client.sendto(request(), bench.local.sockaddr)
    arrived = ntp_from_unix_ns(time.time_ns())
    while ntp_from_unix_ns(time.time_ns()) - arrived < 1 << 24:  # 4 ms
        pass
    bench.turn(1)
    reply = ReflectorPacket.parse(client.recv(2048))
    assert reply.receive_timestamp <= arrived < reply.timestamp - (1 << 24)


# ---- the thread


def test_thread_answers_and_ends_when_asked() -> None:
    async def talk() -> SessionReflector:
        loop = asyncio.get_running_loop()
        async with SessionReflector() as reflector:
            names = [thread.name for thread in threading.enumerate()]
            assert names.count("twamp-reflector") == 1
            with bound("127.0.0.1") as port, bound("127.0.0.1") as client:
                local = endpoint(port)
                session = reflector.add(SessionConfig(local=local, peer=endpoint(client)), port)
                reflector.start(session)
                client.setblocking(False)
                for number in range(20):
                    await loop.sock_sendto(client, request(number), local.sockaddr)
                    reply = ReflectorPacket.parse(await loop.sock_recv(client, 2048))
                    assert reply.sequence_number == reply.sender_sequence_number == number
            with pytest.raises(RuntimeError, match="thread"):
                reflector.step()
        return reflector

    reflector = asyncio.run(talk())
    assert "twamp-reflector" not in [thread.name for thread in threading.enumerate()]
    assert reflector.stats().received == reflector.stats().reflected == 20
    for use in (reflector.step, lambda: reflector.start(0), lambda: reflector.remove(0)):
        with pytest.raises(RuntimeError, match=r"over|closed"):
            use()
    reflector.close()  # again: nothing happens


def test_a_reflector_runs_once() -> None:
    async def twice() -> None:
        async with SessionReflector() as reflector:
            with pytest.raises(RuntimeError, match="once"):
                await reflector.__aenter__()
            with pytest.raises(RuntimeError, match="aclose"):
                reflector.close()
        with pytest.raises(RuntimeError, match="once"):
            await reflector.__aenter__()

    asyncio.run(twice())


def test_cancelled_it_still_joins_its_thread() -> None:
    async def cancel() -> None:
        entered = asyncio.Event()

        async def serve() -> None:
            async with SessionReflector():
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(serve())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert "twamp-reflector" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("running", [False, True])
def test_a_forgotten_reflector_warns_and_leaves_no_thread(running: bool) -> None:
    async def forget() -> None:
        reflector = SessionReflector()
        if running:
            await reflector.__aenter__()

    def forget_and_collect() -> None:
        asyncio.run(forget())
        gc.collect()

    with pytest.warns(ResourceWarning, match="was not closed"):
        forget_and_collect()
    assert "twamp-reflector" not in [thread.name for thread in threading.enumerate()]


@contextlib.contextmanager
def flooding(client: socket.socket, local: Endpoint) -> Iterator[None]:
    """Good and bad packets of ``client``, and good ones of a stranger, from a thread."""
    packets = [request(), request(), b"", request(error_estimate=0)]
    going_on = threading.Event()
    going_on.set()

    def flood() -> None:
        while going_on.is_set():
            for octets in packets:
                client.sendto(octets, local.sockaddr)
            foe.sendto(request(), local.sockaddr)

    with bound("127.0.0.1") as foe:
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            yield
        finally:
            going_on.clear()
            thread.join()


def test_counters_balance_in_every_snapshot_while_sessions_come_and_go() -> None:
    """Under a flood of good, bad and foreign packets, a look at any moment finds the sums right."""

    async def churn() -> Counter[str]:
        seen = Counter[str]()
        async with SessionReflector(tx_batch=8) as reflector:
            with bound("127.0.0.1") as port, bound("127.0.0.1") as client:
                config = SessionConfig(local=endpoint(port), peer=endpoint(client))
                former = dict.fromkeys(COUNTERS, 0)
                with flooding(client, config.local):
                    for _ in range(300):
                        session = reflector.add(config, port)
                        reflector.start(session)
                        now = reflector.stats()
                        require_balance(now)
                        assert all(now.counters[name] >= former[name] for name in COUNTERS)
                        former = dict(now.counters)
                        await asyncio.sleep(0.0005)
                        stats = reflector.session_stats(session)
                        assert stats.received == stats.reflected + stats.dropped
                        seen["sessions that had packets"] += stats.received > 0
                        reflector.finish(session, 0)
                        reflector.remove(session)
        total = reflector.stats()
        require_balance(total)
        seen.update(total.drops)
        seen["reflected"] = total.reflected
        return seen

    seen = asyncio.run(churn())
    assert seen["reflected"] > 100
    assert seen["sessions that had packets"] > 10
    assert all(seen[name] for name in ("short", "error_estimate", "no_session")), seen
