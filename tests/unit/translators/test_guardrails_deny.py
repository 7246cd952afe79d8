"""Guardrails that are in force deny, are named by their file and line, and never permit where they fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import ostiary
from tests.support.guardrail_folder import CONFIG, DORA, GOOD, HEAD, MODEL, loaded
from tests.support.opa_engine import ANSWER, LiveOpa
from translators.opa_session import OpaFailed, OpaSession


@pytest.fixture(autouse=True)
def real_opa(opa_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "guardrails").mkdir()
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "guardrails"


def test_every_guardrail_that_denies_is_named_by_file_and_line(folder: Path) -> None:
    text = HEAD + (
        '# deny contains "in a comment"\n'
        'deny contains {"reason": "first"} if input.action == "delete"\n\n'
        'deny contains "deny contains words" if {\n\tinput.action in {"delete", "read"}\n}\n\n'
        'deny  contains `raw\ndeny contains text` if input.action == "update"\n\n'
        'deny contains {"reason": $"{input.action} {"}"} deny contains"} if input.action == "update"\n'
    )
    bundle = loaded(folder, one=text, two=GOOD).bundle
    questions = [
        {"principal": DORA, "action": action, "resource": MODEL} for action in ("delete", "read", "update", "create")
    ]
    with OpaSession(bundle) as opa:
        answers = [answer["resource"] for answer in opa.ask(questions)]
    assert bundle.guardrails == 5
    assert [(answer["effect"], answer["source"]) for answer in answers] == [
        ("deny", "one.rego:4, one.rego:6, two.rego:3"),
        ("deny", "one.rego:6"),
        ("deny", "one.rego:10, one.rego:13"),
        ("permit", "config.yaml:6"),
    ]
    assert answers[0]["description"] == "deny contains words; first; no"
    assert answers[2]["description"] == "raw\ndeny contains text; update } deny contains"


def test_an_element_of_any_kind_denies(folder: Path) -> None:
    elements = [
        '"text"',
        "7",
        "null",
        "false",
        "[]",
        "{}",
        "set()",
        '{"reason": null}',
        '{"reason": ["a"]}',
        '{"reason": ""}',
    ]
    for number, element in enumerate(elements):
        (folder / f"g{number}.rego").write_text(
            f'{HEAD}deny contains {element} if "{number}" in input.resource.names\n'
        )
    questions = [
        {"principal": None, "action": "read", "resource": {**MODEL, "names": [str(number)]}}
        for number in range(len(elements))
    ]
    with OpaSession(loaded(folder).bundle) as opa:
        answers = opa.ask(questions)
    assert [answer["resource"]["effect"] for answer in answers] == ["deny"] * len(elements)


FAULTS = [
    'deny contains 1 if to_number(input.principal.id) > 3',
    'deny contains 1 if level == 1\n\nlevel := 1 if input.action == "read"\n\nlevel := 2 if input.resource',
    'deny contains 1 if of(input.action) == 1\n\nof(a) := 1 if a == "read"\n\nof(a) := 2 if startswith(a, "r")',
    'deny contains 1 if json.unmarshal(input.principal.id) == 1',
    'deny contains 1 if units.parse_bytes(input.principal.id) > 3',
    'deny contains 1 if regex.match(input.principal.id, "[")',
]  # fmt: skip


@pytest.mark.parametrize("text", FAULTS)
def test_a_guardrail_that_fails_while_it_is_asked_never_permits(folder: Path, opa_binary: Path, text: str) -> None:
    bundle = loaded(folder, g=f"{HEAD}{text}\n").bundle
    asked = {"principal": {**DORA, "id": "dora[" if "regex" in text else "dora"}, "action": "read", "resource": MODEL}
    with LiveOpa(opa_binary) as live:
        live.load(bundle)
        status, answer = live.request("POST", ANSWER, json.dumps({"input": asked}).encode())
    assert status == 500, answer
    with OpaSession(bundle) as opa, pytest.raises(OpaFailed):
        opa.ask([asked])


def test_commands_name_the_guardrail_that_denies(folder: Path) -> None:
    (folder / "good.rego").write_text(GOOD)
    config, cases = folder.parent / "config.yaml", folder.parent / "cases.yaml"
    asked = ("--as", "dora", "--action", "delete", "--resource", "model::a")
    done = ostiary("explain", config, *asked)
    assert done.stdout.startswith("deny by guardrails at good.rego:3: a guardrail forbids it\n  no\n"), done.stderr
    cases.write_text(
        "cases: [{id: one, principal: {id: dora}, action: delete, resource: 'model::a', decision: permit}]"
    )
    assert "deny by guardrails (good.rego:3): a guardrail forbids it" in ostiary("test", config, cases).stdout


def test_check_says_how_many_are_in_force(folder: Path) -> None:
    (folder / "good.rego").write_text(GOOD)
    done = ostiary("check", folder.parent / "config.yaml")
    assert "1 guardrail; revision" in done.stdout
    done = ostiary("check", folder.parent / "config.yaml", "--json")
    assert json.loads(done.stdout)["guardrails"] == 1
