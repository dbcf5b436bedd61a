"""A load in a network of its own: a program that keeps a session, and puts its load to it when told to.

``python -m benchmarks.distant_load SOURCE HOST PORT PROGRAM LENGTH COUNT [OPTION…]`` asks the ``twampd`` at
HOST and PORT for a session, says so, and then answers each line of its input with what load.c prints.
"""

import json
import sys
from pathlib import Path

from benchmarks.load import Load, reflected
from benchmarks.programs import Responder, cores, pinned


def main(source: str, host: str, port: int, load: Load) -> None:
    with reflected(Responder(0, port, host, ""), load.length, source=source) as flows:
        print("ready", flush=True)
        with pinned(cores()[1]):
            for _ in sys.stdin:
                print(json.dumps(load.ask(flows)), flush=True)


if __name__ == "__main__":
    source, host, port, program, length, count, *options = sys.argv[1:]
    load = Load(Path(program), int(length), int(count), options=tuple(options))
    main(source, host, int(port), load)
