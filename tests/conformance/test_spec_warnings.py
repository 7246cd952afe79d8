"""The warnings that each of the spec's own examples raises: all of them true, and none about a closing `forbid`."""

from __future__ import annotations

from typing import Final

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings, Severity
from policy.source.document import parse_document
from tests.support.conformance_files import ConformanceFile, conformance_files

LATER: Final = "later-route"
SUBJECT: Final = "subject-is-role"
WIDE: Final = "wide-prefix"

WARNINGS: Final[dict[str, list[str]]] = {
    # This version serves nothing at `/v1/admin`. The `forbid` of it is prudent, and not pointed out.
    "spec-C14-authentication-on": [SUBJECT, LATER],
    "spec-C14-empty-variable": [LATER],
    "spec-C14-unset-variable": [LATER],
    "spec-P1-github-users": [],
    "spec-P2-kubernetes-accounts": [],
    "spec-P3-owners-and-teams": [SUBJECT],
    "spec-P3-spelt-owners": [],
    "spec-P4-regex-rules": [SUBJECT, "doubled-backslash"],
    "spec-P4-single-backslashes": [SUBJECT],
    "spec-P5-isolation-by-owner": [],
    "spec-P6-default-policy": [],
    # The two last are not the spec's: patterns without and with anchors.
    "spec-R0-path-patterns": [SUBJECT, WIDE, WIDE, LATER, "unanchored-regex"],
    "spec-R1-blocked-routes": [],
    "spec-R2-routes-by-role": [SUBJECT, WIDE, WIDE],
    "spec-R3-public-and-protected-routes": [SUBJECT, LATER],
    # `regex:^/v1/(chat|inference)/.*$` matches routes of `/v1/chat`. The closing `forbid` raises none.
    "spec-R4-regex-routes": [SUBJECT],
    "spec-R5-route-and-resource": [SUBJECT],
}
"""By the name of the conformance file, the codes in the order of their places."""

EXAMPLES: Final = [file for file in conformance_files() if file.id.startswith("spec-")]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.id)
def test_an_example_of_the_spec_raises_these_warnings(file: ConformanceFile) -> None:
    findings = Findings()
    assert read_policies(parse_document(file.config, "config.yaml"), file.environ, findings) is not None
    found = sorted(findings.diagnostics, key=lambda one: one.span)
    assert [one.code for one in found] == WARNINGS[file.id]
    assert {one.severity for one in found} <= {Severity.WARNING}


def test_each_file_of_an_example_is_in_the_list() -> None:
    assert {file.id for file in EXAMPLES} == WARNINGS.keys()
