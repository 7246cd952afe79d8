"""The Rego that the spec's examples compile to, as files that a person reviews; `make golden` rewrites them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from tests.support.conformance_files import CONFIG_NAME, ConformanceFile, conformance_files
from translators.compiler import Bundle, compile_policies
from translators.rego_folder import REGO

FOLDER = Path(__file__).parent / "rego"
GENERATED = ("ostiary/access/", "ostiary/routes/", "ostiary/settings/")


def compiled(file: ConformanceFile) -> Bundle:
    findings = Findings()
    policies = read_policies(parse_document(file.config, CONFIG_NAME), file.environ, findings)
    findings.raise_errors()
    assert policies is not None
    return compile_policies(policies)


def golden_text(file: ConformanceFile) -> str:
    """Every generated file of the bundle below its name; the revision is left out, since it changes with the law."""
    bundle = compiled(file)
    parts = [(name, content.decode()) for name, content in bundle.files.items() if name.startswith(GENERATED)]
    text = "\n".join(f"#### {name}\n{content}" for name, content in parts)
    return text.replace(bundle.revision, "REVISION")


@pytest.mark.parametrize("file", conformance_files(), ids=lambda file: file.id)
def test_a_policy_compiles_to_its_golden_rego(file: ConformanceFile) -> None:
    golden = FOLDER / f"{file.id}.txt"
    text = golden_text(file)
    if os.environ.get("OSTIARY_GOLDEN") == "rewrite":
        golden.write_text(text)
    assert golden.read_text() == text


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {file.id for file in conformance_files()}


def test_generated_rego_is_formatted_and_strict(tmp_path: Path, opa_binary: Path) -> None:
    for file in conformance_files():
        for name, content in compiled(file).files.items():
            target = tmp_path / file.id / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        folder = tmp_path / file.id / "ostiary"
        subprocess.run([opa_binary, "check", "--strict", "--schema", REGO / "schemas", folder], check=True)
    formatted = subprocess.run([opa_binary, "fmt", "--list", tmp_path], check=True, capture_output=True, text=True)
    assert formatted.stdout == ""
