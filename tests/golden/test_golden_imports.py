"""Whole imports, as people see them: report and file. `OSTIARY_GOLDEN=rewrite` writes the expected files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from policy.source.document import parse_document
from server.config.llama_stack import imported, written
from tests.support.imports import FOLDER, told

EXPECTED = Path(__file__).parent / "imports"


@pytest.mark.parametrize("name", ["starter", "ci-tests", "nvidia"])
def test_an_import_is_as_expected(name: str) -> None:
    found = imported(parse_document((FOLDER / f"{name}.yaml").read_text(), "stack.yaml"))
    results = {".txt": "".join(f"{line}\n" for line in told(found)), ".yaml": written(found.document, [])}
    for suffix, text in results.items():
        expected = EXPECTED / f"{name}{suffix}"
        if os.environ.get("OSTIARY_GOLDEN") == "rewrite":
            expected.write_text(text)
        assert text == expected.read_text()
