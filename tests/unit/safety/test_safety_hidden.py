"""Texts where a plain walk over a document does not look: every one is checked, and what can't be read is refused."""

from __future__ import annotations

from json import dumps
from typing import Any

import pytest

from server.inference.provider import Task
from server.safety.texts import Unreadable, answer_texts, chunk_texts, request_texts

USER = {"role": "user", "content": "hi"}
WORD = "falcon"


def asked(*messages: Any, task: Task = Task.CHAT, **more: Any) -> bytes:
    name = {Task.CHAT: "messages", Task.TEXT: "prompt", Task.EMBEDDING: "input"}[task]
    given: Any = [*messages] or [USER]
    return dumps({"model": "m", name: given if task is Task.CHAT else given[0], **more}).encode()


def texts(payload: bytes, task: Task = Task.CHAT) -> str:
    return "\n".join(said.text for said in request_texts(payload, task).said)


def call(arguments: Any) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


@pytest.mark.parametrize(
    "message",
    [
        {**USER, "role": WORD},
        {**USER, "name": WORD},
        {**USER, WORD: 1},
        {**USER, "x": {"y": [{WORD: None}]}},
        {"role": "tool", "content": "x", "tool_call_id": "the falcon"},
        {"role": "tool", "content": "x", "tool_call_id": "falcon@example.org"},
        {"role": "user", "content": [{"type": "text", "text": {"value": WORD}}]},
        {"role": "user", "content": [{"type": "text", "text": "hi", WORD: 1}]},
        {"role": "assistant", "content": "", "reasoning_details": [{"type": "reasoning.text", "text": WORD}]},
        call(dumps({"a": WORD})),
        call('{"a": "f\\u0061lcon"}'),
        call('{"a": "\\u0066\\u0061\\u006c\\u0063\\u006f\\u006e"}'),
        call({WORD: 1}),
        call({"a": [WORD]}),
    ],
)
def test_every_text_of_a_message_is_found(message: dict[str, Any]) -> None:
    assert WORD in texts(asked(message))


