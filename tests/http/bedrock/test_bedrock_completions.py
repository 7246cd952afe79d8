"""Completions of texts by models of Bedrock, which are asked as chats with one message."""

from __future__ import annotations

from json import loads
from typing import Any

import pytest
from openai import OpenAI

from tests.support.bedrock_server import BY_KEY, CLAUDE, Chatting, chatting
from tests.support.bedrock_stub import Event

PATH = "/v1/completions"


def test_the_sdk_completes_and_streams(running: Chatting) -> None:
    with OpenAI(base_url=f"{running.address.url}/v1", api_key="alice", max_retries=0) as client:
        for model in ("p/claude", "p/gpt"):
            answer = client.completions.create(model=model, prompt="say", max_tokens=9, temperature=0, stop=["END"])
            assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == (
                "text_completion",
                "Hello",
                "stop",
            )
            assert answer.usage is not None
            assert answer.usage.total_tokens == 5
            asked: Any = {"model": model, "prompt": "say", "stream_options": {"include_usage": True}}
            chunks = [*client.completions.create(**asked, stream=True)]
            assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Hello"
            assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.total_tokens == 5
    assert {path.rpartition("/")[2] for path, _ in running.stub.asked} == {"converse", "converse-stream"}
    assert running.stub.asked[0][1] == {
        "messages": [{"role": "user", "content": [{"text": "say"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0, "stopSequences": ["END"]},
    }


def test_several_prompts_are_asked_one_after_another(running: Chatting) -> None:
    answer = running.post(PATH, model="p/claude", prompt=["one", "two"])
    assert answer.status == 200, answer.body
    assert [(choice["index"], choice["text"]) for choice in answer.json["choices"]] == [(0, "Hello"), (1, "Hello")]
    assert answer.json["usage"]["total_tokens"] == 10
    assert [body["messages"][0]["content"][0]["text"] for _, body in running.stub.asked] == ["one", "two"]


def test_neither_thoughts_nor_calls_are_text(running: Chatting) -> None:
    thinking = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
    use = {"toolUse": {"toolUseId": "t", "name": "weather", "input": {}}}
    content = [thinking, {"text": "yes"}, use]
    running.stub.whole |= {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use"}
    [choice] = running.post(PATH, model="p/claude", prompt="say").json["choices"]
    assert choice == {"index": 0, "text": "yes", "logprobs": None, "finish_reason": "stop"}
    more: list[Event] = [
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "weather"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}),
    ]
    running.stub.events[1:1] = more
    body = running.post(PATH, model="p/claude", prompt="say", stream=True).body
    chunks = [loads(text.removeprefix(b"data: ")) for text in body.split(b"\n\n")[:-2]]
    assert "".join(choice["text"] for chunk in chunks for choice in chunk["choices"]) == "Hello"
    assert {*chunks[0]["choices"][0]} == {"index", "text", "logprobs", "finish_reason"}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": ["one", ""]}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"suffix": "end"}, "suffix"),
        ({"echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"n": 2}, "n"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_chat_has_nothing_for_is_refused(
    running: Chatting, more: dict[str, Any], param: str, stream: bool
) -> None:
    if stream and "best_of" in more:
        more = {**more, "n": 2, "best_of": None}
        param = "n"
    answer = running.post(PATH, **{"model": "p/claude", "prompt": "say", "stream": stream} | more)
    if more.get("prompt") == ["one", ""] and stream:
        # The first prompt is answered by then.
        assert b'"error"' in answer.body
        return
    assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_a_provider_of_chats_alone_completes_nothing(tmp_path: Any) -> None:
    with chatting(tmp_path, f"{BY_KEY}, chat_api: openai") as running:
        answer = running.post(PATH, model="p/gpt", prompt="say")
        assert (answer.status, answer.error["param"]) == (400, "model"), answer.body
        assert running.stub.asked == []
        assert running.chat(model="p/gpt").status == 200


def test_blocked_texts_end_as_filtered(running: Chatting) -> None:
    for reason in ("guardrail_intervened", "content_filtered"):
        running.stub.whole["stopReason"] = reason
        [choice] = running.post(PATH, model=f"p/{CLAUDE}", prompt="say").json["choices"]
        assert choice["finish_reason"] == "content_filter"


def test_prompts_that_are_too_large_together_are_told_as_such(running: Chatting) -> None:
    answer = running.post(PATH, model="p/claude", prompt=["word " * 20_000] * 2)
    assert (answer.status, answer.error["param"]) == (400, "prompt"), answer.body
    assert "too large together" in answer.error["message"]
