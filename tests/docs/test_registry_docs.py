"""`docs/api/what-is-kept.md` says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.api.models.routes import MOST_LISTED
from server.api.registry import body, routes

PAGE = (
    (Path(__file__).resolve().parents[2] / "docs" / "api" / "what-is-kept.md")
    .read_text()
    .split("\n## The registry\n")[1]
)


@pytest.mark.parametrize("kind", routes.KINDS, ids=lambda kind: kind.type)
def test_every_kind_is_in_the_table(kind: routes.RegistryKind) -> None:
    assert re.search(rf"^\| `{kind.path}` \| `{kind.type}` \| `\w+_id`", PAGE, re.MULTILINE)


def test_limits_are_documented_as_they_are() -> None:
    assert MOST_LISTED == routes.MOST_LISTED
    assert f"`limit` is at most, and unless said otherwise, {MOST_LISTED};" in PAGE
    assert f"A body has at most {body.MOST_BYTES // 1024} KB, a name at most {body.LONGEST_ID} bytes." in PAGE


@pytest.mark.parametrize(
    "example", [*re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL), *re.findall("`(forbid: {.*})`", PAGE)]
)
def test_every_rule_on_the_page_is_one(example: str) -> None:
    rule = example if example.startswith("-") else f"- {example}"
    text = f"server:\n  auth:\n    access_policy:\n{indent(rule, '    ')}"
    findings = Findings()
    assert read_policies(parse_document(text, "config.yaml"), {}, findings) is not None
    assert [finding for finding in findings.diagnostics if finding.severity == "error"] == []
