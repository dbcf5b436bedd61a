"""TWAMP Light: sessions of every peer on a port, without TWAMP-Control (RFC 5357 Appendix I)."""

import errno
import random
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from tests.support.reflector_bench import Bench, bound, endpoint, os_error, request, require_silence
from twamp.endpoint import Endpoint
from twamp.protocol.packets import ReflectorPacket, SenderPacket
from twamp.protocol.timestamps import ntp_from_unix_ns

PACKET_MAX = 65507
REPLY = 41  # octets: the shortest reply
LATER = (1 << 64) - 1
IP_RECVTTL, IP_RECVTOS = 12, 13
IPV6_RECVTCLASS, IPV6_TCLASS = 66, 67
SEED = 5357


def long_request(number: int = 0, length: int = REPLY) -> bytes:
    return request(number, bytes(length - 14))


def light(bench: Bench) -> int:
    return bench.reflector.add_light(bench.local, bench.port)


def numbers(bench: Bench, client: socket.socket, number: int) -> tuple[int, int]:
    reply = ReflectorPacket.parse(bench.exchange(client, long_request(number)))
    return reply.sequence_number, reply.sender_sequence_number


# ---- the reply


def test_every_peer_is_answered_at_once(bench: Bench) -> None:
    session = light(bench)
    for number, client in enumerate((bench.client(), bench.client(), bench.client())):
        asked = SenderPacket(number, 0xEAEBFDCE40000000, 0x9421, padding=bytes(27))
        before = ntp_from_unix_ns(time.time_ns())
        reply = ReflectorPacket.parse(bench.exchange(client, bytes(asked)))
        after = ntp_from_unix_ns(time.time_ns())
        assert before <= reply.receive_timestamp <= reply.timestamp <= after
        assert reply.sender_timestamp == asked.timestamp
        assert reply.sender_error_estimate == asked.error_estimate
        assert reply.sender_ttl == 64
    stats = bench.reflector.session_stats(session)
    assert (stats.received, stats.reflected) == (3, 3)


def test_the_number_of_a_reply_is_that_of_its_request(bench: Bench) -> None:
    """There is no state that could number them."""
    session = light(bench)
    one, two = bench.client(), bench.client()
    for client, number in [(one, 5), (two, 9), (one, 5), (one, 0), (two, 2**32 - 1)]:
        assert numbers(bench, client, number) == (number, number)
        stats = bench.reflector.session_stats(session)
        assert (stats.last_received_sequence, stats.last_sent_sequence) == (number, number)


@pytest.mark.parametrize("length", [REPLY, 42, 44, 127, 1400, PACKET_MAX])
def test_a_reply_is_exactly_as_long_as_its_request(bench: Bench, length: int) -> None:
    light(bench)
    padding = random.Random(length).randbytes(length - 14)
    reply = bench.exchange(bench.client(), request(padding=padding))
    assert len(reply) == length
    assert reply[REPLY:] == padding[: length - REPLY]


@pytest.mark.parametrize("length", [0, 13, 14, REPLY - 1])
def test_what_is_shorter_than_its_reply_is_dropped(bench: Bench, length: int) -> None:
    """Or who writes the address of another into it would make us send more than it cost."""
    session = light(bench)
    client = bench.client()
    bench.send(client, long_request(length=REPLY)[:length])
    require_silence(client)
    assert bench.drops() == {"short": 1}
    assert bench.reflector.session_stats(session).last_packet_ns == 0


@pytest.mark.root
@pytest.mark.parametrize("port", [7, 862, 1023])
def test_a_port_of_services_is_not_answered(bench: Bench, port: int) -> None:
    """A forged sender there would answer the answer, for ever."""
    light(bench)
    with bound(str(bench.local.address), port) as client:
        bench.send(client, long_request())
        require_silence(client)
    assert bench.reflector.stats().drops["loop"] == 1


