"""Shields of `remote::bedrock`, which block or mask, and of `inline::keyword`."""

from __future__ import annotations

import logging
from json import dumps
from typing import Any

import pytest

from tests.support.safety_server import Guarded, said

MASKED = {"match": "ann@example.org", "type": "EMAIL", "action": "ANONYMIZED"}
BLOCKED = {"match": "ann@example.org", "type": "EMAIL", "action": "BLOCKED"}


def intervened(*assessments: Any, outputs: tuple[str, ...] = ("masked",)) -> dict[str, Any]:
    return {
        "action": "GUARDRAIL_INTERVENED",
        "outputs": [{"text": text} for text in outputs],
        "assessments": [*assessments],
    }


def test_a_filter_that_blocks_is_a_violation(server: Guarded) -> None:
    found = server.violation("aws", said("a bomb"))
    assert found["violation_level"] == "error"
    assert found["metadata"] == {"violation_type": "VIOLENCE", "codes": ["VIOLENCE"]}
    [result] = server.moderated("a bomb", model="aws")
    assert (result["categories"]["violence"], result["category_scores"]["violence"]) == (True, 0.66)
    path, body = server.stub.asked[-1]
    assert path == "/guardrail/abc123/version/3/apply"
    assert body == {"source": "INPUT", "content": [{"text": {"text": "a bomb"}}], "outputScope": "INTERVENTIONS"}


def test_the_sides_of_a_model_are_told_apart(server: Guarded) -> None:
    server.violation("aws", said("hello"), said("hi", "assistant"))
    asked = [(body["source"], [block["text"]["text"] for block in body["content"]]) for _, body in server.stub.asked]
    assert asked == [("INPUT", ["hello"]), ("OUTPUT", ["hi"])]


def test_masking_is_not_blocking(server: Guarded) -> None:
    talk = (said("I am ann@example.org"), said("hello"), said("dear ann@example.org", "assistant"))
    found = server.violation("aws", *talk)
    assert (found["violation_level"], found["user_message"]) == ("info", None)
    assert found["metadata"]["masked"] == ["I am {EMAIL}", "hello", "dear {EMAIL}"]
    assert found["metadata"]["codes"] == ["EMAIL"]
    [result] = server.moderated("I am ann@example.org", model="aws")
    assert not result["flagged"]


@pytest.mark.parametrize(
    "verdict",
    [
        intervened(),
        intervened({}),
        intervened({"sensitiveInformationPolicy": {"piiEntities": [BLOCKED]}}),
        intervened({"sensitiveInformationPolicy": {"piiEntities": [MASKED, BLOCKED]}}),
        intervened({"sensitiveInformationPolicy": {"piiEntities": [MASKED]}}, {"newPolicy": {"found": [1]}}),
        intervened({"sensitiveInformationPolicy": {"piiEntities": [{**MASKED, "action": "TICKLED"}]}}),
        intervened({"sensitiveInformationPolicy": {"piiEntities": [{**MASKED, "action": ["NONE"]}]}}),
        intervened({"sensitiveInformationPolicy": {"piiEntities": [MASKED]}}, outputs=()),
        intervened({"sensitiveInformationPolicy": {"piiEntities": [MASKED]}}, outputs=("a", "b")),
        intervened({"sensitiveInformationPolicy": "all"}),
        intervened({"topicPolicy": {"topics": [{"name": "t", "type": "DENY", "action": "BLOCKED"}]}}),
        intervened({"wordPolicy": {"customWords": [{"match": "w", "action": "BLOCKED"}], "managedWordLists": []}}),
        {"action": "GUARDRAIL_INTERVENED"},
    ],
)
def test_whatever_is_not_masking_alone_blocks(server: Guarded, verdict: dict[str, Any]) -> None:
    server.stub.verdict = verdict
    found = server.violation("aws", said("hello"))
    assert found["violation_level"] == "error"
    assert "ann@" not in dumps(found)


@pytest.mark.parametrize("verdict", [b"", b"{}", b"<html>", b'{"action": "SHRUGGED"}', b"[]", b'{"action": ["NONE"]}'])
def test_an_answer_that_is_no_verdict_is_a_failure(server: Guarded, verdict: bytes) -> None:
    server.stub.verdict = verdict
    answer = server.run("aws", said("hello"))
    assert (answer.status, answer.error["code"]) == (503, "shield_unavailable")


