"""What several test modules share: who may run what, and a reflector to try things on."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from reflector_bench import Bench

# How long an example takes says more about the machine than about us.
settings.register_profile("twamp", deadline=None)
settings.load_profile("twamp")

WITHOUT_ROOT = "NOT TESTED: needs root, for network namespaces"
_skipped = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``root`` are skipped without root, and say so (``-ra`` lists them)."""
    if os.geteuid() == 0:
        return
    without_root = [item for item in items if item.get_closest_marker("root")]
    for item in without_root:
        item.add_marker(pytest.mark.skip(reason=WITHOUT_ROOT))
    config.stash[_skipped] = len(without_root)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    count = config.stash.get(_skipped, 0)
    if count:
        terminalreporter.write_sep("!", f"tests NOT RUN, for they need root: {count}", yellow=True)


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with (opened := Bench(request.param)).stack:
        yield opened


@pytest.fixture
def bench6() -> Iterator[Bench]:
    with (opened := Bench("::1")).stack:
        yield opened