def test_our_own_port_elsewhere_is_not_answered() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        light(bench)
        with bound("127.0.0.2", bench.local.port) as other:
            bench.send(other, long_request())
            require_silence(other)
        assert bench.reflector.stats().drops["loop"] == 1


def test_other_drops_are_those_of_any_session(bench6: Bench) -> None:
    light(bench6)
    client = bench6.client()
    bench6.send(client, request(padding=bytes(27), error_estimate=0))
    bench6.send(client, request(padding=bytes(PACKET_MAX + 1 - 14)))
    require_silence(client)
    assert bench6.drops() == {"error_estimate": 1, "long": 1}


def hear_tos(client: socket.socket) -> None:
    if client.family == socket.AF_INET:
        client.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        client.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
    else:
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        client.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)


def set_tos(client: socket.socket, tos: int) -> None:
    if client.family == socket.AF_INET:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    else:
        client.setsockopt(socket.IPPROTO_IPV6, IPV6_TCLASS, tos)


def received_tos_and_ttl(client: socket.socket) -> tuple[int, int]:
    _, messages, _, _ = client.recvmsg(2048, 256)
    values = {kind: int.from_bytes(octets, "little") for _, kind, octets in messages}
    if client.family == socket.AF_INET:
        return values[socket.IP_TOS], values[socket.IP_TTL]
    return values[IPV6_TCLASS], values[socket.IPV6_HOPLIMIT]


def test_the_dscp_of_a_reply_is_that_of_its_request(bench: Bench) -> None:
    """Without the ECN bits: those are of the way that the request came."""
    light(bench)
    client = bench.client()
    hear_tos(client)
    wishes = [46 << 2, 0, 8 << 2 | 2, 63 << 2 | 1, 2, 0]
    for tos in wishes:
        set_tos(client, tos)
        client.sendto(long_request(), bench.local.sockaddr)
    bench.turn(len(wishes))  # in one batch, so that each follows another
    assert [received_tos_and_ttl(client) for _ in wishes] == [(tos & 0xFC, 255) for tos in wishes]


# ---- beside other sessions, and its life


def test_who_has_a_session_of_his_own_is_answered_by_that(bench: Bench) -> None:
    known, session = bench.session()
    everybody = light(bench)
    other = bench.client()
    assert bench.reflector.stats().sessions == 2
    assert bench.reflector.stats().sockets == 1
    for own in range(3):
        assert numbers(bench, known, 77) == (own, 77)
        assert numbers(bench, other, 77) == (77, 77)
    assert len(bench.exchange(known, request())) == REPLY  # 14 octets are enough there
    assert bench.reflector.session_stats(session).reflected == 4
    assert bench.reflector.session_stats(everybody).reflected == 3


def test_a_session_that_has_not_started_is_not_answered_by_another(bench: Bench) -> None:
    light(bench)
    client, session = bench.session(started=False)
    bench.send(client, long_request())
    assert bench.drops() == {"not_started": 1}
    bench.reflector.remove(session)
    assert numbers(bench, client, 7) == (7, 7)


def test_removed_it_answers_nobody_and_the_others_stay(bench: Bench) -> None:
    known, _ = bench.session()
    everybody = light(bench)
    other = bench.client()
    bench.exchange(other, long_request())
    bench.reflector.remove(everybody)
    bench.send(other, long_request())
    require_silence(other)
    assert bench.drops() == {"no_session": 1}
    assert numbers(bench, known, 7) == (0, 7)
    with os_error(errno.ENOENT):
        bench.reflector.remove(everybody)
    assert light(bench) != everybody
    assert numbers(bench, other, 8) == (8, 8)


def test_the_port_is_free_after_it(bench: Bench) -> None:
    session = light(bench)
    bench.port.close()
    bench.reflector.remove(session)
    bench.reflector.step(0)
    assert bench.reflector.stats().sockets == 0
    family = socket.AF_INET if bench.local.ip_version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(bench.local.sockaddr)
        bench.port = sock
        session = bench.add(bench.client())  # in the row of the light one's socket
        client = bench.client()
        bench.send(client, long_request())
        assert bench.drops() == {"no_session": 1}
        bench.reflector.remove(session)


