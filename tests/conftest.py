"""What several test modules share: who may run what, and a reflector to try things on."""

import os
from collections.abc import Iterator

import pytest
from reflector_bench import Bench


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``root`` are skipped without root, and say so (``-ra`` lists them)."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="NOT TESTED: needs root, for network namespaces")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with (opened := Bench(request.param)).stack:
        yield opened


@pytest.fixture
def bench6() -> Iterator[Bench]:
    with (opened := Bench("::1")).stack:
        yield opened
