"""Every local link in the documentation leads somewhere, and every `make` target they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.page_anchors import anchors

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "rego").glob("*.md"),
        *(ROOT / "bench").glob("*.md"),
        *(ROOT / "tests" / "conformance").glob("*.md"),
    ]
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
ANCHOR = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_are_headings(page: Path) -> None:
    for target, anchor in ANCHOR.findall(page.read_text()):
        linked = page.parent / target if target else page
        assert linked.suffix != ".md" or anchor in anchors(linked), f"{target}#{anchor}"


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)`", page.read_text())}
    assert named
    assert named <= targets
