"""The generated parts of the documents are those of the code."""

from pathlib import Path

import pytest

from tests.documents.blocks import PACKAGES, PAGES, ROOT, blocks, refreshed

NAMES = [(page, name) for page, makers in PAGES.items() for name in makers]


@pytest.mark.parametrize(("page", "name"), NAMES, ids=lambda each: getattr(each, "name", each))
def test_generated_parts_are_fresh(page: Path, name: str) -> None:
    found = dict(blocks(page, page.read_text()))
    assert found[name] == PAGES[page][name]().strip(), "run: python -m tests.documents"


def test_a_stale_part_is_replaced_and_the_rest_stays() -> None:
    page = ROOT / "twamp" / "README.md"
    stale = "before\n<!-- generated: states -->\nold\n<!-- end -->\nafter\n"
    fresh = refreshed(page, stale)
    assert fresh.startswith("before\n<!-- generated: states -->\n```mermaid\n")
    assert fresh.endswith("```\n<!-- end -->\nafter\n")
    assert refreshed(page, fresh) == fresh


def test_the_map_has_every_package() -> None:
    there = {each.parent.name for each in (ROOT / "twamp").glob("*/__init__.py")}
    assert set(PACKAGES) == there
