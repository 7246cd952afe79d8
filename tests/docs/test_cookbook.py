"""`docs/policy/cookbook.md`: each policy decides as its cases say, and each mistake is reported as the page shows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.config import read_config
from tests.support.policy_pages import ROOT, Example, examples, failures, loaded, printed, rewritten

PAGE = ROOT / "docs/policy/cookbook.md"
TEXT = PAGE.read_text()
RECIPES, MISTAKES = TEXT.split("\n## Mistakes\n")
EXAMPLES = examples(PAGE)
FLAWED = [example for example in EXAMPLES if example.printed is not None]
SOUND = [example for example in EXAMPLES if example.printed is None]


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, opa_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("example", [pytest.param(example, id=example.name) for example in SOUND])
def test_a_policy_decides_as_its_cases_say(example: Example, tmp_path: Path) -> None:
    policy, found = loaded(example, tmp_path)
    assert policy is not None
    assert found == []
    assert example.cases
    assert not failures(example, policy, tmp_path)


@pytest.mark.parametrize("example", [pytest.param(example, id=example.name) for example in EXAMPLES])
def test_a_server_takes_the_configuration(example: Example, tmp_path: Path) -> None:
    findings = Findings()
    (tmp_path / "guardrails").mkdir()
    assert read_config(parse_document(example.config, "config.yaml"), {}, findings) is not None, findings.diagnostics
    assert findings.diagnostics == []


@pytest.mark.parametrize("example", [pytest.param(example, id=example.name) for example in FLAWED])
def test_a_mistake_is_reported_as_the_page_shows(example: Example, tmp_path: Path) -> None:
    policy, found = loaded(example, tmp_path)
    text = printed(example, found)
    if os.environ.get("OSTIARY_GOLDEN") == "rewrite":
        rewritten(example, text)
    else:
        assert text == example.printed
    if example.cases:
        assert policy is not None
        assert not failures(example, policy, tmp_path)


@pytest.mark.parametrize("example", [pytest.param(example, id=example.name) for example in FLAWED])
def test_the_page_names_the_code_of_a_mistake(example: Example, tmp_path: Path) -> None:
    section = MISTAKES.split(f"\n### {example.section}\n")[1].split("\n### ")[0]
    (named,) = re.findall(r"^Reported as `([a-z-]+)`", section, re.MULTILINE)
    assert {finding.code for finding in loaded(example, tmp_path)[1]} == {named}


def test_each_mistake_is_shown_and_mended() -> None:
    sections = MISTAKES.split("\n### ")[1:]
    assert len(sections) >= 10
    for section in sections:
        assert section.count("```yaml\n") == 2, section


def test_there_are_enough_recipes() -> None:
    assert RECIPES.count("\n### ") >= 10
