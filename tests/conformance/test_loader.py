"""A conformance file that says something nobody reads must not pass for one that is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.conformance_files import InvalidConformanceFile, conformance_files, load

GOOD = 'id: one, principal: null, action: read, resource: "model::a", decision: deny, rule: null'


def written(folder: Path, case: str, head: str = "about: x\nconfig: {version: 2}\n") -> Path:
    path = folder / "file.yaml"
    path.write_text(f"{head}cases:\n  - {{{case}}}\n")
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    (case,) = load(written(tmp_path, GOOD)).cases
    assert case.question == {
        "principal": None,
        "action": "read",
        "resource": {"type": "model", "names": ["a"], "owner": None, "origin": "created"},
    }


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        (f"{GOOD}, expect: deny", "unknown fields expect"),
        (f"{GOOD}, http: {{status: 200, header: x}}", "unknown fields header"),
        (GOOD.replace(", rule: null", ""), "`rule` is missing"),
        (GOOD.replace("principal: null, ", ""), "`principal` is missing"),
        (GOOD.replace("decision: deny", "decision: forbid"), "not a decision"),
        (GOOD.replace("rule: null", "rule: 3"), "not a rule"),
        (GOOD.replace("rule: null", "rule: 'access_policy[x]'"), "not a rule"),
        (GOOD.replace("principal: null", "principal: ann"), "no principal is called `ann`"),
        (GOOD.replace("principal: null", "principal: {id: a, roles: admin}"), "lists of texts"),
        (GOOD.replace("principal: null", "principal: {id: a, roles: [1]}"), "lists of texts"),
        (GOOD.replace("model::a", "model"), "`type::name`"),
        ("id: one, principal: null, route: /v1/files, decision: deny, rule: null", "a method, a blank and a path"),
        (f"{GOOD}, route: GET /v1/files", "unknown fields action, resource"),
        (f"{GOOD}}}\n  - {{{GOOD}", "several cases are called one"),
    ],
)
def test_a_case_that_can_not_be_judged_is_refused(tmp_path: Path, case: str, complaint: str) -> None:
    with pytest.raises(InvalidConformanceFile, match=complaint.replace("[", r"\[")):
        load(written(tmp_path, case))


def test_an_unknown_field_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConformanceFile, match="unknown fields policy"):
        load(written(tmp_path, GOOD, "about: x\nconfig: {version: 2}\npolicy: {}\n"))


def test_every_row_about_policies_in_the_examples_has_a_file() -> None:
    rows = {"C14", "P1", "P2", "P3", "P4", "P5", "P6", "R0", "R1", "R2", "R3", "R4", "R5"}
    assert rows <= {file.id.split("-")[1] for file in conformance_files() if file.id.startswith("spec-")}
