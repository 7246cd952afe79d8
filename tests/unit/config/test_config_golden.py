"""Mistakes in configurations, as people see them. `OSTIARY_GOLDEN=rewrite` writes the expected files anew.

The environment of a case stands in its first line: `# environment: NAME=value NAME=value`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from policy.source.diagnostics import Findings
from policy.source.document import read_document
from policy.source.rendering import render
from server.config import read_config

FOLDER = Path(__file__).parents[2] / "golden" / "config"
CASES = sorted(FOLDER.glob("*.yaml"))
ENVIRONMENT = "# environment:"


def rendered(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    first = source.splitlines()[0]
    words = first.removeprefix(ENVIRONMENT).split() if first.startswith(ENVIRONMENT) else []
    findings = Findings()
    read_config(read_document(path, path.name), dict(word.split("=", 1) for word in words), findings)
    return render(findings.diagnostics, {path.name: source}, color=False) + "\n"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_mistake_is_explained_as_expected(path: Path) -> None:
    found = rendered(path)
    expected = path.with_suffix(".txt")
    if os.environ.get("OSTIARY_GOLDEN") == "rewrite":
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


def test_every_expectation_has_its_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in CASES}


def test_every_case_finds_something() -> None:
    assert [path.stem for path in CASES if not rendered(path).strip()] == []
