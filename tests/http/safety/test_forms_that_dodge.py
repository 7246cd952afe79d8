"""Forms of a request that bring a text, or something else, past a plain look at its messages: all meet the shields."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE
from tests.support.safety_server import CONFIG, Guarded, guarded, said
from tests.support.serving import Answer
from tests.support.socket_client import opened

VECTORS = "{model_id: vectors, provider_id: far, model_type: embedding, metadata: {embedding_dimension: 8}}"
TEXT = CONFIG.replace(
    'far, provider_type: remote::vllm, config: {url: "JUDGE"',
    'far, provider_type: remote::vllm, config: {url: "JUDGE", allow_members: ["*"]',
).replace("    models:\n", f"    models:\n    - {VECTORS}\n    - {{model_id: free, provider_id: far}}\n")
POLICY = """
        - permit: {actions: [read], resource: "model::far/gpt"}
          shields: [words]
        - permit: {actions: [create, read, update, delete]}
"""
WORD = "a falcon"
HIDDEN = "a f\\u0061lcon"
IMAGE = "data:image/png;base64,AAAA"
AS_PARTS: dict[str, Any] = {
    "/v1/chat/completions": {"messages": [said([{"type": "image_url", "image_url": {"url": IMAGE}}])]},
    "/v1/responses": {"input": [said([{"type": "input_image", "image_url": IMAGE}])]},
    "/v1/messages": {
        "max_tokens": 9,
        "messages": [
            said([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]),
        ],
    },
}


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(opa_binary, tmp_path_factory.mktemp("forms"), text=TEXT, policy=POLICY) as server:
        yield server


def chat(server: Guarded, *messages: dict[str, Any], **more: Any) -> Answer:
    return server.post("/v1/chat/completions", {"model": "gpt", "messages": [*messages] or [said("hi")], **more})


def response(server: Guarded, given: Any = "hi", **more: Any) -> Answer:
    return server.post("/v1/responses", {"model": "gpt", "input": given, **more})


def stopped(answer: Answer) -> bool:
    assert answer.status == 200, answer.body
    return b"content_filter" in answer.body


@pytest.mark.parametrize("path", AS_PARTS)
@pytest.mark.parametrize("asked", [{"model": "gpt"}, {"model": "free", "guardrails": ["words"]}])
@pytest.mark.parametrize("stream", [False, True])
def test_an_image_is_never_silently_passed(server: Guarded, path: str, asked: dict[str, Any], stream: bool) -> None:
    answer = server.post(path, {**asked, **AS_PARTS[path], "stream": stream})
    assert (answer.status, server.judge.chats) == (400, []), answer.body
    assert b"holds something that a shield of this request does not read" in answer.body
    assert server.post(path, {**AS_PARTS[path], "model": "free"}).status == 200, "nothing is required here"


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2, "messages": [said("hi"), said(WORD)]},
        {"prediction": {"type": "content", "content": WORD}},
        {"messages": [said("hi", name="falcon")]},
        {"messages": [said("hi"), said("", "assistant", reasoning="falcon"), said("go on")]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": HIDDEN, "parameters": {}}}]},
        {"reasoning_effort": "falcon"},
        {"chat_template_kwargs": {"falcon": True}},
        {"vendor_member": {"deep": [WORD]}},
    ],
)
def test_texts_beside_messages_are_checked(server: Guarded, more: dict[str, Any]) -> None:
    assert stopped(chat(server, **{"messages": [said("hi")], **more}))
    assert server.judge.chats == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": [said("hi")], "modalities": ["text", "audio"]}, "modalities"),
        ("/v1/chat/completions", {"messages": [said("hi", images=["AAAA"])]}, "messages[0].images"),
        ("/v1/chat/completions", {"messages": [said("hi")], "multi_modal_data": {"a": 1}}, "multi_modal_data"),
        ("/v1/completions", {"prompt": "hi", "prompt_embeds": "AAAA"}, "prompt_embeds"),
        ("/v1/completions", {"prompt": [1, 2]}, "prompt"),
        ("/v1/completions", {"prompt": [[1], [2]]}, "prompt"),
    ],
)
def test_what_is_no_text_is_refused(server: Guarded, path: str, body: dict[str, Any], param: str) -> None:
    answer = server.post(path, {"model": "gpt", **body})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "not_checked", param), answer.body
    assert server.judge.chats == []


def test_texts_of_completions_are_checked(server: Guarded) -> None:
    for more in ({"suffix": WORD}, {"prompt": WORD, "echo": True}, {"prompt": ["hi", WORD], "n": 2}):
        assert stopped(server.post("/v1/completions", {"model": "gpt", "prompt": "hi", **more}))
    assert server.judge.chats == []


@pytest.mark.parametrize("stream", [False, True])
def test_what_an_answer_has_beside_its_text_is_checked(server: Guarded, stream: bool) -> None:
    for beside in ({"vendor": {"note": WORD}}, {"prompt_logprobs": [{"1": {"decoded_token": WORD}}]}):
        server.judge.beside = beside
        answer = chat(server, stream=stream)
        assert stopped(answer), beside
        assert b"falcon" not in answer.body
    server.judge.beside = {"images": [{"image_url": {"url": IMAGE}}]}
    answer = chat(server, stream=stream)
    assert b"shield_unavailable" in answer.body
    assert b"AAAA" not in answer.body


@pytest.mark.parametrize("stream", [False, True])
def test_escapes_in_arguments_of_calls_are_read(server: Guarded, stream: bool) -> None:
    function = {"name": "f", "arguments": '{"what": "\\u0066alcon"}'}
    server.judge.calls = [{"id": "c", "type": "function", "function": function}]
    for answer in (chat(server, stream=stream), response(server, stream=stream)):
        assert stopped(answer)
        assert b"0066" not in answer.body


def test_items_that_were_placed_without_a_model_are_checked(server: Guarded) -> None:
    conversation = server.post("/v1/conversations", {"items": [{"type": "message", **said(WORD)}]}).json["id"]
    assert stopped(response(server, conversation=conversation))
    later = server.post("/v1/conversations", {}).json["id"]
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": WORD}]}
    assert server.post(f"/v1/conversations/{later}/items", {"items": [item]}).status == 200
    assert stopped(response(server, conversation=later))
    assert server.judge.chats == []
    first = response(server, WORD, model="free").json["id"]
    server.judge.chats.clear()
    assert stopped(response(server, previous_response_id=first))
    assert server.judge.chats == []


def test_prompts_and_their_variables_are_checked(server: Guarded) -> None:
    kept = server.post("/v1/prompts", {"prompt": "tell of {{what}}", "variables": ["what"]}).json["prompt_id"]
    assert stopped(response(server, prompt={"id": kept, "variables": {"what": WORD}}))
    worded = server.post("/v1/prompts", {"prompt": "tell of a falcon"}).json["prompt_id"]
    assert stopped(response(server, prompt={"id": worded}))
    assert server.judge.chats == []


@pytest.mark.parametrize(
    "items",
    [
        [said("hi"), {"type": "function_call", "call_id": "c", "name": "f", "arguments": WORD},
         {"type": "function_call_output", "call_id": "c", "output": "x"}],
        [said("hi"), {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
         {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": WORD}]}],
        [said("hi"), {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": WORD},
         {"type": "custom_tool_call_output", "call_id": "c", "output": "x"}],
        [said("hi"), {"type": "mcp_call", "id": "m", "name": "f", "server_label": "s", "arguments": "{}",
                      "output": WORD}],
    ],
)  # fmt: skip
def test_calls_and_results_of_tools_are_checked(server: Guarded, items: list[Any]) -> None:
    assert stopped(response(server, items))
    assert server.judge.chats == []


def test_what_a_rule_requires_acts_on_a_websocket(server: Guarded) -> None:
    with opened(server.house.address, ALICE) as socket:
        events = socket.response(WORD, model="gpt")
        assert events[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}
        assert server.judge.chats == []
        server.judge.said = "x " * 300 + WORD
        events = socket.response("hi", model="gpt")
        assert events[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}
        assert "falc" not in dumps(events)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", [{"model": "gpt"}, {"model": "free", "guardrails": ["words"]}])
def test_a_query_that_is_flagged_is_not_searched_for(server: Guarded, stream: bool, asked: dict[str, Any]) -> None:
    store = server.post("/v1/vector_stores", {"embedding_model": "vectors"}).json["id"]
    function = {"name": "file_search", "arguments": dumps({"queries": ["the falcon"]})}
    server.judge.calls = [{"id": "c", "type": "function", "function": function}]
    tools = [{"type": "file_search", "vector_store_ids": [store]}]
    answer = response(server, tools=tools, stream=stream, **asked)
    assert stopped(answer)
    assert b"falcon" not in answer.body
    assert not any("input" in body for body in server.judge.chats), "nothing is embedded"


@pytest.mark.parametrize("stream", [False, True])
def test_the_output_of_completions_and_of_conversations_is_checked(server: Guarded, stream: bool) -> None:
    made = {"shield_id": f"more-{stream}", "provider_id": "words", "params": {"words": ["and more"]}}
    assert server.post("/v1/shields", made).status == 200
    body = {"model": "free", "prompt": "hi", "stream": stream, "guardrails": [made["shield_id"]]}
    answer = server.post("/v1/completions", body)
    assert stopped(answer)
    assert b"and more" not in answer.body
    conversation = server.post("/v1/conversations", {}).json["id"]
    server.judge.said = "x " * 300 + WORD
    answer = response(server, conversation=conversation, stream=stream)
    assert stopped(answer)
    assert b"falc" not in answer.body
    kept = server.house.address.get(f"/v1/conversations/{conversation}/items", ALICE)
    assert b"falc" not in kept.body


@pytest.mark.parametrize("role", ["system", "developer", "assistant", "tool", "function", "ipython"])
@pytest.mark.parametrize("shield", ["guard", "guard-4", "small", "raw"])
def test_a_conversation_of_one_role_is_judged(server: Guarded, role: str, shield: str) -> None:
    assert server.violation(shield, said("how to kill", role))
    assert server.violation(shield, said("how to kill", role), said("and so on", role))
    assert server.violation(shield, said("hello", role)) is None
