"""Replies that leave together: as segments of one send, in the order in which they were asked for."""

import errno
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.reflector_bench import Bench, endpoint, request, require_balance
from twamp.engine.session_reflector import SessionConfig, SessionReflector
from twamp.protocol.crypto import PacketCipher, PacketKeys, Protection
from twamp.protocol.packets import ReflectorPacket, SecuredReflectorPacket, SecuredSenderPacket

KEYS = PacketKeys(bytes(range(16)), bytes(range(32)))
MODES = {Protection.AUTHENTICATED: 2, Protection.ENCRYPTED: 4}
BATCH = 64
FEW = 3  # replies for one peer that leave one by one
SO_NO_CHECK, UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX = 11, 101, 102
IP_RECVTOS = 13
HOSTS = ["127.0.0.1", "::1"]
BUDGET_NS = 1_000_000_000  # as much together as may be


@pytest.fixture(params=HOSTS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with (opened := Bench(request.param, t3_budget_ns=BUDGET_NS)).stack:
        yield opened


def set_no_checksums(bench: Bench, off: bool) -> None:
    """Without checksums the kernel makes no segments."""
    if bench.host == "::1":
        bench.port.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_TX, off)
    else:
        bench.port.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, off)


@contextmanager
def refused_segments(bench: Bench) -> Iterator[None]:
    set_no_checksums(bench, True)
    yield
    set_no_checksums(bench, False)


def require_segments(bench: Bench, count: int) -> None:
    """The last of a run may be too few, and then leave one by one."""
    stats = bench.reflector.stats()
    assert stats.reflected == count
    assert count - FEW <= stats.counters["segmented"] <= count
    assert stats.counters["segments_refused"] == 0


def replies_of(client: socket.socket, count: int) -> list[ReflectorPacket]:
    return [ReflectorPacket.parse(client.recv(1 << 16)) for _ in range(count)]


def numbers_of(client: socket.socket, count: int) -> list[tuple[int, int]]:
    return [
        (reply.sequence_number, reply.sender_sequence_number) for reply in replies_of(client, count)
    ]


def in_order(count: int) -> list[tuple[int, int]]:
    return [(number, number) for number in range(count)]


def test_many_for_one_peer_leave_as_segments_in_order(bench: Bench) -> None:
    client, session = bench.session()
    bench.send(client, *(request(number, bytes(100)) for number in range(BATCH)))
    replies = replies_of(client, BATCH)
    assert [reply.sequence_number for reply in replies] == list(range(BATCH))
    assert [reply.sender_sequence_number for reply in replies] == list(range(BATCH))
    stamps = [reply.timestamp for reply in replies]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) < BATCH // 2  # segments share one
    assert all(reply.receive_timestamp <= reply.timestamp for reply in replies)
    require_segments(bench, BATCH)
    assert bench.reflector.session_stats(session).reflected == BATCH


def test_few_leave_one_by_one(bench: Bench) -> None:
    client, _ = bench.session()
    bench.send(client, *(request(number, bytes(100)) for number in range(FEW)))
    assert numbers_of(client, FEW) == in_order(FEW)
    assert bench.reflector.stats().counters["segmented"] == 0


def test_a_fixed_chunk_makes_no_segments() -> None:
    with (bench := Bench("127.0.0.1", tx_batch=BATCH)).stack:
        client, _ = bench.session()
        bench.send(client, *(request(number, bytes(100)) for number in range(BATCH)))
        assert numbers_of(client, BATCH) == in_order(BATCH)
        assert bench.reflector.stats().counters["segmented"] == 0


@pytest.mark.parametrize("seed", range(20))
def test_however_peers_and_lengths_mix_each_peer_has_its_order(bench: Bench, seed: int) -> None:
    """Runs begin, break off at another length or DSCP, and go on; and single packets come between."""
    rng = random.Random(seed)
    clients = [bench.client() for _ in range(rng.randint(2, 6))]
    for client in clients:
        bench.add(client, dscp=rng.choice([0, 46]))
    lengths = rng.choices([41, 100, 500], k=rng.randint(1, 3))
    asked: dict[socket.socket, list[bytes]] = {client: [] for client in clients}
    total = 3 * BATCH
    for _ in range(total):
        client = rng.choice(clients)
        packet = request(len(asked[client]), bytes(rng.choice(lengths) - 14))
        asked[client].append(packet)
        client.sendto(packet, bench.local.sockaddr)
    bench.turn(total)
    for client, packets in asked.items():
        for number, packet in enumerate(packets):
            octets = client.recv(1 << 16)
            assert len(octets) == len(packet)
            reply = ReflectorPacket.parse(octets)
            assert (reply.sequence_number, reply.sender_sequence_number) == (number, number)
    stats = bench.reflector.stats()
    assert 0 < stats.counters["segmented"] <= stats.reflected == total
    require_balance(stats)


def test_segments_carry_the_dscp_of_their_session(bench: Bench) -> None:
    if bench.host == "::1":
        level, wanted = socket.IPPROTO_IPV6, 66
    else:
        level, wanted = socket.IPPROTO_IP, IP_RECVTOS
    client, _ = bench.session(dscp=46)
    client.setsockopt(level, wanted, 1)
    bench.send(client, *(request(number, bytes(100)) for number in range(BATCH)))
    for _ in range(BATCH):
        _, [(_, _, octets)], _, _ = client.recvmsg(2048, 256)
        assert int.from_bytes(octets, "little") == 46 << 2
    require_segments(bench, BATCH)


