"""Fuzzes the protocol core for a while: ``python -m tests.fuzz.run [seconds] [seed]``.

A finding is written into the corpus, where the test suite replays it from then on; exit code 1.
"""

import hashlib
import sys
import time
import traceback
from random import Random, SystemRandom

from tests.fuzz import CORPUS, entries
from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS
from twamp.errors import RemoteProtocolError


def main(seconds: float, seed: int) -> int:
    random = Random(seed)
    corpus = entries()
    seeds = {what: [entry.octets for entry in corpus if entry.what == what] for what in TARGETS}
    everything = [entry.octets for entry in corpus]
    print(f"seed {seed}, {len(corpus)} files, {len(TARGETS)} targets, {seconds:g} s")
    runs = understood = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for what, target in TARGETS.items():
            octets = mutate(random, random.choice(seeds[what]), everything)
            runs += 1
            try:
                target(octets)
                understood += 1
            except RemoteProtocolError:
                pass
            except Exception:
                traceback.print_exc()
                digest = hashlib.sha256(octets).hexdigest()[:12]
                path = CORPUS / f"{what}_malformed_found_{digest}"
                path.write_bytes(octets)
                print(f"finding: {path}", file=sys.stderr)
                return 1
    print(f"{runs} inputs, {understood} understood, no finding")
    return 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    raise SystemExit(
        main(
            float(arguments[0]) if arguments else 60,
            int(arguments[1]) if len(arguments) > 1 else SystemRandom().getrandbits(32),
        )
    )
