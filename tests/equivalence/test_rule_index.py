"""OPA's rule index is an optimization: what is decided with it is decided without it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from policy.parser import read_policies
from policy.rules import AccessRule, OfType
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from policy.vocabulary import Action
from tests.support.conformance_files import CONFIG_NAME, ConformanceFile, conformance_files
from tests.support.opa_engine import compile_config
from translators.compiler import compile_policies


def answers(opa: Path, archive: Path, questions: list[Any], *options: str) -> list[Any]:
    command = [opa, "eval", *options, "--bundle", archive, "--stdin-input", "--strict-builtin-errors"]
    done = subprocess.run(
        [*command, "--format", "raw", "data.ostiary.decision.answers"],
        input=json.dumps({"questions": questions}).encode(),
        capture_output=True,
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    assert len(found) == len(questions)
    return found


@pytest.mark.parametrize("file", conformance_files(), ids=lambda file: file.id)
def test_the_index_changes_no_answer(file: ConformanceFile, tmp_path: Path, opa_binary: Path) -> None:
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(compile_config(file.config, file.environ).archive)
    questions = [case.question for case in file.cases]
    with_index = answers(opa_binary, archive, questions)
    assert with_index == answers(opa_binary, archive, questions, "--disable-indexing", "--disable-early-exit")


def narrowed(rule: AccessRule) -> bool:
    return len(rule.actions) < len(Action) or isinstance(rule.resource, OfType)


@pytest.mark.parametrize("file", conformance_files(), ids=lambda file: file.id)
def test_every_rule_with_an_action_or_a_type_says_so_where_the_index_looks(file: ConformanceFile) -> None:
    policies = read_policies(parse_document(file.config, CONFIG_NAME), file.environ, Findings())
    assert policies is not None
    for rule, compiled in zip(policies.access, compile_policies(policies).access, strict=True):
        for body in compiled.bodies:
            lines = [line for test in body for line in test.lines]
            if narrowed(rule):
                assert lines[0].startswith(("input.action ", "input.resource.type ")), compiled.name
