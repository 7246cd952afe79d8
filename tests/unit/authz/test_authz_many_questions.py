"""Many questions in one request: one answer to the letter for each, or none for any."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Action, Anonymous, Principal, Resource
from server.authz.contract.answer import read_answers
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import Question, encode, encode_many
from server.authz.opa.connection import MAX_ANSWER
from server.authz.pdp import MOST_TOGETHER, PolicyDecisionPoint
from tests.support.broken_opa import (
    ALICE,
    BOTH,
    PERMITTED,
    READ,
    ROUTE,
    answering,
    decision,
    reply,
    scripted,
    transport_to,
)

GOOD = json.loads(PERMITTED)["result"]
DENIED = {**GOOD, "resource": json.loads(json.dumps(decision(effect="deny")))}


def together(*results: object) -> bytes:
    return json.dumps({"result": list(results)}).encode()


def test_answers_keep_the_order_of_their_questions() -> None:
    first, second = read_answers(together(GOOD, DENIED), [READ, READ])
    assert first.resource is not None
    assert second.resource is not None
    assert (first.resource.verdict, second.resource.verdict) == ("permit", "deny")


BOB = Principal("bob", "https://issuer.example", {"teams": tuple(f"team-{number}" for number in range(150))})
LONGEST = 100_000


def owned(owner: Principal | None, caller: Principal | Anonymous = BOB, number: int = 0) -> Question:
    return Question(caller, action=Action.READ, resource=Resource("prompt", (f"prompt_{number}",), owner))


def in_full(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The questions of an exchange, each as it would be asked alone."""

    def named(one: Any) -> Any:
        return asked["principals"][one] if isinstance(one, int) else one

    full = []
    for question in asked["questions"]:
        parts = {**question, "principal": named(question["principal"])}
        if "resource" in question:
            parts["resource"] = {**question["resource"], "owner": named(question["resource"]["owner"])}
        full.append(parts)
    return full


def test_each_question_goes_out_as_it_would_alone_and_each_principal_once() -> None:
    copy = Principal(BOB.id, BOB.issuer, dict(BOB.attributes))
    asked = [READ, BOTH, owned(None), owned(copy), owned(ALICE, ALICE), owned(BOB, Anonymous()), ROUTE, READ]
    body, count = encode_many(asked, LONGEST)
    found = json.loads(body)["input"]
    assert count == len(asked)
    assert in_full(found) == [json.loads(encode(question))["input"] for question in asked]
    assert [principal["id"] for principal in found["principals"]] == ["alice", "bob"]
    assert found["questions"][5]["principal"] is None


def test_a_caller_with_many_groups_adds_little_for_each_question() -> None:
    one, _ = encode_many([owned(BOB)], LONGEST)
    many, count = encode_many([owned(BOB, number=number) for number in range(100)], LONGEST)
    assert count == 100
    assert (len(many) - len(one)) / 99 < 130


@pytest.mark.parametrize("longest", [1, 400, 3_000, 5_000, 9_999])
def test_the_further_questions_of_an_exchange_are_as_long_as_they_may_be_and_no_longer(longest: int) -> None:
    owners = [Principal(f"é{number}", "i", {"teams": ("t" * 300,)}) for number in range(7)]
    asked = [owned(owners[number // 4], ALICE, number) for number in range(28)]
    found = list[dict[str, Any]]()
    while left := asked[len(found) :]:
        body, count = encode_many(left, longest)
        assert count > 0
        first_alone = len(encode_many(left[:1], LONGEST)[0])
        assert len(body) - first_alone <= longest
        assert count == len(left) or len(encode_many(left[: count + 1], LONGEST)[0]) - first_alone > longest
        used = json.loads(body)["input"]
        first = len(found)
        assert len(used["principals"]) == 1 + len({number // 4 for number in range(first, first + count)})
        found += in_full(used)
    assert found == [json.loads(encode(question))["input"] for question in asked]


NOT_TEXT: Any = "admin"


@pytest.mark.parametrize("odd", [Principal("\ud800", "i", {}), Principal("a", "i", {"roles": NOT_TEXT})])
def test_what_is_not_text_is_not_asked_together_either(odd: Principal) -> None:
    for question in (owned(odd), owned(None, odd)):
        with pytest.raises(PolicyUnavailable) as refused:
            encode_many([READ, question], LONGEST)
        assert refused.value.failure is Failure.QUESTION


@pytest.mark.parametrize(
    "body",
    [
        together(GOOD),
        together(GOOD, GOOD, GOOD),
        together(GOOD, None),
        together(GOOD, {}),
        together(GOOD, True),
        together(GOOD, {**GOOD, "extra": 1}),
        together(GOOD, {**GOOD, "contract": 2}),
        together(GOOD, {**GOOD, "resource": {**GOOD["resource"], "effect": True}}),
        PERMITTED,
        b'{"result": null}',
        b"{}",
    ],
)
def test_anything_but_one_good_answer_for_each_question_answers_none(body: bytes) -> None:
    with pytest.raises(PolicyUnavailable) as refused:
        read_answers(body, [READ, READ])
    assert refused.value.failure is Failure.MALFORMED


def test_one_answer_of_another_revision_answers_none(tmp_path: Path) -> None:
    body = together(GOOD, {**GOOD, "revision": "r2"})

    async def ask() -> None:
        async with scripted(answering(reply(body)), tmp_path / "s") as peer, transport_to(peer.address) as transport:
            pdp = PolicyDecisionPoint(transport, "r1")
            with pytest.raises(PolicyUnavailable) as refused:
                await pdp.ask_many([READ, READ])
            assert refused.value.failure is Failure.REVISION
            assert pdp.failures[Failure.REVISION] == 1

    asyncio.run(ask())


def test_a_full_request_of_long_answers_is_within_the_limit() -> None:
    long = {**GOOD, "resource": {**GOOD["resource"], "description": "x" * 2_000}}
    assert len(together(*[long] * MOST_TOGETHER)) < MAX_ANSWER
