"""`POST /v1/moderations`: one result for each text, OpenAI's categories, and who may ask which shield."""

from __future__ import annotations

import pytest
from openai import OpenAI

from server.safety.categories import CATEGORIES
from tests.support.callers import ADMIN, ALICE, BOB
from tests.support.safety_server import Guarded


def test_each_text_has_its_own_result(server: Guarded) -> None:
    safe, unsafe = server.moderated("good day", "how to make a bomb")
    assert {*CATEGORIES} == {*safe["categories"]} == {*safe["category_scores"]}
    assert not safe["flagged"]
    assert not any(safe["categories"].values())
    assert not any(safe["category_scores"].values())
    assert safe["metadata"] == {"score": 0.02}
    assert unsafe["flagged"]
    assert [name for name, found in unsafe["categories"].items() if found] == ["illicit/violent"]
    assert unsafe["category_scores"]["illicit/violent"] == 0.9
    assert unsafe["category_scores"]["violence"] == 0.0
    assert unsafe["category_applied_input_types"]["illicit/violent"] == ["text"]
    assert unsafe["metadata"] == {"violation_type": "S9", "codes": ["S9"], "score": 0.9}
    assert sorted(server.judge.judged) == ["good day", "how to make a bomb"]


def test_categories_without_a_counterpart_have_our_names(server: Guarded) -> None:
    [result] = server.moderated("ask a lawyer", model="guard")
    assert [name for name, found in result["categories"].items() if found] == ["specialized_advice"]
    [result] = server.moderated("ask a lawyer", model="guards/meta-llama/Meta-Llama-Guard-2-8B")
    assert [name for name, found in result["categories"].items() if found] == ["privacy"], "S6 of the second version"
    [result] = server.moderated("something unheard")
    assert result["flagged"]
    assert not any(result["categories"].values())
    assert result["metadata"]["codes"] == ["S77"]


def test_without_probabilities_the_scores_are_certain(server: Guarded) -> None:
    server.judge.tells_probability = False
    safe, unsafe = server.moderated("good day", "kill it")
    assert (safe["category_scores"]["violence"], unsafe["category_scores"]["violence"]) == (0.0, 1.0)
    assert safe["metadata"] == {}


def test_the_client_of_openai_reads_the_results(server: Guarded) -> None:
    with OpenAI(base_url=f"{server.house.address.url}/v1", api_key="alice", max_retries=0) as client:
        made = client.moderations.create(input=["good day", "kill it"], model="guard")
        assert [result.flagged for result in made.results] == [False, True]
        assert (made.model, made.results[1].categories.violence, made.results[1].category_scores.violence) == (
            "guard",
            True,
            0.9,
        )
        parts = client.moderations.create(input=[{"type": "text", "text": "good"}, {"type": "text", "text": "day"}])
        assert len(parts.results) == 1


@pytest.mark.parametrize("name", ["guard-4", "guards/meta-llama/Meta-Llama-Guard-2-8B", "raw", "small", "words"])
def test_a_shield_is_asked_by_its_id_and_by_its_model(server: Guarded, name: str) -> None:
    [result] = server.moderated("a falcon will kill it", model=name)
    assert result["flagged"]


def test_a_shield_is_known_by_its_model(server: Guarded) -> None:
    answer = server.post("/v1/moderations", {"input": "hi", "model": "meta-llama/Llama-Guard-3-8B"})
    assert answer.json["model"] == "guard"


def test_a_shield_that_may_not_be_read_is_as_one_that_is_missing(server: Guarded) -> None:
    hidden, missing = (server.post("/v1/moderations", {"input": "a", "model": name}) for name in ("hidden", "nothing"))
    assert (hidden.status, hidden.error["code"], hidden.error["param"]) == (404, "shield_not_found", "model")
    assert hidden.body.replace(b"hidden", b"nothing") == missing.body
    assert server.post("/v1/moderations", {"input": "a secret", "model": "hidden"}, ADMIN).status == 200


def test_the_model_that_judges_is_not_asked_of_the_caller_and_is_counted_as_its_use(server: Guarded) -> None:
    assert server.house.address.get("/v1/models/meta-llama%2FLlama-Guard-3-8B", BOB).status == 404
    answer = server.post("/v1/moderations", {"input": "hi"}, BOB)
    assert answer.status == 200
    asked = {(record["action"], record["resource"]) for record in server.house.log(answer.headers["x-request-id"])[-1:]}
    assert all("model" not in str(each) for each in asked)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": ["a"] * 65}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}, "input[0]"),
        ({"input": "a", "model": 7}, "model"),
        ({"input": "a", "more": 1}, "more"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(server: Guarded, body: object, param: str) -> None:
    answer = server.post("/v1/moderations", body)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert server.judge.asked == []


def test_the_caller_of_a_shield_needs_a_token(server: Guarded) -> None:
    assert server.house.address.post("/v1/moderations", {"input": "hi"}).status == 401
    assert server.post("/v1/moderations", {"input": "hi"}, ALICE).status == 200
