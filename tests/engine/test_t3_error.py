"""How true T3 is: replies that ask the kernel when they left, and what is made of the answers."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.reflector_bench import Bench, await_kernel_stamps, endpoint, request
from twamp.engine.session_reflector import SessionConfig
from twamp.engine.statistics import EngineHistogram, T3ErrorStats
from twamp.protocol.crypto import PacketCipher, PacketKeys, Protection
from twamp.protocol.packets import ReflectorPacket, SecuredReflectorPacket, SecuredSenderPacket
from twamp.protocol.timestamps import unix_ns_from_ntp

EVERY = 0.0011  # seconds: a little more than there is between two samples
LONG_PAUSE = 0.004  # seconds: before a send that is rehearsed twice
SO_TIMESTAMPING = 65
RECEIVE_STAMPS = 1 << 3 | 1 << 4
WINDOW = 512  # samples
KEYS = PacketKeys(bytes(range(16)), bytes(range(32)))


@pytest.fixture(params=["127.0.0.1", "::1"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with (opened := Bench(request.param)).stack:
        yield opened


def exchange_slowly(bench: Bench, client: socket.socket, packets: int) -> None:
    for number in range(packets):
        bench.exchange(client, request(number, bytes(27)))
        time.sleep(EVERY)


def require_consistent(t3_error: T3ErrorStats) -> None:
    error = t3_error.error
    assert sum(error.counts) == error.samples
    assert error.percentile_ns(50) <= error.percentile_ns(99) <= error.most_ns


def require_empty_error_queue(sock: socket.socket) -> None:
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recvmsg(0, 256, socket.MSG_ERRQUEUE)


def test_the_kernel_tells_when_a_reply_has_left(bench: Bench) -> None:
    client, _ = bench.session()
    exchange_slowly(bench, client, 30)
    t3_error = bench.reflector.t3_error()
    assert t3_error.error.samples == 30
    assert t3_error.missed == t3_error.early == t3_error.correction_ns == 0
    assert t3_error.error.percentile_ns(50) > 0
    require_consistent(t3_error)


def test_few_are_asked_however_many_there_are(bench: Bench) -> None:
    client, _ = bench.session()
    begin = time.monotonic()
    for _ in range(50):
        bench.send(client, *(request(number) for number in range(64)))
        for _ in range(64):
            client.recv(100)
    took = time.monotonic() - begin
    assert 0 < bench.reflector.t3_error().error.samples <= took * 1000 + 1


def test_nothing_is_left_that_would_wake_the_loop(bench: Bench) -> None:
    client, _ = bench.session()
    exchange_slowly(bench, client, 5)
    assert bench.reflector.step(0) == 0
    require_empty_error_queue(bench.port)


def test_a_socket_that_comes_back_is_understood(bench: Bench) -> None:
    """Its stamps are numbered on from where they were."""
    client = bench.client()
    for rounds in range(1, 4):
        session = bench.add(client)
        exchange_slowly(bench, client, 5)
        assert bench.reflector.t3_error().error.samples == 5 * rounds
        bench.reflector.remove(session)
        bench.reflector.step(0)
    assert bench.reflector.t3_error().missed == 0


def test_each_socket_has_numbers_of_its_own() -> None:
    with (
        (one := Bench("127.0.0.1")).stack,
        contextlib.ExitStack() as opened,
    ):
        client, _ = one.session()
        other = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        other.bind(("127.0.0.1", 0))
        config = SessionConfig(local=endpoint(other), peer=endpoint(client))
        one.reflector.start(one.reflector.add(config, other))
        for number in range(10):
            one.exchange(client, request(number))
            time.sleep(EVERY)
            client.sendto(request(number), other.getsockname())
            one.turn(1)
            client.recv(100)
            time.sleep(EVERY)
        assert one.reflector.t3_error().error.samples == 20


def test_segments_and_sealed_replies_are_asked_too() -> None:
    with (bench := Bench("127.0.0.1", t3_budget_ns=10**9)).stack:
        client, cipher = bench.client(), PacketCipher(Protection.ENCRYPTED, KEYS)
        config = SessionConfig(local=bench.local, peer=endpoint(client), mode=4, keys=KEYS)
        bench.reflector.start(bench.reflector.add(config, bench.port))
        packet = SecuredSenderPacket(0, 1, 1, padding=bytes(64))
        sealed = cipher.seal_sender_packet(bytes(packet))
        for rounds in range(1, 11):
            bench.send(client, *[sealed] * 64)
            for _ in range(64):
                cipher.open_reflector_packet(client.recv(1 << 16))
            time.sleep(EVERY)
            assert bench.reflector.t3_error().error.samples == rounds
        assert bench.reflector.stats().counters["segmented"] > 0


def test_without_kernel_stamps_nobody_asks() -> None:
    with (bench := Bench("127.0.0.1", timestamp="user")).stack:
        client, _ = bench.session()
        exchange_slowly(bench, client, 5)
        assert bench.reflector.t3_error().error.samples == 0
        require_empty_error_queue(bench.port)


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_t3_is_not_later_than_the_truth(host: str, correct: bool) -> None:
    """On loopback a packet comes in the call that sends it: its receive stamp is the truth."""
    await_kernel_stamps()
    with (bench := Bench(host, t3_correction=correct)).stack:
        require_true_t3(bench, correct)


def require_true_t3(bench: Bench, correct: bool) -> None:
    client, _ = bench.session()
    exchange_slowly(bench, client, WINDOW + 1)
    assert (bench.reflector.t3_error().correction_ns > 0) is correct
    client.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RECEIVE_STAMPS)
    later = 0
    for number in range(100):
        bench.send(client, request(number, bytes(27)))
        octets, messages, _, _ = client.recvmsg(100, 256)
        [(_, _, stamp)] = [one for one in messages if one[1] == SO_TIMESTAMPING]
        came_ns = int.from_bytes(stamp[:8], "little") * 10**9 + int.from_bytes(
            stamp[8:16], "little"
        )
        reply = ReflectorPacket.parse(octets)
        assert reply.receive_timestamp <= reply.timestamp
        later += unix_ns_from_ntp(reply.timestamp) > came_ns
    assert later <= (5 if correct else 0)
    require_consistent(bench.reflector.t3_error())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_first_reply_is_corrected(host: str) -> None:
    await_kernel_stamps()
    with (bench := Bench(host, t3_correction=True)).stack:
        client, _ = bench.session()
        bench.exchange(client, request(0))
        assert bench.reflector.t3_error().correction_ns > 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_after_a_pause_each_reply_asks_and_nobody_sees_the_rehearsal(host: str) -> None:
    with (bench := Bench(host, t3_correction=True)).stack:
        client, _ = bench.session()
        for number in range(8):
            reply = bench.exchange(client, request(number, bytes(27)))
            assert ReflectorPacket.parse(reply).sender_sequence_number == number
            time.sleep(LONG_PAUSE)
        assert bench.reflector.step(0) == 0
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(100)
        t3_error = bench.reflector.t3_error()
        assert t3_error.missed == 0
        assert t3_error.error.samples == 2  # the others told when they were ready for the device
        assert bench.reflector.stats().received == bench.reflector.stats().reflected == 8
        require_empty_error_queue(bench.port)


def test_a_rehearsed_reply_is_sealed_once() -> None:
    with (bench := Bench("127.0.0.1", t3_correction=True)).stack:
        client, cipher = bench.client(), PacketCipher(Protection.ENCRYPTED, KEYS)
        config = SessionConfig(local=bench.local, peer=endpoint(client), mode=4, keys=KEYS)
        bench.reflector.start(bench.reflector.add(config, bench.port))
        for number in range(3):
            packet = SecuredSenderPacket(number, 1, 1, padding=bytes(64))
            reply = bench.exchange(client, cipher.seal_sender_packet(bytes(packet)))
            opened = SecuredReflectorPacket.parse(cipher.open_reflector_packet(reply))
            assert opened.sender_sequence_number == number
            assert opened.receive_timestamp <= opened.timestamp
            time.sleep(LONG_PAUSE)


def test_percentiles_are_nearest_ranks_of_their_buckets() -> None:
    counts = [0] * 832
    counts[5], counts[32 + 32], counts[831] = 2, 1, 1  # 5; 64 and 65; up to a second
    t3_error = EngineHistogram(samples=4, most_ns=2**30 - 1, counts=counts)
    assert t3_error.percentile_ns(0) == t3_error.percentile_ns(50) == 5
    assert t3_error.percentile_ns(75) == 65
    assert t3_error.doublings() == {31: 2, 127: 1, 2**30 - 1: 1}
    assert t3_error.percentile_ns(100) == 2**30 - 1
    assert EngineHistogram().percentile_ns(99) == 0


def test_a_closed_reflector_has_none() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        bench.reflector.close()
        assert bench.reflector.t3_error() == T3ErrorStats()
