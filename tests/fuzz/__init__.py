"""The corpus: files named ``{what}_{valid,edge,malformed}_{why}``, raw octets.

* ``valid``: understood, and (a single message) encodes to the same octets;
* ``edge``: understood, but it is the last value that is, or says what must be ignored;
* ``malformed``: none of the kind.

``what`` is a key of :data:`targets.TARGETS`.
"""

import re
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(__file__).parent / "corpus"


class Entry(NamedTuple):
    what: str
    verdict: str
    why: str
    octets: bytes


def entries() -> list[Entry]:
    found = []
    for path in sorted(CORPUS.iterdir()):
        name = re.fullmatch("([a-z_]+?)_(valid|edge|malformed)_([a-z0-9_]+)", path.name)
        assert name, f"{path.name} is not named {{what}}_{{valid,edge,malformed}}_{{why}}"
        found.append(Entry(name[1], name[2], name[3], path.read_bytes()))
    return found