def test_a_long_text_that_would_be_masked_is_blocked(server: Guarded) -> None:
    assert server.violation("aws", said("word " * 5000)) is None
    assert server.violation("aws", said("word " * 5000 + "ann@example.org"))["violation_level"] == "error"


def test_what_matched_is_never_logged(server: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        server.violation("aws", said("I am ann@example.org, with a bomb"))
    assert "ann@" not in caplog.text


@pytest.mark.parametrize(
    "text",
    ["a FALCON!", "fal\u200bcon", "\uff46\uff41\uff4c\uff43\uff4f\uff4e", "a grey\n\ngoose", "(Grey goose)", "smash"],
)
def test_words_are_found_in_every_form(server: Guarded, text: str) -> None:
    assert server.violation("words", said(text))


@pytest.mark.parametrize("text", ["falconry", "greygoose", "goose grey", "smashing"])
def test_parts_of_words_are_not_words(server: Guarded, text: str) -> None:
    assert server.violation("words", said(text)) is None


def test_the_lists_of_words_are_categories(server: Guarded) -> None:
    [result] = server.moderated("smash the falcon", model="words")
    assert [name for name, found in result["categories"].items() if found] == ["violence", "keyword"]


def contents(server: Guarded) -> list[list[tuple[str, list[str]]]]:
    """The blocks of each request to the guardrail, with their qualifiers."""
    return [
        [(block["text"]["text"], block["text"].get("qualifiers", [])) for block in body["content"]]
        for _, body in server.stub.asked
    ]


def test_an_answer_is_compared_with_its_sources(server: Guarded) -> None:
    talk = [
        said("be kind", "system"),
        said("how high?"),
        said("8849 m", "tool", tool_call_id="c"),
        said("9 km", "assistant"),
    ]
    told = {"filters": [{"type": "GROUNDING", "threshold": 0.7, "score": 0.1, "action": "BLOCKED"}]}
    assert server.violation("grounded", *talk) is None
    given, made = contents(server)
    assert given == [("be kind", []), ("how high?", []), ("8849 m", [])]
    sources = [("be kind", ["grounding_source"]), ("8849 m", ["grounding_source"]), ("how high?", ["query"])]
    assert made == [*sources, ("9 km", ["guard_content"])]
    server.stub.asked.clear()
    assert server.violation("aws", *talk) is None
    assert contents(server)[1] == [("9 km", [])]
    server.stub.verdict = intervened({"contextualGroundingPolicy": told}, outputs=("no",))
    assert server.violation("grounded", *talk[:1], talk[3])["metadata"]["codes"] == ["GROUNDING"]


def test_a_long_answer_is_compared_in_parts_and_one_without_sources_is_not(server: Guarded) -> None:
    talk = [said("the source", "system"), said("how?"), said("x" * 12_000, "assistant")]
    assert server.violation("grounded", *talk) is None
    parts = [
        [text for text, qualifiers in blocks if qualifiers == ["guard_content"]] for blocks in contents(server)[1:]
    ]
    assert [len(part) for part in parts] == [1, 1, 1]
    assert all(len(text) <= 5_000 for [text] in parts)
    server.stub.asked.clear()
    for fewer in (talk[1:], [talk[0], talk[2]]):
        server.violation("grounded", *fewer)
    assert not any(qualifiers for blocks in contents(server) for _, qualifiers in blocks)


@pytest.mark.parametrize(
    "talk",
    [
        [said("x" * 100_001, "system"), said("how?"), said("so", "assistant")],
        [said("s", "system"), said("how? " * 201), said("so", "assistant")],
    ],
)
def test_sources_that_are_too_long_are_not_cut(server: Guarded, talk: list[dict[str, Any]]) -> None:
    answer = server.run("grounded", *talk)
    assert (answer.status, answer.error["code"]) == (400, "text_too_long")


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_a_model_is_compared_with_its_sources(server: Guarded, stream: bool) -> None:
    server.judge.said = "9 km"
    body = {"model": "gpt", "messages": [said("8849 m", "system"), said("how high?")], "stream": stream}
    assert server.post("/v1/chat/completions", {**body, "guardrails": ["grounded"]}).status == 200
    made = [("8849 m", ["grounding_source"]), ("how high?", ["query"]), ("9 km", ["guard_content"])]
    assert contents(server)[-1] == made
