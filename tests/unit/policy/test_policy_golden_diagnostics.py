"""Every diagnostic, as people see it. `OSTIARY_GOLDEN=rewrite` writes the expected files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Diagnostic, Findings, InvalidDocument
from policy.source.document import read_document
from policy.source.rendering import render

FOLDER = Path(__file__).parents[2] / "golden" / "diagnostics"
CASES = sorted(FOLDER.glob("*.yaml"))


def diagnostics_of(path: Path) -> list[Diagnostic]:
    findings = Findings()
    try:
        read_policies(read_document(path, path.name), {}, findings)
    except InvalidDocument as invalid:
        return list(invalid.diagnostics)
    return findings.diagnostics


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_mistake_is_explained_as_expected(path: Path) -> None:
    source = path.read_bytes().decode("utf-8", errors="replace")
    rendered = render(diagnostics_of(path), {path.name: source}, color=False) + "\n"
    expected = path.with_suffix(".txt")
    if os.environ.get("OSTIARY_GOLDEN") == "rewrite":
        expected.write_text(rendered, encoding="utf-8")
    assert rendered == expected.read_text(encoding="utf-8")


def test_every_expectation_has_its_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in CASES}


def test_every_case_finds_something() -> None:
    assert [path.stem for path in CASES if not diagnostics_of(path)] == []
