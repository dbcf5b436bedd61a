"""Golden files: reports as they are meant to be.

To write them anew: TWAMP_WRITE_GOLDEN=1 pytest tests/report, then read the diff.
"""

import os
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "golden"


def compare(name: str, text: str) -> None:
    """Asserts that ``text`` is that of the golden file ``name``."""
    path = GOLDEN / name
    if os.environ.get("TWAMP_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
