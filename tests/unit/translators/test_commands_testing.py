"""`ostiary policy test`: cases as users write them, judged by a real OPA."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from policy.source.diagnostics import quoted
from tests.support.command_line import EXAMPLE, ROOT, ostiary

CONFIG = """\
models:
  - {model_id: llama, provider_id: echo}
server:
  auth:
    provider_config: {type: custom}
    route_policy:
      - permit: {paths: /v1/models}
        description: "everyone lists\\nmodels <b>&"
    access_policy:
      - forbid: {actions: [read], resource: "model::echo/llama"}
        unless: user with ml in teams
      - permit: {actions: [read], resource: "model::*"}
      - permit: {actions: [create, read], resource: "prompt::*"}
        when: user is owner
"""
ANN = {"id": "ann", "teams": ["ml"]}
ROUTE = {"id": "models", "principal": ANN, "route": "GET /v1/models", "decision": "permit", "rule": "route_policy[0]"}
LLAMA = {"id": "llama", "principal": "ben", "action": "read", "resource": "model::llama", "decision": "deny"}
MODEL = {"id": "model", "principal": "ann", "action": "read", "resource": "model::x", "decision": "permit"}
PROMPT = {"id": "prompt", "principal": "ann", "action": "read", "resource": "prompt::p", "decision": "permit"}
PROMPT |= {"owner": "ann"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def written(folder: Path, *cases: dict[str, Any], name: str = "cases.yaml", **more: Any) -> Path:
    path = folder / name
    principals = {"ann": ANN, "ben": {"id": "ben", "teams": []}}
    path.write_text(yaml.safe_dump({"principals": principals, "cases": list(cases)} | more, sort_keys=False))
    return path


def report_of(folder: Path, *cases: dict[str, Any], options: tuple[str, ...] = ()) -> dict[str, Any]:
    done = ostiary("test", folder / "config.yaml", written(folder, *cases), "--json", *options)
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if report["failed"] else 0)
    return report


def refused(folder: Path, text: str) -> list[tuple[int, str]]:
    (folder / "cases.yaml").write_text(text)
    done = ostiary("test", folder / "config.yaml", folder / "cases.yaml", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    return [(found["line"], found["code"]) for found in map(json.loads, done.stderr.splitlines())]


def test_the_example_passes_and_every_rule_decides_something() -> None:
    cases = yaml.safe_load((EXAMPLE / "policy-tests.yaml").read_text())["cases"]
    assert len(cases) >= 25
    done = ostiary("test", EXAMPLE / "config.yaml", EXAMPLE / "policy-tests.yaml", "--require-coverage")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(cases)} passed, 0 failed; 21 of 21 rules were decisive\n"


def test_a_failure_shows_what_was_expected_what_came_and_both_places(folder: Path) -> None:
    wrong = {**LLAMA, "decision": "permit", "rule": "access_policy[1]"}
    done = ostiary("test", folder / "config.yaml", written(folder, ROUTE, wrong))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"FAILED {folder}/cases.yaml:15: llama",
        "  expected permit by access_policy[1] (config.yaml:12)",
        "  got      deny by access_policy[0] (config.yaml:10): the rule forbids it",
        "access_policy[1] (config.yaml:12) was never decisive",
        "access_policy[2] (config.yaml:13) was never decisive",
        "1 passed, 1 failed; 2 of 4 rules were decisive",
    ]


def test_decision_rule_and_reason_are_compared_as_far_as_they_are_given(folder: Path) -> None:
    by_rule = {**LLAMA, "id": "b", "rule": "access_policy[0]", "reason": "the rule forbids it"}
    others = [{**LLAMA, "id": "c", "rule": None}, {**LLAMA, "id": "d", "reason": "no rule applies"}]
    nobody = {**PROMPT, "id": "e", "principal": None, "decision": "deny", "rule": None, "reason": "no rule applies"}
    report = report_of(folder, LLAMA, by_rule, *others, nobody)
    assert [case["passed"] for case in report["cases"]] == [True, True, False, False, True]
    assert report["cases"][2]["expected"] == {"decision": "deny", "rule": None}
    assert report["cases"][0]["got"] == {
        "decision": "deny",
        "rule": "access_policy[0]",
        "source": "config.yaml:10",
        "reason": "the rule forbids it",
    }


def test_aliases_origin_and_owner_are_part_of_the_question(folder: Path) -> None:
    created = {**LLAMA, "id": "created", "origin": "created", "decision": "permit"}
    alias = {**created, "id": "alias", "aliases": ["echo/llama"], "decision": "deny"}
    stranger = {**PROMPT, "id": "stranger", "owner": {"id": "ann", "issuer": "https://other.example"}}
    report = report_of(folder, created, alias, PROMPT, {**stranger, "decision": "deny"})
    assert report["failed"] == 0


def test_more_cases_than_fit_into_one_batch(folder: Path) -> None:
    many = [{**MODEL, "id": f"m{number}", "resource": f"model::m{number}"} for number in range(401)]
    many[350]["decision"] = "deny"
    report = report_of(folder, *many)
    assert (report["passed"], report["failed"]) == (400, 1)
    assert not report["cases"][350]["passed"]


def test_an_uncovered_rule_fails_only_if_that_is_asked_for(folder: Path) -> None:
    cases = written(folder, ROUTE, LLAMA, MODEL)
    plain = ostiary("test", folder / "config.yaml", cases)
    strict = ostiary("test", folder / "config.yaml", cases, "--require-coverage")
    assert (plain.returncode, strict.returncode) == (0, 1)
    assert plain.stdout == strict.stdout
    assert "access_policy[2] (config.yaml:13) was never decisive\n3 passed, 0 failed; 3 of 4" in plain.stdout
    more = written(folder, {**PROMPT, "id": "llama"}, name="more.yaml")
    assert ostiary("test", folder / "config.yaml", cases, more, "--require-coverage").returncode == 0


def test_the_default_policy_needs_no_tests_of_the_user(folder: Path) -> None:
    (folder / "config.yaml").write_text("server: {auth: {provider_config: {type: custom}}}\n")
    own = {**PROMPT, "rule": "default_policy[3]"}
    done = ostiary("test", folder / "config.yaml", written(folder, own), "--require-coverage")
    assert (done.returncode, done.stdout) == (0, "1 passed, 0 failed\n")


def test_a_guardrail_decides_like_a_rule(folder: Path) -> None:
    guardrails = folder / "guardrails"
    guardrails.mkdir()
    rego = 'package ostiary.guardrails\n\ndeny contains {"reason": "no\\nllamas"} if "llama" in input.resource.names\n'
    (guardrails / "llamas.rego").write_text(rego)
    text = CONFIG.replace("    route_policy:", "    guardrails: guardrails\n    route_policy:")
    (folder / "config.yaml").write_text(text)
    report = report_of(folder, {**LLAMA, "principal": "ann", "rule": "guardrails"}, {**MODEL, "decision": "deny"})
    assert [case["passed"] for case in report["cases"]] == [True, False]


def test_a_build_server_can_read_the_report(folder: Path) -> None:
    wrong = {**ROUTE, "id": 'a "name" with <angles> & more', "decision": "deny"}
    cases, more = written(folder, LLAMA, wrong), written(folder, MODEL, name="more.yaml")
    report = folder / "report.xml"
    assert ostiary("test", folder / "config.yaml", cases, more, "--junit", report).returncode == 1
    root = ElementTree.parse(report).getroot()  # noqa: S314 - our own file
    assert root.attrib == {"tests": "3", "failures": "1", "errors": "0"}
    assert [(suite.get("name"), suite.get("tests")) for suite in root] == [(str(cases), "2"), (str(more), "1")]
    failed = root[0][1]
    assert (failed.get("name"), failed.get("classname"), failed.get("line")) == (wrong["id"], "cases", "15")
    message = "expected deny by route_policy[0] (config.yaml:7), got permit by route_policy[0] (config.yaml:7)"
    assert failed[0].get("message") == f"{message}: the rule permits it"
    assert failed[0].text == r"everyone lists\nmodels <b>&"


def test_junit_shows_a_rule_that_decided_nothing_where_that_fails(folder: Path) -> None:
    cases, report = written(folder, ROUTE, LLAMA, MODEL), folder / "report.xml"
    strict = ("test", folder / "config.yaml", cases, "--require-coverage", "--junit", report)
    assert ostiary(*strict).returncode == 1
    root = ElementTree.parse(report).getroot()  # noqa: S314 - our own file
    assert root.attrib == {"tests": "7", "failures": "1", "errors": "0"}
    coverage = root[1]
    assert coverage.attrib == {"name": "coverage", "tests": "4", "failures": "1", "errors": "0"}
    failed = [rule for rule in coverage if len(rule)]
    assert [(rule.get("name"), rule.get("line")) for rule in failed] == [("access_policy[2]", "13")]
    assert failed[0][0].get("message") == "access_policy[2] (config.yaml:13) was never decisive"


def test_what_is_wrong_with_a_file_is_reported_together_with_its_places(folder: Path) -> None:
    text = """\
