"""The schemas that auditors read are the shapes that are really asked and answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, ValidationError

from policy.vocabulary import Action, Anonymous, Origin, Principal, Resource, Route
from server.authz.contract.answer import read_answer
from server.authz.contract.question import ListQuestion, Question, encode, encode_list, encode_many
from tests.equivalence.test_rule_index import answers
from tests.support.conformance_files import conformance_files
from tests.support.opa_engine import compile_config
from translators.rego_folder import REGO

QUESTION = Draft7Validator(json.loads((REGO / "schemas/input.json").read_text()))
ANSWER = Draft7Validator(json.loads((REGO / "schemas/answer/decision.json").read_text()))
ALICE = Principal("alice", "https://issuer.example", {"roles": ("developer",), "teams": ()})
FILE = Resource("sql_record::openai_files", ("file-1",), ALICE, Origin.CREATED)
ASKED = [
    Question(ALICE, Route("GET", "/v1/models")),
    Question(Anonymous(), Route("GET", "/v1/models"), Action.READ, FILE),
    Question(ALICE, None, Action.CREATE, Resource("prompt", ())),
]


def refused(validator: Draft7Validator, document: Any) -> bool:
    try:
        validator.validate(document)
    except ValidationError:
        return True
    return False


@pytest.mark.parametrize("question", ASKED)
def test_what_the_server_asks_has_the_shape_of_a_question(question: Question) -> None:
    asked = json.loads(encode(question))["input"]
    QUESTION.validate(asked)
    assert refused(QUESTION, {**asked, "token": "x"})


def test_questions_together_and_lists_have_it_too() -> None:
    body, count = encode_many(ASKED, 10_000)
    assert count == len(ASKED)
    QUESTION.validate(json.loads(body)["input"])
    QUESTION.validate(json.loads(encode_list(ListQuestion(ALICE, Action.READ, "prompt")))["input"])


def test_every_answer_to_a_conformance_case_has_the_shape_of_an_answer(tmp_path: Path, opa_binary: Path) -> None:
    for file in conformance_files():
        archive = tmp_path / f"{file.id}.tar.gz"
        archive.write_bytes(compile_config(file.config, file.environ).archive)
        for found in answers(opa_binary, archive, [case.question for case in file.cases]):
            ANSWER.validate(found)


def test_the_servers_own_reading_is_no_looser_than_the_schema() -> None:
    decision = {
        "effect": "permit",
        "rule": "access_policy[0]",
        "source": "config.yaml:3",
        "description": None,
        "reason": "the rule permits it",
        "obligations": [],
    }
    good = {"contract": 1, "revision": "r", "resource": decision}
    question = Question(ALICE, None, Action.READ, FILE)
    ANSWER.validate(good)
    assert read_answer(json.dumps({"result": good}).encode(), question).resource is not None
    for member in decision:
        broken = {**good, "resource": {**decision, member: 7}}
        assert refused(ANSWER, broken)
        with pytest.raises(Exception, match="contract"):
            read_answer(json.dumps({"result": broken}).encode(), question)
