"""What several test modules share: who may run what, a reflector to try things on, networks."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.netns.fixtures import lab as lab
from tests.netns.fixtures import pair as pair
from tests.support.reflector_bench import Bench

# How long an example takes says more about the machine than about us.
settings.register_profile("twamp", deadline=None)
settings.load_profile("twamp")

NOT_TESTED = "NOT TESTED"  # how the reason begins when it is the machine that lacks something


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``root`` are skipped without root, and say so (``-ra`` lists them)."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(
        reason=f"{NOT_TESTED}: needs root, for network namespaces or other users"
    )
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NOT_TESTED in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_sep(
            "!", f"tests that could NOT RUN on this machine, or not without root: {count}"
        )


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with (opened := Bench(request.param)).stack:
        yield opened


@pytest.fixture
def bench6() -> Iterator[Bench]:
    with (opened := Bench("::1")).stack:
        yield opened
