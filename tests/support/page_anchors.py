"""The anchors that a page offers to links."""

from __future__ import annotations

import re
from pathlib import Path

_HEADING = re.compile(r"^#{1,6} (?P<title>.+)$", re.MULTILINE)
_FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def anchors(page: Path) -> set[str]:
    """The anchor of each heading, as GitHub spells it."""
    titles = [found["title"] for found in _HEADING.finditer(_FENCE.sub("", page.read_text()))]
    return {_anchor(_LINK.sub(r"\1", title)) for title in titles}


def _anchor(title: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", title.strip().lower())
    return kept.replace(" ", "-")
