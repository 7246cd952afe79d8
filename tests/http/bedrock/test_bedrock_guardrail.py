"""A guardrail of the configuration: what is asked of Bedrock, and what a blocked answer looks like."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from typing import Any

import pytest

from tests.support.bedrock_server import BY_KEY, Chatting, chatting
from tests.support.bedrock_stub import TEXT, Event

GUARD = f"{BY_KEY}, guardrail: {{id: abc123, version: 2}}"
CONFIG = {"guardrailIdentifier": "abc123", "guardrailVersion": "2", "trace": "disabled"}
BLOCKED = "this is not answered here"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALLS: list[Event] = [
    ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "weather"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"at":1}'}}}),
]
USE = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"at": 1}}}
THOUGHT: Event = ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}})


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatting]:
    with chatting(tmp_path_factory.mktemp("strict"), GUARD) as running:
        yield running


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatting]:
    with chatting(tmp_path_factory.mktemp("lenient"), GUARD.replace("2}", "2, allow_unread: true}")) as running:
        yield running


@pytest.fixture(params=["strict", "lenient"])
def running(request: pytest.FixtureRequest) -> Chatting:
    chosen: Chatting = request.getfixturevalue(request.param)
    return fresh(chosen)


def fresh(running: Chatting) -> Chatting:
    running.stub.renew()
    return running


def stopped(running: Chatting, reason: Any, *, text: str = BLOCKED, calls: bool = False) -> None:
    """Let the stub end its answers for a reason."""
    content = [{"text": text}, *([USE] if calls else [])]
    running.stub.whole |= {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason}
    said: Event = ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
    stop: Event = ("messageStop", {"stopReason": reason})
    running.stub.events = [TEXT[0], THOUGHT, said, *(CALLS if calls else []), stop, TEXT[-1]]


def streamed(running: Chatting, **more: Any) -> tuple[dict[str, Any], str | None]:
    """The sum of the deltas of a stream, and the reason of its end."""
    whole: dict[str, Any] = {}
    reason = None
    for chunk in running.chunks(**more):
        for choice in chunk["choices"]:
            for name, value in choice["delta"].items():
                whole[name] = whole.get(name, type(value)()) + value
            reason = choice["finish_reason"] or reason
    return whole, reason


def test_every_chat_and_completion_is_read_by_it(running: Chatting) -> None:
    asked = {"role": "user", "content": "hi"}
    for model in ("p/claude", "p/gpt"):
        assert running.chat({"role": "system", "content": "short"}, asked, model=model).status == 200
        assert running.chat(asked, model=model, stream=True).status == 200
        assert running.post("/v1/completions", model=model, prompt="hi").status == 200
        assert running.post("/v1/completions", model=model, prompt="hi", stream=True).status == 200
    configs = [body["guardrailConfig"] for _, body in running.stub.asked]
    assert configs == [CONFIG, {**CONFIG, "streamProcessingMode": "sync"}] * 4
    # What isn't marked is not read of a system text.
    assert running.stub.asked[0][1]["system"] == [{"guardContent": {"text": {"text": "short"}}}]


def test_no_caller_switches_it_off(running: Chatting) -> None:
    off = {"guardrailIdentifier": "other", "guardrailVersion": "1"}
    for name in ("guardrailConfig", "guardrail", "amazon-bedrock-guardrailConfig"):
        assert running.chat(**{name: off}).status == 400
    assert running.stub.asked == []


@pytest.mark.parametrize("reason", ["guardrail_intervened", "content_filtered"])
@pytest.mark.parametrize("calls", [False, True])
def test_a_blocked_answer_never_looks_like_an_ordinary_one(lenient: Chatting, reason: str, calls: bool) -> None:
    running = fresh(lenient)
    stopped(running, reason, calls=calls)
    [choice] = running.chat(tools=[TOOL]).json["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", BLOCKED)
    assert choice["message"]["refusal"]
    assert {*choice["message"]} == {"role", "content", "refusal"}
    assert streamed(running, tools=[TOOL]) == (choice["message"], "content_filter")


def test_calls_that_nothing_stopped_come_whole(lenient: Chatting) -> None:
    running = fresh(lenient)
    stopped(running, "tool_use", text="let me see", calls=True)
    [choice] = running.chat(tools=[TOOL]).json["choices"]
    assert (choice["finish_reason"], len(choice["message"]["tool_calls"])) == ("tool_calls", 1)
    whole, reason = streamed(running, tools=[TOOL])
    assert reason == "tool_calls"
    assert [piece.get("id") for piece in whole["tool_calls"]] == ["t1", None]


def test_a_stream_with_calls_without_end_is_cut(lenient: Chatting) -> None:
    running = fresh(lenient)
    stopped(running, "tool_use", calls=True)
    running.stub.events[4:4] = [
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "x" * 300_000}}})
    ] * 4
    body = running.chat(stream=True, tools=[TOOL]).body
    assert b'"error"' in body
    assert b"xxx" not in body


@pytest.mark.parametrize("reason", ["guardrail_blocked", "", None, 5, ["guardrail_intervened"]])
def test_an_unknown_end_is_no_answer(running: Chatting, reason: Any) -> None:
    stopped(running, reason)
    assert running.chat().status == 502
    body = running.chat(stream=True).body
    assert b'"error"' in body
    assert b"[DONE]" not in body


def test_thoughts_are_not_shown(running: Chatting) -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
    running.stub.whole["output"] = {"message": {"role": "assistant", "content": [thought, {"text": "yes"}]}}
    assert running.chat().json["choices"][0]["message"] == {"role": "assistant", "content": "yes"}
    running.stub.events.insert(1, THOUGHT)
    assert streamed(running)[0] == {"role": "assistant", "content": "Hello"}


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,aGk="}}
DOCUMENT = {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
CALLED = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "weather", "arguments": "{}"}}]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "sun"}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "more", "param"),
    [
        ([user("hi")], {"tools": [TOOL]}, "tools"),
        ([user("hi")], {"functions": [TOOL["function"]]}, "tools"),
        ([user("hi"), CALLED, RESULT], {}, "tools"),
        ([user("hi")], {"response_format": FORM}, "response_format"),
        ([user([PICTURE])], {}, "messages"),
        ([user([DOCUMENT])], {}, "messages"),
    ],
)
def test_what_it_does_not_read_is_refused_unless_the_configuration_lets_it_pass(
    messages: list[Any], more: dict[str, Any], param: str, strict: Chatting, lenient: Chatting
) -> None:
    answer = fresh(strict).chat(*messages, **more)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
    assert strict.stub.asked == []
    assert fresh(lenient).chat(*messages, **more).status == 200


def test_pictures_that_it_reads_pass(strict: Chatting) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert fresh(strict).chat(user([picture])).status == 200


def test_a_guardrail_that_is_not_there_is_the_providers_fault(running: Chatting) -> None:
    words = "The guardrail identifier or version provided in the request does not exist."
    running.stub.refusal = (400, "ValidationException", words)
    for stream in (False, True):
        answer = running.chat(stream=stream)
        assert (answer.status, answer.error["code"]) == (502, "server_error"), answer.body
    running.stub.refusal = (429, "ThrottlingException", "Guardrail: too many requests")
    assert running.chat().status == 429


def test_nothing_is_embedded_past_it(running: Chatting) -> None:
    answer = running.post("/v1/embeddings", model="p/titan", input="hi")
    assert (answer.status, answer.error["param"]) == (400, "model"), answer.body
    assert running.stub.asked == []


def test_blocked_completions_end_as_filtered(running: Chatting) -> None:
    stopped(running, "guardrail_intervened")
    [choice] = running.post("/v1/completions", model="p/claude", prompt="hi").json["choices"]
    assert (choice["text"], choice["finish_reason"]) == (BLOCKED, "content_filter")
    body = running.post("/v1/completions", model="p/claude", prompt="hi", stream=True).body
    chunks = [loads(text.removeprefix(b"data: ")) for text in body.split(b"\n\n")[:-2]]
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"


def test_a_blocked_chat_is_stored_as_it_was_told(running: Chatting) -> None:
    stopped(running, "guardrail_intervened")
    whole = running.chat(store=True).json
    streamed = running.chat(store=True, stream=True).body
    told = loads(streamed.split(b"\n\n")[0].removeprefix(b"data: "))["id"]
    for identity in (whole["id"], told):
        kept = running.address.get(f"/v1/chat/completions/{identity}", "Authorization: Bearer alice").json
        [choice] = kept["choices"]
        assert (choice["finish_reason"], choice["message"]["refusal"]) == (
            "content_filter",
            whole["choices"][0]["message"]["refusal"],
        )
