"""The warnings that each of the spec's own examples raises: all of them true, and none about a closing `forbid`."""

from __future__ import annotations

from typing import Final

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings, Severity
from policy.source.document import parse_document
from tests.conformance.loader import ConformanceFile, conformance_files

LATER: Final = "later-route"
SUBJECT: Final = "subject-is-role"
WIDE: Final = "wide-prefix"

WARNINGS: Final[dict[str, list[str]]] = {
    # This version serves nothing at `/v1/admin`. The `forbid` of it is prudent, and not pointed out.
    "C14": [SUBJECT, LATER],
    "C14-empty": [LATER],
    "C14-unset": [LATER],
    "P1": [],
    "P2": [],
    "P3": [SUBJECT],
    "P3-owners": [],
    "P4": [SUBJECT, "doubled-backslash"],
    "P4-single": [SUBJECT],
    "P5": [],
    "P6": [],
    # The two last are not the spec's: patterns without and with anchors.
    "R0": [SUBJECT, WIDE, WIDE, LATER, "unanchored-regex", LATER],
    "R1": [],
    "R2": [SUBJECT, WIDE, WIDE],
    "R3": [SUBJECT, LATER],
    # `regex:^/v1/(chat|inference)/.*$` matches routes of `/v1/chat`. The closing `forbid` raises none.
    "R4": [SUBJECT],
    "R5": [SUBJECT],
}
"""By the name of the conformance file, the codes in the order of their places."""

EXAMPLES: Final = [file for file in conformance_files() if file.id[0] in "CPR"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.id)
def test_an_example_of_the_spec_raises_these_warnings(file: ConformanceFile) -> None:
    findings = Findings()
    assert read_policies(parse_document(file.config, "config.yaml"), file.environ, findings) is not None
    found = sorted(findings.diagnostics, key=lambda one: one.span)
    assert [one.code for one in found] == WARNINGS[file.id]
    assert {one.severity for one in found} <= {Severity.WARNING}


def test_each_file_of_an_example_is_in_the_list() -> None:
    assert {file.id for file in EXAMPLES} == WARNINGS.keys()
