"""Shields that the policy requires: on the input, before the model is asked, and on the output, before it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ADMIN, ALICE, BOB
from tests.support.safety_server import CONFIG, Guarded, guarded, said
from tests.support.serving import Answer

POLICY = """
        - permit: {actions: [create, read, update, delete]}
          when: user with admin in roles
        - permit: {actions: [read], resource: "model::gpt"}
          shields: [hidden, words]
          when: user with alice in roles
        - permit: {actions: [read], resource: "model::gpt"}
          shields: [aws]
          when: user with bob in roles
        - permit: {actions: [read], resource: "model::gpt"}
          shields: [guard]
          when: user with carol in roles
        - permit: {actions: [read, create, delete, update]}
"""
"""`alice` may not name the shield `hidden` to anyone, and goes through it all the same."""

CAROL = "Authorization: Bearer carol"
CHATS = "/v1/chat/completions"
BODY = {"model": "gpt", "messages": [said("hello")]}
WORD = "a falcon"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "falcon"}'}}


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(opa_binary, tmp_path_factory.mktemp("required"), text=CONFIG, policy=POLICY) as server:
        yield server


def chat(server: Guarded, *messages: dict[str, Any], caller: str = ALICE, **more: Any) -> Answer:
    return server.post(CHATS, {"model": "gpt", "messages": [*messages], **more}, caller)


def events(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n"), answer.body
    return [loads(event.removeprefix(b"data: ")) for event in answer.body.split(b"\n\n")[:-2]]


def told(answer: Answer) -> tuple[str, str | None, str]:
    """The content, the refusal and the last reason of a stream."""
    choices = [choice for chunk in events(answer) for choice in chunk["choices"]]
    content = "".join(choice["delta"].get("content") or "" for choice in choices)
    refusal = "".join(choice["delta"].get("refusal") or "" for choice in choices) or None
    return content, refusal, choices[-1]["finish_reason"]


def test_what_no_shield_flags_passes_as_it_is(server: Guarded) -> None:
    answer = chat(server, said("hello"))
    assert answer.json["choices"][0]["message"]["content"] == "you say: hello"
    assert told(chat(server, said("hello"), stream=True)) == ("you say: hello", None, "stop")
    long = "word " * 1000
    assert told(chat(server, said(long), stream=True))[0] == f"you say: {long}"


def test_an_input_that_is_flagged_reaches_no_model(server: Guarded) -> None:
    answer = chat(server, said(WORD))
    [choice] = answer.json["choices"]
    assert (answer.status, choice["finish_reason"]) == (200, "content_filter")
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (None, "a shield has stopped this text")
    assert answer.json["model"] == "far/gpt"
    assert told(chat(server, said(WORD), stream=True)) == ("", "a shield has stopped this text", "content_filter")
    assert server.judge.chats == []


@pytest.mark.parametrize(
    "messages",
    [
        [said(WORD, "system"), said("hi")],
        [said(WORD, "assistant"), said("hi")],
        [said([{"type": "text", "text": WORD}])],
        [said("hi"), said(None, "assistant", tool_calls=[CALL]), said("x", "tool", tool_call_id="c")],
        [said("hi"), said("", "assistant", function_call={"name": "f", "arguments": "falcon"}), said("go on")],
        [said("hi"), said("x", "assistant"), said("the falcon", "tool", tool_call_id="c")],
        [said("hi", name="falcon")],
        [said("hi", "assistant", refusal="no falcon"), said("hi")],
        [said("hi", "assistant", reasoning_content="a falcon"), said("hi")],
    ],
)  # fmt: skip
def test_every_text_of_a_conversation_is_checked(server: Guarded, messages: list[dict[str, Any]]) -> None:
    answer = chat(server, *messages)
    assert answer.json["choices"][0]["finish_reason"] == "content_filter", answer.body
    assert server.judge.chats == []


def test_texts_beside_the_conversation_are_checked(server: Guarded) -> None:
    function = {"name": "f", "description": "finds a falcon", "parameters": {"type": "object", "properties": {}}}
    schema = {"name": "s", "schema": {"type": "object", "properties": {"falcon": {"type": "string"}}}}
    for more in (
        {"tools": [{"type": "function", "function": function}]},
        {"response_format": {"type": "json_schema", "json_schema": schema}},
        {"stop": ["falcon"]},
    ):
        assert chat(server, said("hi"), **more).json["choices"][0]["finish_reason"] == "content_filter", more
    assert server.judge.chats == []


@pytest.mark.parametrize("text", ["a falcon flies", "x " * 700 + "falcon", "falcon " + "x " * 700, "grey  goose " * 90])
def test_an_output_that_is_flagged_is_not_sent(server: Guarded, text: str) -> None:
    server.judge.said = text
    [choice] = chat(server, said("hi")).json["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "content_filter")
    streamed = chat(server, said("hi"), stream=True)
    content, refusal, reason = told(streamed)
    assert (refusal, reason) == ("a shield has stopped this text", "content_filter")
    assert "falc" not in content
    assert "goose" not in content


def test_calls_of_tools_are_checked_like_texts(server: Guarded) -> None:
    arguments = dumps({"what": "x " * 300 + "falcon"})
    server.judge.calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    [choice] = chat(server, said("hi")).json["choices"]
    assert choice["finish_reason"] == "content_filter"
    assert "tool_calls" not in choice["message"]
    answer = chat(server, said("hi"), stream=True)
    assert b"falc" not in answer.body
    assert told(answer)[2] == "content_filter"


def test_completions_go_through_shields(server: Guarded) -> None:
    for stream in (False, True):
        answer = server.post("/v1/completions", {"model": "gpt", "prompt": ["hi", WORD], "stream": stream})
        assert b"content_filter" in answer.body, answer.body
        assert b"and more" not in answer.body
    assert server.judge.chats == []
    passed = server.post("/v1/completions", {"model": "gpt", "prompt": "hi"})
    assert passed.json["choices"][0]["text"] == "hi and more"
    ids = server.post("/v1/completions", {"model": "gpt", "prompt": [1, 2]})
    assert (ids.status, ids.error["code"], ids.error["param"]) == (400, "not_checked", "prompt")


def test_what_no_shield_reads_is_refused(server: Guarded) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    answer = chat(server, said([{"type": "text", "text": "hi"}, image]))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (
        400,
        "not_checked",
        "messages[0].content[1]",
    )
    assert server.judge.chats == []


def test_a_masked_text_goes_on_masked(server: Guarded) -> None:
    answer = chat(server, said("I am ann@example.org"), caller=BOB)
    assert answer.json["choices"][0]["message"]["content"] == "you say: I am {EMAIL}"
    assert server.judge.chats[-1]["messages"][0]["content"] == "I am {EMAIL}"
    server.judge.said = "dear ann@example.org"
    assert chat(server, said("hi"), caller=BOB).json["choices"][0]["message"]["content"] == "dear {EMAIL}"
    content, refusal, _ = told(chat(server, said("hi"), caller=BOB, stream=True))
    assert (content, refusal) == ("", "a shield has stopped this text")


@pytest.mark.parametrize("stream", [False, True])
def test_a_shield_without_a_verdict_lets_nothing_pass(server: Guarded, stream: bool) -> None:
    server.judge.answer = "I can't say"
    answer = chat(server, said("hi"), caller=CAROL, stream=stream)
    assert (answer.status, answer.error["code"]) == (503, "shield_unavailable")
    assert server.judge.chats == []


def test_a_judge_sees_what_the_answer_answers(server: Guarded) -> None:
    server.judge.said = "with a bomb"
    assert chat(server, said("how?"), caller=CAROL).json["choices"][0]["finish_reason"] == "content_filter"
    roles = [[message["role"] for message in body["messages"]] for body in server.judge.asked]
    assert roles == [["user"], ["user", "assistant"]]


def test_whom_no_rule_asks_goes_through_none(server: Guarded) -> None:
    answer = chat(server, said(WORD), caller=ADMIN)
    assert answer.json["choices"][0]["message"]["content"] == f"you say: {WORD}"


def test_verdicts_stand_in_the_decision_log(server: Guarded) -> None:
    answer = chat(server, said(WORD))
    lines = [line for line in server.house.log(answer.headers["x-request-id"]) if line["kind"] == "shield"]
    assert [(line["shield"], line["direction"], line["outcome"], line["codes"]) for line in lines] == [
        ("hidden", "input", "passed", []),
        ("words", "input", "flagged", ["keyword"]),
    ]
    assert all(line["characters"] == len(WORD) for line in lines)
    assert "falcon" not in str(lines)
    answer = chat(server, said("hi"), stream=True)
    lines = [line for line in server.house.log(answer.headers["x-request-id"]) if line["kind"] == "shield"]
    assert [(line["direction"], line["characters"]) for line in lines] == [("input", 2)] * 2 + [("output", 11)] * 2
