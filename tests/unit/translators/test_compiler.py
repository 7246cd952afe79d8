"""Bundles: deterministic, complete, loadable by the real OPA."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings, InvalidDocument
from policy.source.document import parse_document
from tests.support.model_patterns import MODELS_ALONE
from translators.codegen.modules import RULES_PER_FILE
from translators.compiler import Bundle, compile_policies

CONFIG = """
server:
  auth:
    provider_config: {{type: oauth2_token}}
    access_policy:
      - permit: {{actions: [read], resource: "{resource}"}}
        description: "{description}"
"""


def compiled(resource: str = "model::*", description: str = "models", name: str = "config.yaml") -> Bundle:
    findings = Findings()
    text = CONFIG.format(resource=resource, description=description)
    policies = read_policies(parse_document(text, name), {}, findings)
    findings.raise_errors()
    assert policies is not None
    return compile_policies(policies)


def test_equal_policies_make_equal_bundles_wherever_the_file_lies() -> None:
    here, there = compiled(name="config.yaml"), compiled(name="somewhere/else/config.yaml")
    assert here.files == there.files
    assert here.archive == there.archive
    assert here.revision == there.revision


@pytest.mark.parametrize("change", [{"resource": "shield::*"}, {"description": "other words"}, {"name": "b.yaml"}])
def test_every_difference_makes_another_revision(change: dict[str, str]) -> None:
    assert compiled(**change).revision != compiled().revision


@pytest.mark.parametrize("pattern", MODELS_ALONE)
def test_a_list_of_files_gets_no_clause_of_a_pattern_about_models(pattern: str) -> None:
    rules = compiled(f"regex:{pattern}".replace("\\", "\\\\")).files["ostiary/access/rules_0000.rego"].decode()
    asked = re.findall(r"permit_where contains \[0, .*?(?=\n\n|\Z)", rules, re.DOTALL)
    assert asked
    assert all('input.type == "model"' in rule for rule in asked)


def test_the_archive_holds_exactly_the_files() -> None:
    bundle = compiled()
    with tarfile.open(fileobj=io.BytesIO(bundle.archive)) as tar:
        files = {entry.name.removeprefix("/"): tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    assert files == bundle.files
    assert json.loads(files[".manifest"]) == {"revision": bundle.revision, "roots": ["ostiary"], "rego_version": 1}
    assert not any("_test" in name for name in files)


def test_opa_loads_the_archive_and_names_each_rule_with_its_place(tmp_path: Path, opa_binary: Path) -> None:
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(compiled(description="Ünïcode 😀 \\\\ and ': {colons}").archive)
    done = subprocess.run([opa_binary, "inspect", "-a", "-f", "json", archive], check=True, capture_output=True)
    rules = [
        entry["annotations"]
        for entry in json.loads(done.stdout)["annotations"]
        if "source" in entry["annotations"].get("custom", {})
    ]
    assert rules == [
        {
            "scope": "rule",
            "title": "Ünïcode 😀 \\ and ': {colons}",
            "custom": {"rule": "access_policy[0]", "source": "config.yaml:6"},
        }
    ]


def test_a_pattern_without_an_exact_translation_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidDocument) as refused:
        compiled(resource="regex:model::(a)\\\\1")
    (found,) = refused.value.diagnostics
    assert (found.code, found.span.line) == ("untranslatable-pattern", 6)
    assert "back-reference" in found.message


def many(count: int) -> Bundle:
    rules = "".join(
        f"      - permit: {{actions: [read], resource: 'model::m{number}'}}\n        description: rule {number}\n"
        for number in range(count)
    )
    text = f"server:\n  auth:\n    provider_config: {{type: oauth2_token}}\n    access_policy:\n{rules}"
    policies = read_policies(parse_document(text, "config.yaml"), {}, Findings())
    assert policies is not None
    return compile_policies(policies)


@pytest.mark.parametrize("count", [RULES_PER_FILE, RULES_PER_FILE + 1, 2 * RULES_PER_FILE + 1])
def test_no_rule_is_lost_between_files(count: int, tmp_path: Path, opa_binary: Path) -> None:
    bundle = many(count)
    files = [name for name in bundle.files if name.startswith("ostiary/access/")]
    assert len(files) == -(-count // RULES_PER_FILE)
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(bundle.archive)
    names = [f"m{number}" for number in range(count)]
    question = {"principal": None, "action": "read", "resource": {"type": "model", "names": names}}
    done = subprocess.run(
        [opa_binary, "eval", "--bundle", archive, "--stdin-input", "--format", "raw", "data.ostiary.access.permit"],
        input=json.dumps(question).encode(),
        capture_output=True,
        check=True,
    )
    assert sorted(json.loads(done.stdout)) == list(range(count))
