"""The page about the commands lists every warning that a policy can get."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
EMITTED = re.compile(r"""findings\.(?:warning\(|add\(\s*(?:invalid|weights\.unknown_table),)\s*"([a-z-]+)\"""")


def test_every_warning_is_in_the_table_and_nothing_else_is() -> None:
    table = set(re.findall(r"^\| `([a-z]+(?:-[a-z]+)+)` \|", (ROOT / "docs" / "policy-commands.md").read_text(), re.M))
    sources = [path.read_text() for room in ("policy", "translators") for path in (ROOT / room).rglob("*.py")]
    assert table == {code for source in sources for code in EMITTED.findall(source)}
    assert len(table) >= 15