about: 3
principals: {ann: {id: ann}, bob: [x], eve: {roles: no}}
foo: 1
cases:
  - {id: a, principal: ben, action: reed, resource: "modle::x", decision: maybe, rule: x, ownr: 3}
  - {id: b, principal: ann, route: v1, action: read}
  - 3
  - {id: c, principal: null, route: get /x, decision: permit}
  - {id: d, principal: ann, action: read, resource: "model::", decision: deny}
  - {id: d2, principal: ann, action: read, resource: "sql_record::openai_files", decision: deny}
  - {id: e, principal: [ann], action: read, resource: "model::a", origin: elsewhere, decision: deny}
  - {id: f, principal: ann, route: GET /x, decision: deny}
  - {id: f, principal: ann, route: GET /y, decision: deny}
  - {principal: ann, action: read, decision: deny}
  - {id: "${env.X}", principal: ann, route: GET /x, decision: deny, http: {status: 403}}
"""
    assert refused(folder, text) == [
        (1, "not-a-text"),
        (2, "not-a-mapping"),
        (2, "missing-key"),
        (2, "not-a-text"),
        (3, "unknown-key"),
        (5, "unknown-principal"),
        (5, "invalid-action"),
        (5, "invalid-resource"),
        (5, "invalid-decision"),
        (5, "invalid-rule"),
        (5, "unknown-key"),
        (6, "missing-key"),
        (6, "invalid-route"),
        (6, "misplaced-key"),
        (7, "not-a-mapping"),
        (8, "invalid-route"),
        (9, "invalid-resource"),
        (10, "invalid-resource"),
        (11, "not-a-text"),
        (11, "invalid-origin"),
        (13, "duplicate-id"),
        (14, "missing-key"),
        (14, "missing-key"),
        (15, "environment-in-policy"),
        (15, "unknown-key"),
    ]


@pytest.mark.parametrize("text", ["{}", "cases: []", "cases: 3", "cases:", "principals: {}"])
def test_a_file_without_cases_is_refused(folder: Path, text: str) -> None:
    assert refused(folder, text) == [(1, "no-cases")]


@pytest.mark.parametrize("text", ["", "- a", "cases: [", "\x07", "a: 1\na: 2", "principals: []\ncases: 3"])
def test_no_file_makes_a_traceback(folder: Path, text: str) -> None:
    assert refused(folder, text)


def test_the_mistakes_of_all_files_are_shown_to_people_with_their_lines(folder: Path) -> None:
    first = written(folder, {**LLAMA, "action": "reed"})
    second = written(folder, {**MODEL, "principal": "anne"}, name="more.yaml")
    done = ostiary("test", folder / "config.yaml", first, second)
    assert done.returncode == 2
    assert f"{first}:12:11: error: `reed` is no action\n 12 |   action: reed\n" in done.stderr
    assert f"{second}:11:14: error: no principal is called `anne`" in done.stderr
    assert done.stderr.endswith("= did you mean `ann`?\n")


def test_files_that_are_not_there_and_reports_that_cannot_be_written(folder: Path) -> None:
    missing = ostiary("test", folder / "config.yaml", folder / "none.yaml")
    assert (missing.returncode, "none.yaml:1:1: error: cannot read the file" in missing.stderr) == (2, True)
    unwritable = ostiary(
        "test", folder / "config.yaml", written(folder, LLAMA), "--junit", folder / "no" / "report.xml"
    )
    assert unwritable.returncode == 2
    assert unwritable.stderr == f"error: cannot write {quoted(f'{folder}/no/report.xml')}: No such file or directory\n"
    assert ostiary("test", folder / "config.yaml").returncode == 2


def test_what_the_page_shows_about_cases_and_questions_works(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "policy" / "commands.md").read_text()
    (cases,) = re.findall(r"```yaml\n(about: .*?)```", page, re.DOTALL)
    (tmp_path / "cases.yaml").write_text(cases)
    done = ostiary("test", EXAMPLE / "config.yaml", tmp_path / "cases.yaml")
    assert (done.returncode, done.stdout.splitlines()[-1][:18]) == (0, "3 passed, 0 failed")
    questions, answers = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    got = ostiary("decide", EXAMPLE / "config.yaml", text=questions).stdout
    varying = {"description", "revision"}
    assert [{k: v for k, v in json.loads(line).items() if k not in varying} for line in got.splitlines()] == [
        {k: v for k, v in json.loads(line).items() if k not in varying} for line in answers.splitlines()
    ]
