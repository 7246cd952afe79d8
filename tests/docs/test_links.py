"""Every local link in the papers leads somewhere, and every `make` target they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "rego").glob("*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_links_lead_somewhere(paper: Path) -> None:
    for target in LINK.findall(paper.read_text()):
        assert (paper.parent / target).exists(), target


def test_every_make_target_that_a_paper_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for paper in PAPERS for name in re.findall(r"`make ([a-z]+)`", paper.read_text())}
    assert named
    assert named <= targets
