"""The answer about a whole list: believed to the letter or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from policy.vocabulary import Action, Anonymous, Effect, Principal
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, encode_list
from server.authz.contract.record_filter import (
    MOST_KNOWN,
    Atom,
    Clause,
    FromConfig,
    KnownFilters,
    NameContains,
    NameIs,
    NameStartsWith,
    OwnerIs,
    OwnerShares,
    RecordFilter,
    Undecided,
    Unowned,
    read_filter,
)
from tests.support.broken_opa import ALICE, answer

SCHEMA = json.loads((Path(__file__).parents[3] / "rego/schemas/input.json").read_text())
FILES = ListQuestion(ALICE, Action.READ, "sql_record::openai_files")
NOBODY = ListQuestion(Anonymous(), Action.READ, "sql_record::openai_files")

MINE = {"fact": "owner_is", "holds": True, "id": "alice", "issuer": "https://issuer.example"}
TEAM = {"fact": "owner_shares", "holds": False, "attribute": "teams", "values": ["ml"]}
ROLES = {"fact": "owner_shares", "holds": True, "attribute": "roles", "values": ["alice", "developer"]}
NAME = {"fact": "name_is", "holds": True, "name": "file-1"}
PREFIX = {"fact": "name_starts_with", "holds": True, "prefix": "file-"}
INSIDE = {"fact": "name_contains", "holds": True, "text": "-5-"}
UNOWNED = {"fact": "unowned", "holds": True}
CONFIG = {"fact": "from_config", "holds": False}
UNDECIDED = {"fact": "undecided", "holds": True}
GUARDRAIL = {"rule": "guardrails", "effect": "forbid", "where": [UNDECIDED]}
EVERYTHING: dict[str, Any] = {"rule": None, "effect": "permit", "where": []}


def clause(index: int, *where: Any, effect: str = "permit") -> dict[str, Any]:
    """A clause of the rule at that place."""
    return {"rule": f"access_policy[{index}]", "effect": effect, "where": list(where)}


def read(*clauses: Any, question: ListQuestion = FILES) -> RecordFilter:
    """The answer with these clauses, as the server reads it."""
    return read_filter(answer(clauses=list(clauses)), question)


def without(fact: dict[str, Any], member: str) -> dict[str, Any]:
    """The fact without one of its members."""
    return {name: value for name, value in fact.items() if name != member}


def test_a_good_answer_becomes_clauses_in_their_order() -> None:
    found = read(
        clause(0, NAME, CONFIG, effect="forbid"),
        clause(2, MINE, UNDECIDED),
        clause(2, TEAM),
        clause(10, PREFIX, INSIDE, UNOWNED, ROLES),
    )
    assert found == RecordFilter(
        "r1",
        (
            Clause(
                "access_policy[0]",
                Effect.FORBID,
                (Atom(NameIs("file-1"), holds=True), Atom(FromConfig(), holds=False)),
            ),
            Clause(
                "access_policy[2]",
                Effect.PERMIT,
                (Atom(OwnerIs("alice", "https://issuer.example"), holds=True), Atom(Undecided(), holds=True)),
            ),
            Clause("access_policy[2]", Effect.PERMIT, (Atom(OwnerShares("teams", ("ml",)), holds=False),)),
            Clause(
                "access_policy[10]",
                Effect.PERMIT,
                (
                    Atom(NameStartsWith("file-"), holds=True),
                    Atom(NameContains("-5-"), holds=True),
                    Atom(Unowned(), holds=True),
                    Atom(OwnerShares("roles", ("alice", "developer")), holds=True),
                ),
            ),
        ),
    )


@pytest.mark.parametrize("clauses", [[], [GUARDRAIL], [clause(0)], [GUARDRAIL, clause(0), clause(0, NAME)]])
def test_few_clauses_are_an_answer_too(clauses: list[Any]) -> None:
    assert len(read(*clauses).clauses) == len(clauses)


@pytest.mark.parametrize("clauses", [[EVERYTHING], [GUARDRAIL, EVERYTHING]])
def test_only_no_caller_may_be_permitted_all_without_a_rule(clauses: list[Any]) -> None:
    assert read(*clauses, question=NOBODY).clauses[-1] == Clause(None, Effect.PERMIT, ())
    with pytest.raises(PolicyUnavailable):
        read(*clauses)


MALFORMED: dict[str, Any] = {
    "no list": {"0": clause(0)},
    "null": None,
    "a clause that is a list": [["access_policy[0]", "permit", []]],
    "a clause without its rule": [{"effect": "permit", "where": []}],
    "a clause with one member more": [{**clause(0), "source": "config.yaml:1"}],
    "a rule that is a number": [{**clause(0), "rule": 0}],
    "a rule of no place": [{**clause(0), "rule": "access_policy"}],
    "a rule with more behind it": [{**clause(0), "rule": "access_policy[0]x"}],
    "a rule before the first": [{**clause(0), "rule": "access_policy[-1]"}],
    "a rule in other digits": [{**clause(0), "rule": "access_policy[\u0663]"}],
    "an effect of another kind": [{**clause(0), "effect": "deny"}],
    "an effect that is true": [{**clause(0), "effect": True}],
    "an effect that is a list": [{**clause(0), "effect": ["permit"]}],
    "where is null": [{**clause(0), "where": None}],
    "where is one fact": [{**clause(0), "where": MINE}],
    "the wrong order": [clause(2), clause(1)],
    "the order of text": [clause(10), clause(9)],
    "a guardrail after a rule": [clause(0), GUARDRAIL],
    "two guardrails": [GUARDRAIL, GUARDRAIL],
    "a guardrail that permits": [{**GUARDRAIL, "effect": "permit"}],
    "a guardrail that knows": [{**GUARDRAIL, "where": []}],
    "no rule beside a rule": [EVERYTHING, clause(0)],
    "no rule twice": [EVERYTHING, EVERYTHING],
    "no rule forbids": [{**EVERYTHING, "effect": "forbid"}],
    "no rule permits something": [{**EVERYTHING, "where": [UNOWNED]}],
    "a fact that is a text": [clause(0, "unowned")],
    "a fact that is true": [clause(0, True)],
    "a fact of another kind": [clause(0, {"fact": "owner_was", "holds": True})],
    "a fact without a kind": [clause(0, {"holds": True})],
    "a kind that is a list": [clause(0, {"fact": ["unowned"], "holds": True})],
    "a fact that doesn't say whether it holds": [clause(0, {"fact": "unowned"})],
    "a fact that holds by number": [clause(0, {"fact": "unowned", "holds": 1})],
    "a fact with one member more": [clause(0, {**UNOWNED, "name": "x"})],
    "an undecided pattern": [clause(0, {**UNDECIDED, "pattern": "x"})],
    "a name that is null": [clause(0, {**NAME, "name": None})],
    "a name without a name": [clause(0, without(NAME, "name"))],
    "a name and a prefix": [clause(0, {**NAME, "prefix": "x"})],
    "an empty prefix": [clause(0, {**PREFIX, "prefix": ""})],
    "an empty text in a name": [clause(0, {**INSIDE, "text": ""})],
    "a text in a name that is none": [clause(0, {**INSIDE, "text": 5})],
    "a text in a name with more": [clause(0, {**INSIDE, "prefix": "a"})],
    "another owner": [clause(0, {**MINE, "id": "bob"})],
    "a namesake": [clause(0, {**MINE, "issuer": ""})],
    "an owner without an issuer": [clause(0, without(MINE, "issuer"))],
    "an owner that is a number": [clause(0, {**MINE, "id": 7})],
    "values that the caller doesn't have": [clause(0, {**TEAM, "values": ["ml", "sales"]})],
    "fewer values than the caller has": [clause(0, {**ROLES, "values": ["alice"]})],
    "values of another attribute": [clause(0, {**TEAM, "attribute": "roles"})],
    "an attribute that the caller doesn't have": [clause(0, {**TEAM, "attribute": "projects"})],
    "no values": [clause(0, {**TEAM, "attribute": "projects", "values": []})],
    "a value that is a list": [clause(0, {**TEAM, "values": [["ml"]]})],
    "a value that is a number": [clause(0, {**TEAM, "values": [1]})],
    "values as one text": [clause(0, {**TEAM, "values": "ml"})],
}


@pytest.mark.parametrize("clauses", MALFORMED.values(), ids=MALFORMED)
def test_clauses_that_are_not_to_the_letter_are_no_answer(clauses: Any) -> None:
    for question in (FILES, NOBODY):
        with pytest.raises(PolicyUnavailable) as caught:
            read_filter(answer(clauses=clauses), question)
        assert caught.value.failure is Failure.MALFORMED


def test_no_owner_is_looked_for_on_behalf_of_no_caller() -> None:
    for fact in (MINE, TEAM):
        with pytest.raises(PolicyUnavailable):
            read(clause(0, fact), question=NOBODY)


@pytest.mark.parametrize(
    "body",
    [
        answer(),
        answer(clauses=[], resource=None),
        b"{}",
        b"",
        answer(clauses=[]).replace(b'"contract": 1', b'"contract": 2'),
        answer(clauses=[]).replace(b'"r1"', b'""'),
        answer(clauses=[UNOWNED]).replace(b'"holds": true', b'"holds": true, "holds": true'),
    ],
)
def test_an_answer_without_clauses_of_our_contract_is_none(body: bytes) -> None:
    with pytest.raises(PolicyUnavailable):
        read_filter(body, FILES)


@pytest.mark.parametrize("question", [FILES, NOBODY])
def test_the_list_question_fits_the_schema_of_the_law(question: ListQuestion) -> None:
    asked = json.loads(encode_list(question))["input"]
    Draft7Validator(SCHEMA).validate(asked)
    assert asked.keys() == {"principal", "action", "type"}
    assert (asked["action"], asked["type"]) == ("read", "sql_record::openai_files")


def test_a_list_question_of_no_text_is_not_asked() -> None:
    for question in (
        ListQuestion(ALICE, Action.READ, "\ud800"),
        ListQuestion(Principal("a", "", {"roles": "admin"}), Action.READ, "prompt"),  # type: ignore[dict-item]
        ListQuestion(ALICE, Action.READ, None),  # type: ignore[arg-type]
    ):
        with pytest.raises(PolicyUnavailable) as caught:
            encode_list(question)
        assert caught.value.failure is Failure.QUESTION


def test_no_list_holds_what_is_to_be_created() -> None:
    with pytest.raises(ValueError, match="to be created"):
        ListQuestion(ALICE, Action.CREATE, "prompt")


def test_an_equal_answer_to_an_equal_question_is_known() -> None:
    known, body = KnownFilters(), answer(clauses=[clause(0, MINE)])
    first = known.read(encode_list(FILES), body, FILES)
    assert known.read(encode_list(FILES), bytes(bytearray(body)), FILES) is first
    assert known.read(encode_list(FILES), answer(clauses=[clause(1, MINE)]), FILES) != first


def test_an_answer_that_is_known_is_none_to_another_callers_question() -> None:
    known, body = KnownFilters(), answer(clauses=[clause(0, MINE)])
    other = replace(FILES, principal=Principal("bob", "https://issuer.example"))
    known.read(encode_list(FILES), body, FILES)
    with pytest.raises(PolicyUnavailable):
        known.read(encode_list(other), body, other)


def test_few_answers_are_known_and_no_long_ones() -> None:
    known = KnownFilters()
    for index in range(2 * MOST_KNOWN):
        known.read(encode_list(FILES), answer(clauses=[clause(index, MINE)]), FILES)
    known.read(encode_list(FILES), answer(clauses=[clause(index, MINE) for index in range(1000)]), FILES)
    assert len(known._known) == MOST_KNOWN
    assert max(len(body) for _, body in known._known) < 1000
