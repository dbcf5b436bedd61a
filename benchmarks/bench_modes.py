"""What does each security mode cost the Session-Reflector, beside no protection at all?

``twampd`` in every mode, with packets of 112 octets; and the floor, the same calls of libcrypto without
sockets.  The claim: a secured packet costs no more than 1.25 times (an unauthenticated one + the floor).
"""

import asyncio
import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.load import Flow, Load
from benchmarks.programs import bound, cores, pinned, responder
from benchmarks.rounds import Side, interleave, publish
from twamp.control.client import AcceptedSession, ControlClient, Credentials, SessionRequest
from twamp.protocol.crypto import PacketCipher, Protection
from twamp.protocol.packets import SecuredSenderPacket
from twamp.protocol.registries import Modes

LENGTH = 112
ALICE = Credentials("alice", b"a passphrase of some length")
MODES = {
    "authenticated": (Modes.AUTHENTICATED, Protection.AUTHENTICATED),
    "encrypted": (Modes.ENCRYPTED, Protection.ENCRYPTED),
}


@contextlib.contextmanager
def reflecting(load: Load, mode: str, key_file: Path) -> Iterator[Side]:
    modes, protection = MODES.get(mode, (Modes.UNAUTHENTICATED, None))
    credentials = None if protection is None else ALICE
    with (
        responder(cores()[0], "--key-file", str(key_file)) as twampd,
        asyncio.Runner() as loop,
        bound() as sock,
    ):
        client = loop.run(
            ControlClient.connect("127.0.0.1", twampd.port, credentials=credentials, modes=modes)
        )
        session = loop.run(_start(client, sock.getsockname()[1]))
        if protection is not None and session.keys is not None:
            packet = bytes(SecuredSenderPacket(0, 0, 1, padding=bytes(LENGTH - 48)))
            cipher = PacketCipher(protection, session.keys)
            load = replace(load, options=(f"sealed={cipher.seal_sender_packet(packet).hex()}",))
        try:
            yield load.side([Flow(sock.fileno(), "127.0.0.1", session.reflector.port)], twampd.pid)
        finally:
            loop.run(client.aclose())


async def _start(client: ControlClient, sender_port: int) -> AcceptedSession:
    session = await client.request_session(
        SessionRequest(sender_port=sender_port, receiver_port=0, padding_length=LENGTH - 48)
    )
    await client.start_sessions()
    return session


def floor(program: Path, mode: str, count: int) -> Side:
    def run() -> Mapping[str, float]:
        arguments = [str(program), str(int(MODES[mode][0])), str(count)]
        with pinned(cores()[0]):
            output = subprocess.check_output(arguments, text=True)
        return {"cpu_ns_per_packet": float(output)}

    return run


def bench_security_modes(benchmark: Any, compiled: Callable[..., Path], tmp_path: Path) -> None:
    key_file = tmp_path / "keys.pfs"
    key_file.touch(0o600)
    key_file.write_text(f"{ALICE.user} {ALICE.passphrase.hex()}\n")
    load = Load(compiled("load"), LENGTH, 2_000 if benchmark.disabled else 150_000)
    cost = compiled("cipher_cost", "packet/crypto.c")
    count = 1_000 if benchmark.disabled else 500_000
    with contextlib.ExitStack() as stack:
        sides = {
            mode: stack.enter_context(reflecting(load, mode, key_file))
            for mode in ("unauthenticated", *MODES)
        }
        sides |= {f"floor, {mode}": floor(cost, mode, count) for mode in MODES}
        rounds = interleave(benchmark, sides)
    name = "cpu_ns_per_packet"
    for mode in MODES:
        plain, least = rounds.figure("unauthenticated", name), rounds.figure(f"floor, {mode}", name)
        for one, other in zip(plain.values, least.values, strict=True):
            rounds.add(f"unauthenticated + floor, {mode}", {name: one + other})
    publish(
        benchmark,
        f"security modes, {LENGTH} octets:",
        rounds,
        *((name, mode, f"unauthenticated + floor, {mode}") for mode in MODES),
        *(("packets_per_s", mode, "unauthenticated") for mode in MODES),
        headlines=len(MODES),
    )
