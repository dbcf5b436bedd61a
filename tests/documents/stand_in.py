"""Stands in for a program in the examples: ``python -m tests.documents.stand_in PROGRAM ARGUMENT…``.

Runs the real program with the addresses of the examples replaced by those of a responder on loopback, and
briefly: few packets, short intervals, and an end for what has none.  ``twampd`` reads its configuration.
The responder is in the environment: TWAMP_PORT, TWAMP_PORT_IPV6, TWAMP_SOCKET, TWAMP_KEYS.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

MODULES = {"twping": "twamp.ping", "twampd": "twamp.reflector", "twampctl": "twamp.ctl"}
BRIEFLY = ("-c", "3", "-i", "0.01f", "-L", "0.2")
WITHIN = 30.0  # a bound, not a measurement


def replaced(text: str) -> str:
    """The addresses and the interface of examples as they are here."""
    port, port_ipv6 = os.environ["TWAMP_PORT"], os.environ["TWAMP_PORT_IPV6"]
    for pattern, here in (
        (r"^\[2001:db8::1\]:8620$", f"[::1]:{port_ipv6}"),
        (r"^192\.0\.2\.1$", f"127.0.0.1:{port}"),
        (r"^twamp\.pfs$", os.environ["TWAMP_KEYS"]),
        (r"^eth0$", "lo"),
    ):
        text = re.sub(pattern, here, text)
    return text


def command(program: str, arguments: Sequence[str]) -> list[str]:
    here = list(arguments)
    if program == "twampd":
        here = [argument.removeprefix("/etc/twamp/") for argument in here]
    else:
        here = [replaced(argument) for argument in here]
    if program == "twping" and here[:1] != ["report"] and "--config" not in here:
        here += [*BRIEFLY, *(["--report-interval", "0.2"] if "--continuous" in here else [])]
        if "--bin" in here:
            here += ["--bin", "0.01"]
    elif program == "twampd" and not {"--check-config", "--print-config"} & set(here):
        here.append("--print-config")
    elif program == "twampctl":
        here = ["--socket", os.environ["TWAMP_SOCKET"], *here]
        if "hwtstamp" in here:
            here += ["--seconds", "1"]
    return [sys.executable, "-m", MODULES[program], *here]


def run_until_it_tells(words: Sequence[str]) -> int:
    """Runs what has no end until it has said something, then ends it."""
    output = Path(words[words.index("--output") + 1]) if "--output" in words else None
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if output is None:
        assert process.stdout.readline()
    until = time.monotonic() + WITHIN
    while output is not None and not (output.exists() and output.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT if "--watch" in words else signal.SIGTERM)
    process.communicate(timeout=WITHIN)
    return process.returncode


def is_endless(program: str, words: Sequence[str]) -> bool:
    """Whether it goes on until it is ended."""
    of_twping = program == "twping" and {"--continuous", "--config"} & set(words)
    return bool(of_twping) or "--watch" in words


def verdicts(words: Sequence[str]) -> set[tuple[str, int]]:
    """Exit codes that judge the network or the machine; the program has worked."""
    codes = {"--fail": ("twping", 3), "hwtstamp": ("twampctl", 1)}
    return {code for word, code in codes.items() if word in words}


def main() -> int:
    program, *arguments = sys.argv[1:]
    words = command(program, arguments)
    if is_endless(program, words):
        return run_until_it_tells(words)
    code = subprocess.run(words, timeout=WITHIN, check=False).returncode
    return 0 if (program, code) in verdicts(words) else code


if __name__ == "__main__":
    sys.exit(main())
