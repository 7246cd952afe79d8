"""Many questions in one request: one answer to the letter for each, or none for any."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from server.authz.contract.answer import read_answers
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import encode, encode_many
from server.authz.opa.connection import MAX_ANSWER
from server.authz.pdp import MOST_TOGETHER, PolicyDecisionPoint
from tests.support.broken_opa import PERMITTED, READ, answering, decision, reply, scripted, transport_to

GOOD = json.loads(PERMITTED)["result"]
DENIED = {**GOOD, "resource": json.loads(json.dumps(decision(effect="deny")))}


def together(*results: object) -> bytes:
    return json.dumps({"result": list(results)}).encode()


def test_answers_keep_the_order_of_their_questions() -> None:
    first, second = read_answers(together(GOOD, DENIED), [READ, READ])
    assert first.resource is not None
    assert second.resource is not None
    assert (first.resource.verdict, second.resource.verdict) == ("permit", "deny")


def test_each_question_goes_out_as_it_would_alone() -> None:
    alone = json.loads(encode(READ))["input"]
    assert json.loads(encode_many([READ, READ])) == {"input": {"questions": [alone, alone]}}


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
