"""The page about the commands lists every warning that a policy can get, and each has its examples."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.conformance.test_diagnostics import FOLDER, findings_of, flawed

ROOT = Path(__file__).parents[3]
EMITTED = re.compile(r"""findings\.(?:warning\(|add\(\s*(?:invalid|weights\.unknown_table),)\s*"([a-z-]+)\"""")
ROW = re.compile(r"^\| `([a-z]+(?:-[a-z]+)+)` \| ([^|]+) \| ([^|]+) \|$", re.M)
TABLE = {
    code: (meaning, remedy) for code, meaning, remedy in ROW.findall((ROOT / "docs/policy/commands.md").read_text())
}


def test_every_warning_is_in_the_table_and_nothing_else_is() -> None:
    sources = [path.read_text() for room in ("policy", "translators") for path in (ROOT / room).rglob("*.py")]
    assert TABLE.keys() == {code for source in sources for code in EMITTED.findall(source)}
    assert len(TABLE) >= 24
    assert all(meaning.strip() and remedy.strip() for meaning, remedy in TABLE.values())


def test_every_warning_has_a_case_with_its_line_and_its_words() -> None:
    cases = yaml.safe_load((FOLDER / "warnings.yaml").read_text())["cases"]
    found = {one.code for entry in cases for one in findings_of(flawed(entry))[1]}
    # It is about a file beside the configuration.
    assert TABLE.keys() - found == {"unread-guardrail"}
