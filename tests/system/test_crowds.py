"""Floods of clients at a real twampd: honest clients are served all the same."""

import asyncio
import contextlib
import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOT_TESTED
from tests.support.by_hand import Probe, RawClient, run
from tests.support.twampd import WITHIN, Twampd
from twamp.control.client import ControlClient, Credentials
from twamp.protocol.control_messages import ServerGreeting, ServerStart, SetUpResponse
from twamp.protocol.registries import Accept, Modes
from twamp.reflector.logs import LINES_A_SECOND, LINES_AT_ONCE, Limiter

LOOPBACK = ("--listen-address", "127.0.0.1")
SILENT, TRICKLING = 3000, 100
MOST_MEMORY = 20  # kB for a connection that has said nothing yet
# AddressSanitizer pads what is allocated and keeps what is freed: that memory is not twampd's.
PADDED = "libasan" in os.environ.get("LD_PRELOAD", "")
FEW_DESCRIPTORS = 64
FLOOD = 1000


def limited(descriptors: int) -> tuple[str, ...]:
    """How to start a program that has so many."""
    return ("prlimit", f"--nofile={descriptors}:{descriptors}")


# ---- who comes -----------------------------------------------------------------------------------


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Enough for both ends of a large crowd."""
    needed = 2 * (SILENT + TRICKLING) + 1000  # twampd gives half of what there is to handshakes
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        pytest.skip(f"{NOT_TESTED}: needs {needed} descriptors; the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def connect(sockets: contextlib.ExitStack, twampd: Twampd, host: str) -> socket.socket:
    """A TCP connection from ``host`` on which nothing is said."""
    sock = sockets.enter_context(socket.socket())
    sock.setblocking(False)
    sock.bind((host, 0))
    async with asyncio.timeout(WITHIN):
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", twampd.port))
    return sock


@contextlib.asynccontextmanager
async def greeted(twampd: Twampd, host: str = "127.0.0.1") -> AsyncIterator[RawClient]:
    """A client from ``host`` that owes the Set-Up-Response."""
    client = RawClient(
        *await asyncio.open_connection("127.0.0.1", twampd.port, local_addr=(host, 0))
    )
    try:
        assert (await client.read(ServerGreeting)).modes & Modes.UNAUTHENTICATED
        yield client
    finally:
        client.writer.close()


async def set_up(client: RawClient) -> None:
    client.send(SetUpResponse(Modes.UNAUTHENTICATED))
    assert (await client.read(ServerStart)).accept is Accept.OK


async def start_session(client: RawClient, probe: Probe) -> int:
    """The port of a session that runs, and has reflected a packet."""
    answer = await client.ask(probe.request())
    assert answer.accept is Accept.OK
    await client.start()
    await probe.measure(answer.port)
    return answer.port


async def trickle(sockets: list[socket.socket]) -> None:
    """An octet of a Set-Up-Response a second on each, as long as that lasts."""
    for octet in bytes(SetUpResponse(Modes.UNAUTHENTICATED)):
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.send(bytes([octet]))
        await asyncio.sleep(1)


def is_open(sock: socket.socket) -> bool:
    """Whether the responder still has the other end, after all that it has said."""
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    return False


# ---- what twampd says ----------------------------------------------------------------------------


async def counters(twampd: Twampd) -> dict[str, Any]:
    answer: dict[str, Any] = (await twampd.show("counters"))["counters"]
    return answer


async def handshaking(twampd: Twampd) -> int:
    return int((await twampd.show())["status"]["handshaking"])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(2 * WITHIN):
        while not await condition():
            await asyncio.sleep(0.05)


def resident(twampd: Twampd) -> int:
    """Memory of the process in kB."""
    status = Path(f"/proc/{twampd.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def free_descriptors(twampd: Twampd) -> int:
    return FEW_DESCRIPTORS - len(os.listdir(f"/proc/{twampd.process.pid}/fd"))


def dumped_counters(twampd: Twampd) -> dict[str, Any]:
    """The counters by way of SIGUSR1 and the log, which needs no descriptor."""
    seen = twampd.log.count("counters: {")
    twampd.signal(signal.SIGUSR1)
    twampd.wait_for("counters: {", seen + 1)
    line = re.findall(r"counters: (\{.*\})\n", twampd.log)[-1]
    found: dict[str, Any] = json.loads(line)
    return found


# ---- silent ones ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("many_descriptors")
def test_thousands_that_say_nothing_cost_little_and_keep_nobody_waiting(tmp_path: Path) -> None:
    crowd = SILENT + TRICKLING

    async def test() -> None:
        with (
            Twampd.running(tmp_path, *LOOPBACK, "--handshake-timeout", "10") as twampd,
            contextlib.ExitStack() as sockets,
            Probe() as probe,
        ):
            await twampd.show()
            before = resident(twampd)
            silent = [
                await connect(sockets, twampd, f"127.0.1.{1 + n % 50}") for n in range(SILENT)
            ]
            slow = [
                await connect(sockets, twampd, f"127.0.2.{1 + n % 10}") for n in range(TRICKLING)
            ]
            trickling = asyncio.create_task(trickle(slow))

            async def all_are_there() -> bool:
                return await handshaking(twampd) == crowd

            await until(all_are_there)
            async with greeted(twampd) as client:
                await set_up(client)
                port = await start_session(client, probe)
                assert await handshaking(twampd) == crowd  # they were there all the while
                grown = resident(twampd) - before
                assert PADDED or grown < MOST_MEMORY * crowd, f"{grown / crowd:.1f} kB a connection"

                async def all_are_gone() -> bool:
                    return await handshaking(twampd) == 0

                await until(all_are_gone)
                trickling.cancel()
                assert (await counters(twampd))["connections"]["handshake_timeout"] == crowd
                assert not any(map(is_open, [*silent, *slow]))
                await probe.measure(port)

    run(test)


# ---- descriptors ---------------------------------------------------------------------------------


def test_without_descriptors_sessions_run_on_and_clients_come_back_later(tmp_path: Path) -> None:
    async def test() -> None:
        with (
            Twampd.running(
                tmp_path,
                *LOOPBACK,
                *("--maximum-connections", "64"),
                prefix=limited(FEW_DESCRIPTORS),
            ) as twampd,
            Probe() as probe,
            contextlib.ExitStack() as sockets,
        ):
            async with contextlib.AsyncExitStack() as clients:
                client = await clients.enter_async_context(greeted(twampd))
                await set_up(client)
                port = await start_session(client, probe)
                for _ in range(free_descriptors(twampd)):
                    await set_up(await clients.enter_async_context(greeted(twampd)))
                for _ in range(20):
                    await connect(sockets, twampd, "127.0.0.2")
                twampd.wait_for("cannot accept connections")
                while dumped_counters(twampd)["events"]["accept_failed"] < 10:
                    await probe.measure(port)
                # Every try would be a line for ever.
                assert twampd.log.count("cannot accept connections") == 1
                assert "raise LimitNOFILE" in twampd.log
                await probe.measure(port)
            sockets.close()
            async with greeted(twampd) as client:
                await set_up(client)
                await start_session(client, probe)
                assert (await counters(twampd))["events"]["accept_failed"] >= 10

    run(test)


def test_sessions_leave_descriptors_to_other_clients_and_to_twampctl(tmp_path: Path) -> None:
    async def test() -> None:
        room = ("--maximum-sessions-per-connection", "100")
        with (
            Twampd.running(tmp_path, *LOOPBACK, *room, prefix=limited(FEW_DESCRIPTORS)) as twampd,
            contextlib.ExitStack() as probes,
        ):
            async with greeted(twampd) as greedy:
                await set_up(greedy)
                accepted = 0
                for _ in range(FEW_DESCRIPTORS):
                    answer = await greedy.ask(probes.enter_context(Probe()).request())
                    accepted += answer.accept is Accept.OK
                rejected = (await counters(twampd))["sessions"]["rejected"]
                assert rejected["no_resources"] == FEW_DESCRIPTORS - accepted > 0
                assert accepted > 0
                async with greeted(twampd, "127.0.0.2") as other:
                    await set_up(other)
                    assert (await twampd.show())["status"]["handshaking"] == 0

    run(test)


@pytest.mark.parametrize(
    ("descriptors", "set_up_before"),
    [(2 * FEW_DESCRIPTORS, 1), (FEW_DESCRIPTORS, 15)],
    ids=["until the room for handshakes is full", "until descriptors are few"],
)
def test_a_flood_loses_its_own_oldest_and_others_get_in(
    tmp_path: Path, descriptors: int, set_up_before: int
) -> None:
    async def test() -> None:
        with (
            Twampd.running(
                tmp_path,
                *LOOPBACK,
                *("--handshake-timeout", "600", "--maximum-connections", "64"),
                prefix=limited(descriptors),
            ) as twampd,
            contextlib.ExitStack() as sockets,
            Probe() as probe,
        ):
            async with contextlib.AsyncExitStack() as clients:
                for _ in range(set_up_before):
                    client = await clients.enter_async_context(greeted(twampd))
                    await set_up(client)
                port = await start_session(client, probe)
                early = await clients.enter_async_context(greeted(twampd, "127.0.0.3"))
                flood = [await connect(sockets, twampd, "127.0.0.2") for _ in range(FLOOD)]

                async def all_came() -> bool:
                    # The control socket answers: a flood does not take all descriptors.
                    answer = await twampd.show("counters")
                    rejected = answer["counters"]["connections"]["rejected"]["handshakes"]
                    return bool(answer["status"]["handshaking"] + rejected == FLOOD + 1)

                await until(all_came)
                left = await handshaking(twampd) - 1
                assert 0 < left < descriptors / 2
                await until_closed(flood[:-left])
                assert all(map(is_open, flood[-left:]))  # the youngest
                await set_up(early)  # older than all of them, but not one of many
                late = await clients.enter_async_context(greeted(twampd, "127.0.0.4"))
                await set_up(late)
                await probe.measure(port)
                assert (await counters(twampd))["events"]["accept_failed"] == 0
                assert twampd.log.count("turned away: handshakes") < FLOOD / 2
                twampd.wait_for("lines left out, the last: [127.0.0.2]")

    run(test)


async def until_closed(sockets: list[socket.socket]) -> None:
    async def all_are_closed() -> bool:
        return not any(map(is_open, sockets))

    await until(all_are_closed)


# ---- guesses -------------------------------------------------------------------------------------


def test_guesses_from_one_address_keep_no_other_waiting(tmp_path: Path) -> None:
    guesses = 200
    keys = tmp_path / "keys"
    keys.write_text(f"alice {b'open sesame'.hex()}\n")
    keys.chmod(0o600)
    options = ("--key-file", str(keys), "--pbkdf2-count", str(1 << 18))
    wrong = SetUpResponse(Modes.AUTHENTICATED, key_id=b"alice".ljust(80, b"\0"))

    async def test() -> None:
        with (
            Twampd.running(tmp_path, *LOOPBACK, *options) as twampd,
            contextlib.ExitStack() as sockets,
        ):
            for _ in range(guesses):
                sock = await connect(sockets, twampd, "127.0.0.2")
                sock.send(bytes(wrong))
            alice = Credentials("alice", b"open sesame")
            client = await ControlClient.connect(
                "127.0.0.1", twampd.port, credentials=alice, maximum_count=1 << 18
            )
            async with client:
                events = (await counters(twampd))["events"]
                # Not after all of them: that would take its time, and let anybody make others wait.
                assert events["authentication_failed"] < guesses / 2

                async def is_one_refused() -> bool:
                    now = await counters(twampd)
                    return int(now["events"]["authentication_failed"]) > 0

                await until(is_one_refused)

    run(test)


# ---- somebody is there already -------------------------------------------------------------------


def refusal(*arguments: str) -> str:
    """The one line that a twampd says that cannot begin."""
    ended = subprocess.run(
        [sys.executable, "-m", "twamp.reflector", *LOOPBACK, "--log-format", "text", *arguments],
        capture_output=True,
        text=True,
        timeout=WITHIN,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("twampd: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    ("option", "kind", "arguments"),
    [
        ("port", socket.SOCK_STREAM, ("--port", "{port}")),
        ("light-port", socket.SOCK_DGRAM, ("--port", "0", "--light", "--light-port", "{port}")),
        (
            "metrics-address",
            socket.SOCK_STREAM,
            ("--port", "0", "--metrics-address", "127.0.0.1:{port}"),
        ),
    ],
)
def test_a_port_in_use_is_named_with_the_remedy(
    option: str, kind: socket.SocketKind, arguments: tuple[str, ...]
) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        said = refusal("--control-socket", "none", *(part.format(port=port) for part in arguments))
    assert said.startswith(f"twampd: {option}: cannot listen on 127.0.0.1")
    assert str(port) in said
    assert "in use" in said
    assert f"give another --{option}" in said


def test_two_responders_do_not_share_a_control_socket(tmp_path: Path) -> None:
    with Twampd.running(tmp_path, *LOOPBACK) as twampd:
        path = str(twampd.control_socket)
        said = refusal("--port", "0", "--control-socket", path)
        assert said == (
            f"twampd: control-socket: cannot listen on {path}: another responder answers there; "
            "give another --control-socket, or none\n"
        )
        assert asyncio.run(twampd.show())["status"]["pid"] == twampd.process.pid


def test_a_responder_that_was_killed_leaves_no_socket_in_the_way(tmp_path: Path) -> None:
    with Twampd.running(tmp_path, *LOOPBACK) as twampd:
        twampd.signal(signal.SIGKILL)
        twampd.ends()
        assert twampd.control_socket.is_socket()
    with Twampd.running(tmp_path, *LOOPBACK) as twampd:
        assert asyncio.run(twampd.show())["status"]["pid"] == twampd.process.pid


def test_a_file_in_place_of_the_control_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    said = refusal("--port", "0", "--control-socket", str(path))
    assert (
        f"control-socket: cannot listen on {path}: there is another file, which is no socket"
        in said
    )
    assert "give another --control-socket" in said
    assert path.read_text() == "data"


# ---- lines ---------------------------------------------------------------------------------------


@pytest.fixture
def limiter() -> Iterator[Limiter]:
    limiter = Limiter("twamp.crowd")
    yield limiter
    limiter.close()


def record(text: str, at: float, level: int = logging.INFO) -> logging.LogRecord:
    made = logging.LogRecord("twamp.crowd", level, "", 0, "%s " + text, ("x",), None)
    made.created = at
    return made


def test_a_flood_of_lines_is_cut_and_each_second_has_some_room(limiter: Limiter) -> None:
    assert [limiter.filter(record("came", 0)) for _ in range(200)].count(True) == LINES_AT_ONCE
    assert [limiter.filter(record("came", 1)) for _ in range(200)].count(True) == LINES_A_SECOND
    assert not limiter.filter(record("came", 0.5))  # the system clock was set back
    assert [limiter.filter(record("came", 9e9)) for _ in range(200)].count(True) == LINES_AT_ONCE


def test_a_flood_leaves_other_kinds_of_line_alone(limiter: Limiter) -> None:
    for _ in range(2 * LINES_AT_ONCE):
        limiter.filter(record("came", 0))
        assert limiter.filter(record("said", 0, logging.DEBUG))
    assert limiter.filter(record("went", 0))


def test_what_was_left_out_is_said_once(limiter: Limiter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for number in range(LINES_AT_ONCE + 7):
            logging.getLogger("twamp.crowd").warning("%d came", number)
        assert len(caplog.records) <= LINES_AT_ONCE + 1
        left_out = LINES_AT_ONCE + 7 - len(caplog.records)
        caplog.clear()
        limiter.report()
        limiter.report()
    [said] = caplog.records
    assert said.getMessage() == f"{left_out} lines left out, the last: {LINES_AT_ONCE + 6} came"
    assert said.levelno == logging.WARNING


def test_a_limiter_that_is_closed_lets_everything_through(
    limiter: Limiter, caplog: pytest.LogCaptureFixture
) -> None:
    limiter.close()
    with caplog.at_level(logging.INFO):
        for _ in range(2 * LINES_AT_ONCE):
            logging.getLogger("twamp.crowd").info("came")
    assert len(caplog.records) == 2 * LINES_AT_ONCE
