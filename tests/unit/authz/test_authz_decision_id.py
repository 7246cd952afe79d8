"""OPA's decision id: taken where it is one, and an answer is believed to the letter with it as without it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policy.vocabulary import Action, Principal, Resource
from server.authz.contract.answer import read_answer, read_answers, read_undecided
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, Question
from server.authz.contract.record_filter import read_filter
from tests.support.broken_opa import ALICE, BOTH, CREATE, READ, ROUTE, answer, decision, stamp

ID = "74a831f1-d303-4270-bb12-206f169e36a6"


def identified(body: bytes, **members: Any) -> bytes:
    """The answer with further members beside its `result`."""
    return json.dumps({**json.loads(body), **members}).encode()


PERMITTED = answer(resource=decision())


def test_an_answer_of_any_kind_may_carry_one() -> None:
    assert read_answer(identified(PERMITTED, decision_id=ID), READ).decision_id == ID
    assert read_answer(PERMITTED, READ).decision_id is None
    together = json.dumps({"result": [json.loads(PERMITTED)["result"]] * 2, "decision_id": ID}).encode()
    assert [each.decision_id for each in read_answers(together, [READ, READ])] == [ID, ID]
    assert read_undecided(identified(answer(), decision_id=ID)) == "r1"
    question = ListQuestion(ALICE, Action.READ, "prompt")
    assert read_filter(identified(answer(clauses=[]), decision_id=ID), question).decision_id == ID


@pytest.mark.parametrize(
    "members",
    [
        {"decision_id": None},
        {"decision_id": ""},
        {"decision_id": 1},
        {"decision_id": [ID]},
        {"decision_id": "two\nlines"},
        {"decision_id": "caf\u00e9"},
        {"decision_id": "x" * 65},
        {"decision_id": ID, "warning": {}},
        {"warning": {}},
        {"metrics": {}},
    ],
)
def test_anything_else_beside_the_result_breaks_the_contract(members: dict[str, Any]) -> None:
    for read in (
        lambda body: read_answer(body, READ),
        lambda body: read_answer(body, CREATE),
        lambda body: read_answers(body, [READ]),
        read_undecided,
    ):
        with pytest.raises(PolicyUnavailable) as caught:
            read(identified(PERMITTED, **members))
        assert caught.value.failure is Failure.MALFORMED


def test_equal_answers_to_unlike_questions_are_judged_by_their_own_question() -> None:
    for _ in range(2):
        assert read_answer(PERMITTED, READ).resource is not None
        for other in (ROUTE, BOTH):
            with pytest.raises(PolicyUnavailable):
                read_answer(PERMITTED, other)


def test_an_owner_is_compared_each_time() -> None:
    created = answer(resource=decision(obligations=[stamp()]))
    bob = Question(Principal("bob"), None, Action.CREATE, Resource("prompt", ("p",)))
    for _ in range(2):
        permit = read_answer(created, CREATE).resource
        assert permit is not None
        assert permit.obligations[0].owner == ALICE
        for other in (bob, READ):
            with pytest.raises(PolicyUnavailable):
                read_answer(created, other)
        with pytest.raises(PolicyUnavailable):
            read_answer(PERMITTED, CREATE)