@pytest.mark.parametrize(
    "more",
    [
        {"prediction": {"type": "content", "content": WORD}},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": WORD}]}},
        {"reasoning_effort": WORD},
        {"verbosity": {"level": WORD}},
        {"chat_template_kwargs": {WORD: True}},
        {"documents": [{"text": WORD}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": "f\\u0061lcon"}}]},
        {"logit_bias": {WORD: 1}},
    ],
)
def test_every_text_beside_the_messages_is_found(more: dict[str, Any]) -> None:
    assert WORD in texts(asked(**more))


def test_the_texts_of_a_completion_are_found() -> None:
    for more in ({"suffix": WORD}, {"echo": True, "suffix": "f\\u0061lcon"}):
        assert WORD in texts(asked("hi", task=Task.TEXT, **more), Task.TEXT)
    assert texts(asked(["hi", WORD], task=Task.TEXT), Task.TEXT).endswith(WORD)


def test_settings_and_words_of_the_protocol_are_no_texts() -> None:
    settings: Any = {"reasoning_effort": "high", "verbosity": "low", "user": "u", "seed": 7, "modalities": ["text"]}
    messages = [USER, {**call("{}"), "reasoning_content": "so"}, {"role": "tool", "content": "x", "tool_call_id": "c"}]
    assert texts(asked(*messages, **settings)) == "hi\nso\nf\n{}\nx"
    assert texts(asked(call("{}"))) == "f\n{}"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({**USER, "audio": {"id": "a"}}, "messages[0].audio"),
        ({**USER, "images": ["AAAA"]}, "messages[0].images"),
        ({"role": "user", "content": [{"type": "text", "text": "", "image_url": "x"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": ["text"], "text": "x"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"text": "x"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}, "messages[0].content[0]"),
        ({"role": "tool", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "messages[0].content[0]"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_in_a_message_is_refused(message: dict[str, Any], param: str) -> None:
    with pytest.raises(Unreadable) as refused:
        request_texts(asked(message), Task.CHAT)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("task", "given", "more", "param"),
    [
        (Task.TEXT, "hi", {"prompt_embeds": "AAAA"}, "prompt_embeds"),
        (Task.TEXT, [1, 2], {}, "prompt"),
        (Task.TEXT, [[1, 2]], {}, "prompt"),
        (Task.TEXT, ["hi", [1]], {}, "prompt"),
        (Task.TEXT, None, {}, "prompt"),
        (Task.EMBEDDING, [1, 2], {}, "input"),
        (Task.CHAT, USER, {"modalities": ["text", "audio"]}, "modalities"),
        (Task.CHAT, USER, {"multi_modal_data": {"image": "x"}}, "multi_modal_data"),
        (Task.CHAT, USER, {"prompt_token_ids": [1]}, "prompt_token_ids"),
    ],
)
def test_what_can_not_be_read_beside_messages_is_refused(task: Task, given: Any, more: Any, param: str) -> None:
    with pytest.raises(Unreadable) as refused:
        request_texts(asked(given, task=task, **more), task)
    assert refused.value.param == param


TOKEN = {"token": "hi", "logprob": 0.0, "bytes": [104, 105], "top_logprobs": []}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "far/a b", "system_fingerprint": "fp_1",
    "usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}},
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
}  # fmt: skip


def answered(**message: Any) -> dict[str, Any]:
    choice = {**ANSWER["choices"][0], "message": {**ANSWER["choices"][0]["message"], **message}}
    return {**ANSWER, "choices": [choice]}


def with_tokens(logprobs: Any) -> dict[str, Any]:
    return {**ANSWER, "choices": [{**ANSWER["choices"][0], "logprobs": logprobs}]}


def found(answer: dict[str, Any]) -> str:
    whole = [said.text for said in answer_texts(dumps(answer).encode()).said]
    assert [slot.text for slot in chunk_texts(answer)] != []
    return "\n".join(whole)


def test_the_words_of_an_answer_are_no_texts() -> None:
    assert found({**ANSWER, "model": "far/ab"}) == "hi"
    assert found({**with_tokens({"content": [TOKEN], "refusal": None}), "model": "m"}) == "hi"


@pytest.mark.parametrize(
    "answer",
    [
        answered(reasoning_content=WORD),
        answered(refusal=WORD),
        answered(vendor={"deep": [WORD]}),
        answered(vendor={"a falcon": 1}),
        answered(annotations=[{"type": "url_citation", "url_citation": {"title": WORD, "url": "https://x.example"}}]),
        answered(tool_calls=call('{"a": "\\u0066alcon"}')["tool_calls"]),
        answered(function_call={"name": "f", "arguments": WORD}),
        {**ANSWER, "usage": {"note": WORD}},
        {**ANSWER, "system_fingerprint": "a falcon"},
        with_tokens({"content": [{**TOKEN, "token": "fal"}, {**TOKEN, "token": "con"}]}),
        with_tokens({"content": [{**TOKEN, "top_logprobs": [TOKEN, {**TOKEN, "token": WORD}]}]}),
        with_tokens({"tokens": ["fal", "con"], "token_logprobs": [0.0, 0.0]}),
        with_tokens({"tokens": ["hi"], "top_logprobs": [{"hi": 0.0, WORD: -1.0}]}),
        {**ANSWER, "prompt_logprobs": [None, {"7": {"logprob": 0.0, "decoded_token": WORD}}]},
    ],
)
def test_every_text_of_an_answer_is_found(answer: dict[str, Any]) -> None:
    assert WORD in found(answer)


@pytest.mark.parametrize(
    "answer",
    [
        answered(audio={"id": "a", "data": "AAAA", "transcript": "hi"}),
        answered(images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]),
        {**ANSWER, "data": [{"b64_json": "AAAA"}]},
    ],
)
def test_what_can_not_be_read_in_an_answer_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        answer_texts(dumps(answer).encode())
    with pytest.raises(Unreadable):
        chunk_texts(answer)


def test_a_text_without_a_place_of_its_own_can_not_be_masked() -> None:
    whole = answer_texts(dumps(answered(tool_calls=call('{"a": "\\u0066alcon"}')["tool_calls"])).encode())
    masked = [said.text.replace(WORD, "{BIRD}") for said in whole.said]
    assert not whole.put_back(masked)