def test_it_ends_at_its_deadline_like_any_other(bench: Bench) -> None:
    session = light(bench)
    client = bench.client()
    bench.reflector.finish(session, time.monotonic_ns())
    bench.send(client, long_request())
    assert bench.drops() == {"stopped": 1}
    bench.reflector.finish(session, LATER)
    bench.exchange(client, long_request())


def test_there_is_one_of_a_port_and_it_counts_as_a_session() -> None:
    with (bench := Bench("127.0.0.1", maximum_sessions=1)).stack:
        with os_error(errno.ENOENT):
            bench.reflector.add_light(bench.local, None)
        light(bench)
        for sock in (bench.port, None):
            with os_error(errno.EEXIST):
                bench.reflector.add_light(bench.local, sock)
        with os_error(errno.ENOSPC):
            bench.session()
        other = bench.client()
        with os_error(errno.ENOSPC):
            bench.reflector.add_light(endpoint(other), other)
        with os_error(errno.EINVAL):
            bench.reflector.add_light(bench.local, other)


# ---- who may


def answered(bench: Bench, host: str) -> bool:
    """Whether a client there is, and that it is dropped under the right name if not."""
    before = bench.reflector.stats()
    with bound(host) as client:
        bench.send(client, long_request())
        after = bench.reflector.stats()
        if after.reflected > before.reflected:
            return True
        require_silence(client)
        assert after.drops["client_list"] == before.drops["client_list"] + 1
        return False


@pytest.mark.parametrize(
    ("prefixes", "welcome"),
    [
        ([], {"127.0.0.1", "127.0.1.1", "127.9.9.9"}),
        (["127.0.0.1/32"], {"127.0.0.1"}),
        (["127.0.0.0/16"], {"127.0.0.1", "127.0.1.1"}),
        (["0.0.0.0/0"], {"127.0.0.1", "127.0.1.1", "127.9.9.9"}),
        (["::/0"], set()),
        (["127.0.0.2/32", "2001:db8::/32", "127.8.0.0/13"], {"127.9.9.9"}),
    ],
)
def test_the_client_list_says_who_may(prefixes: list[str], welcome: set[str]) -> None:
    with (bench := Bench("127.0.0.1")).stack:
        light(bench)
        bench.reflector.set_light_clients(map(ip_network, prefixes))
        asking = ("127.0.0.1", "127.0.1.1", "127.9.9.9")
        assert {host for host in asking if answered(bench, host)} == welcome


@pytest.mark.parametrize(
    ("prefix", "welcome"), [("::1/128", True), ("::/127", True), ("::2/127", False)]
)
def test_the_client_list_of_ipv6(bench6: Bench, prefix: str, welcome: bool) -> None:
    light(bench6)
    bench6.reflector.set_light_clients([ip_network("2001:db8::/32"), ip_network(prefix)])
    assert answered(bench6, "::1") == welcome


def test_a_new_list_takes_the_place_of_the_old_one() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        session = light(bench)
        home = ip_network("127.0.0.1/32")
        for prefixes, expected in [([home], True), ([ip_network("::/0")], False), ([], True)]:
            bench.reflector.set_light_clients(prefixes)
            assert answered(bench, "127.0.0.1") == expected
        stats = bench.reflector.session_stats(session)
        assert (stats.received, stats.reflected, stats.dropped) == (3, 2, 1)


def test_the_list_is_for_light_sessions_alone() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        client, _ = bench.session()
        light(bench)
        bench.reflector.set_light_clients([ip_network("::/0")])
        bench.exchange(client, request())