def test_light_sessions_do_not_mix_their_peers(bench: Bench) -> None:
    """They are one session: only the address tells whose reply it is."""
    bench.reflector.add_light(bench.local, bench.port)
    clients = [bench.client() for _ in range(4)]
    for number in range(BATCH):
        client = clients[number % len(clients)]
        client.sendto(request(number, bytes(100)), bench.local.sockaddr)
    bench.turn(BATCH)
    for first, client in enumerate(clients):
        numbers = [number for number, _ in numbers_of(client, BATCH // len(clients))]
        assert numbers == list(range(first, BATCH, len(clients)))
    require_segments(bench, BATCH)


def test_what_one_peer_makes_the_kernel_refuse_takes_segments_from_no_other(bench: Bench) -> None:
    """A burst of light requests that are longer than the way back takes: the others stay fast."""
    bench.reflector.add_light(bench.local, bench.port)
    far, near = bench.client(), bench.client()
    if bench.host == "::1":
        far.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_RX, 1)
    for client in (far, near):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    with refused_segments(bench):
        bench.send(far, *(request(number, bytes(2000)) for number in range(BATCH)))
        assert len(replies_of(far, BATCH)) == BATCH
    assert bench.reflector.stats().counters["segmented"] == 0
    for client, length in ((near, 2000), (near, 100), (far, 100)):
        before = bench.reflector.stats().counters["segmented"]
        bench.send(client, *(request(number, bytes(length)) for number in range(BATCH)))
        assert len(replies_of(client, BATCH)) == BATCH
        assert bench.reflector.stats().counters["segmented"] >= before + BATCH - FEW
    before = bench.reflector.stats().counters["segmented"]
    bench.send(far, *(request(number, bytes(2000)) for number in range(BATCH)))
    assert len(replies_of(far, BATCH)) == BATCH
    assert bench.reflector.stats().counters["segmented"] == before
    assert bench.reflector.stats().counters["segments_refused"] == 1


def test_refused_once_they_leave_one_by_one_for_a_while(bench: Bench) -> None:
    """The kernel makes no segments where it makes no checksums."""
    client, session = bench.session()
    if bench.host == "::1":
        client.setsockopt(socket.IPPROTO_UDP, UDP_NO_CHECK6_RX, 1)
    set_no_checksums(bench, True)
    for rounds in (1, 2):
        bench.send(client, *(request(number, bytes(100)) for number in range(BATCH)))
        assert len(replies_of(client, BATCH)) == BATCH
        stats = bench.reflector.stats()
        assert (stats.counters["segmented"], stats.counters["segments_refused"]) == (0, 1)
        assert stats.reflected == rounds * BATCH
    assert bench.reflector.session_stats(session).dropped == 0
    assert not bench.drops()


def test_a_run_never_exceeds_a_datagram(bench: Bench) -> None:
    length = 20_000
    client, _ = bench.session()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    bench.send(client, *(request(number, bytes(length)) for number in range(8)))
    assert numbers_of(client, 8) == in_order(8)
    require_segments(bench, 8)  # three at a time are 60,042 octets


def test_replies_that_nobody_takes_are_named(bench: Bench) -> None:
    """A peer that is no longer there refuses by ICMP: the next send hears of it, and is not counted as sent."""
    client, session = bench.session()
    for number in range(BATCH):
        client.sendto(request(number, bytes(100)), bench.local.sockaddr)
    client.close()
    bench.turn(BATCH)
    stats = bench.reflector.session_stats(session)
    assert stats.received == BATCH == stats.reflected + stats.dropped
    assert set(bench.drops()) <= {"send_refused"}


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(OSError, match=f"Errno {errno.EINVAL}"):
        SessionReflector(tx_batch=0, t3_budget_ns=0)


def test_the_budget_decides_how_many_leave_under_one_t3() -> None:
    """A nanosecond is always too little, so replies leave alone; a second is always enough."""
    together = {}
    for budget_ns in (1, BUDGET_NS):
        with (bench := Bench("127.0.0.1", t3_budget_ns=budget_ns)).stack:
            for _ in range(2):  # of each peer two at a time: no segments
                clients = [bench.client() for _ in range(BATCH // 2)]
                for client in clients:
                    bench.add(client)
            for _ in range(20):
                for number, client in enumerate([*clients, *clients]):
                    client.sendto(request(number), bench.local.sockaddr)
                bench.turn(BATCH)
                stamps = {reply.timestamp for client in clients for reply in replies_of(client, 2)}
            together[budget_ns] = BATCH / len(stamps)
            assert bench.reflector.stats().counters["segmented"] == 0
            assert (bench.reflector.stats().chunk > 1) == (budget_ns == BUDGET_NS)
    assert together[1] == 1
    assert together[BUDGET_NS] > 2


@pytest.mark.parametrize("protection", [Protection.AUTHENTICATED, Protection.ENCRYPTED])
def test_secured_replies_leave_as_segments_and_open_again(
    bench: Bench, protection: Protection
) -> None:
    client, cipher = bench.client(), PacketCipher(protection, KEYS)
    config = SessionConfig(
        local=bench.local, peer=endpoint(client), mode=MODES[protection], keys=KEYS
    )
    bench.reflector.start(bench.reflector.add(config, bench.port))
    requests = [SecuredSenderPacket(number, 1, 1, padding=bytes(64)) for number in range(BATCH)]
    bench.send(client, *(cipher.seal_sender_packet(bytes(packet)) for packet in requests))
    for number in range(BATCH):
        octets = cipher.open_reflector_packet(client.recv(1 << 16))
        reply = SecuredReflectorPacket.parse(octets)
        assert (reply.sequence_number, reply.sender_sequence_number) == (number, number)
        assert reply.receive_timestamp <= reply.timestamp
    require_segments(bench, BATCH)
