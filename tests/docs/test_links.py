"""Every local link in the papers leads somewhere, and every `make` target they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.page_anchors import anchors

ROOT = Path(__file__).parent.parent.parent
PAPERS = sorted(
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


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_links_lead_somewhere(paper: Path) -> None:
    for target in LINK.findall(paper.read_text()):
        assert (paper.parent / target).exists(), target


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_anchors_are_headings(paper: Path) -> None:
    for target, anchor in ANCHOR.findall(paper.read_text()):
        page = paper.parent / target if target else paper
        assert page.suffix != ".md" or anchor in anchors(page), f"{target}#{anchor}"


def test_every_make_target_that_a_paper_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for paper in PAPERS for name in re.findall(r"`make ([a-z]+)`", paper.read_text())}
    assert named
    assert named <= targets