def test_a_list_may_be_long_but_not_too_long() -> None:
    with (bench := Bench("127.0.0.1")).stack:
        light(bench)
        networks = [ip_network(f"10.{i // 256}.{i % 256}.0/24") for i in range(1023)]
        full = [*networks, ip_network("127.0.0.1/32")]
        bench.reflector.set_light_clients(full)
        assert answered(bench, "127.0.0.1")
        assert not answered(bench, "127.0.0.2")
        with pytest.raises(ValueError, match=r"1025 prefixes .* 0\.\.1024"):
            bench.reflector.set_light_clients([*full, ip_network("127.0.0.2/32")])
        assert not answered(bench, "127.0.0.2")


def test_the_rate_limit_holds_after_the_list() -> None:
    with (bench := Bench("127.0.0.1", rate_limit=1, hash_seed=SEED)).stack:
        light(bench)
        client = bench.client()
        bench.reflector.set_light_clients([ip_network("::/0")])
        bench.send(client, *(long_request(number) for number in range(64)))
        assert bench.drops() == {"client_list": 64}  # who may not takes nothing from a bucket
        bench.reflector.set_light_clients([])
        bench.send(client, *(long_request(number) for number in range(64)))
        stats = bench.reflector.stats()
        assert 16 <= stats.reflected < 32
        assert bench.drops() == {"client_list": 64, "rate_limit": 64 - stats.reflected}


# ---- wildcard addresses


@pytest.fixture
def anywhere() -> Iterator[Bench]:
    """IPv4, bound to no address."""
    with (opened := Bench("0.0.0.0")).stack:
        opened.reflector.add_light(opened.local, opened.port)
        yield opened


def test_a_reply_leaves_from_the_address_that_was_asked(anywhere: Bench) -> None:
    client = anywhere.client("127.0.0.1")
    hosts = ["127.0.0.1", "127.0.0.5", "127.1.2.3", "127.0.0.5"]
    for number, host in enumerate(hosts):
        client.sendto(long_request(number), (host, anywhere.local.port))
    anywhere.turn(len(hosts))
    for number, host in enumerate(hosts):
        reply, source = client.recvfrom(2048)
        assert source == (host, anywhere.local.port)
        assert ReflectorPacket.parse(reply).sequence_number == number
    assert anywhere.reflector.stats().counters["truncated_control"] == 0


def test_address_and_dscp_go_together(anywhere: Bench) -> None:
    client = anywhere.client("127.0.0.1")
    hear_tos(client)
    for host, tos in [("127.0.0.5", 46 << 2), ("127.0.0.6", 0), ("127.0.0.5", 8 << 2)]:
        set_tos(client, tos)
        client.sendto(long_request(), (host, anywhere.local.port))
        anywhere.turn(1)
        _, messages, _, source = client.recvmsg(2048, 256)
        values = {kind: int.from_bytes(octets, "little") for _, kind, octets in messages}
        assert (source[0], values[socket.IP_TOS]) == (host, tos)


def test_who_asks_everybody_gets_no_answer(anywhere: Bench) -> None:
    """No reply can leave from a broadcast address, so nobody's request becomes many replies."""
    client = anywhere.client("127.0.0.1")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    client.sendto(long_request(), ("127.255.255.255", anywhere.local.port))
    anywhere.turn(1)
    require_silence(client)
    assert anywhere.drops() == {"send_refused": 1}


def test_a_wildcard_of_ipv6_is_of_ipv6_alone() -> None:
    with (bench := Bench("::1")).stack:
        for alone in (False, True):
            sock = bench.stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
            sock.bind(("::", 0))
            local = Endpoint.from_sockaddr(sock.getsockname())
            if not alone:
                with os_error(errno.EINVAL):
                    bench.reflector.add_light(local, sock)
                continue
            bench.reflector.add_light(local, sock)
            client = bench.client()
            client.sendto(long_request(7), ("::1", local.port))
            bench.turn(1)
            reply, source = client.recvfrom(2048)
            assert source[:2] == ("::1", local.port)
            assert ReflectorPacket.parse(reply).sequence_number == 7
        assert bench.reflector.stats().sockets == 1
