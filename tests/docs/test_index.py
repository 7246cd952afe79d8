"""`docs/index.md` leads to every page, and `docs/decisions/index.md` to every record."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.test_links import ROOT

INDEX = ROOT / "docs/index.md"
DECISIONS = ROOT / "docs/decisions/index.md"
RECORDS = sorted(DECISIONS.parent.glob("[0-9]*.md"))
PAGES = sorted({*(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")} - {*RECORDS, INDEX})
LINK = re.compile(r"\]\(([^)#\s]+)\)")
ROW = re.compile(r"^\| \[(\d+)\]\((.+?)\) \| (.+) \| (\w+) \| ([\d-]+) \|$", re.MULTILINE)


def linked(page: Path) -> list[Path]:
    return [(page.parent / target).resolve() for target in LINK.findall(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_index_leads_to_every_page_once(page: Path) -> None:
    assert linked(INDEX).count(page) == 1


def test_the_readme_leads_to_the_index() -> None:
    assert INDEX in linked(ROOT / "README.md")


def test_the_index_of_decisions_has_a_row_for_each() -> None:
    rows = []
    for record in RECORDS:
        text = record.read_text()
        (number, title), (status, date) = (
            re.findall(r"\A# (\d+)\. (.+)$", text, re.MULTILINE)[0],
            re.findall(r"^Status: (\w+)\. Date: (\d{4}-\d{2}-\d{2})\.", text, re.MULTILINE)[0],
        )
        assert int(record.name[:4]) == int(number)
        rows.append((number, record.name, title, status, date))
    assert ROW.findall(DECISIONS.read_text()) == rows
