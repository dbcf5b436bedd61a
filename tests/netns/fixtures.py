"""Labs for the tests here; where there can be none, they say so.

No ``conftest.py``: others import ``conftest`` and mean the one above, which brings these in.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.namespaces import Lab
from tests.netns.programs import CLIENT, SERVER, Pair


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as opened:
        try:
            if shutil.which("ip") is None:
                raise RuntimeError("there is no `ip`; install iproute2")
            opened.namespace("probe")
        except RuntimeError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"NOT TESTED: no network namespaces here: {error}")
        yield opened


@pytest.fixture
def pair(lab: Lab) -> Pair:
    client, server = lab.namespace("client"), lab.namespace("server")
    lab.link(
        (client, "eth-c", (f"{CLIENT[4]}/24", f"{CLIENT[6]}/64")),
        (server, "eth-s", (f"{SERVER[4]}/24", f"{SERVER[6]}/64")),
    )
    return Pair(client, server)
