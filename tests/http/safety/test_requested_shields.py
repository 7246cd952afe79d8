"""Shields that a request asks for: `guardrails`, and `moderation` as OpenAI has it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from openai import OpenAI

from tests.support.callers import ALICE, BOB
from tests.support.patience import PATIENCE
from tests.support.safety_server import POLICY, Guarded, guarded, said
from tests.support.serving import Answer
from tests.support.socket_client import opened

MESSAGE = "a shield has stopped this text"
BLOCK = {"input": {"mode": "block"}, "output": {"mode": "block"}}
WORDS = {"guardrails": ["words"]}
BODIES: dict[str, Any] = {
    "/v1/chat/completions": lambda text: {"messages": [said(text)]},
    "/v1/completions": lambda text: {"prompt": text},
    "/v1/messages": lambda text: {"messages": [said(text)], "max_tokens": 9},
    "/v1/responses": lambda text: {"input": text},
}
"""The routes that serve them."""
RULES = POLICY.replace('[create], resource: "shield::*"', "[create]")
"""Anyone may make responses, too."""


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(opa_binary, tmp_path_factory.mktemp("requested"), policy=RULES) as server:
        yield server


def ask(server: Guarded, path: str, text: str, caller: str = ALICE, **more: Any) -> Answer:
    return server.post(path, {"model": "gpt", **BODIES[path](text), **more}, caller)


def chat(server: Guarded, text: str, caller: str = ALICE, **more: Any) -> Answer:
    return ask(server, "/v1/chat/completions", text, caller, **more)


def is_stopped(answer: Answer) -> bool:
    assert answer.status == 200, answer.body
    return b"content_filter" in answer.body or b'"stop_reason":"refusal"' in answer.body


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asked", [WORDS, {"moderation": {"model": "words", "policy": BLOCK}}])
def test_a_flagged_input_reaches_no_model(server: Guarded, path: str, stream: bool, asked: Any) -> None:
    assert is_stopped(ask(server, path, "a falcon", stream=stream, **asked))
    assert server.judge.chats == []
    assert not is_stopped(ask(server, path, "a crane", stream=stream, **asked))
    [sent] = server.judge.chats
    assert not {"guardrails", "moderation"} & sent.keys(), "no provider is asked in their place"
    assert not is_stopped(ask(server, path, "a falcon", stream=stream)), "nothing is required here"


@pytest.mark.parametrize("path", [path for path in BODIES if path != "/v1/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_flagged_output_is_not_sent(server: Guarded, path: str, stream: bool) -> None:
    server.judge.said = "x " * 300 + "a falcon"
    answer = ask(server, path, "hi", stream=stream, **WORDS)
    assert is_stopped(answer)
    assert b"falc" not in answer.body


def test_a_response_that_is_stopped_has_a_refusal_and_canonical_events(server: Guarded) -> None:
    response = ask(server, "/v1/responses", "a falcon", **WORDS).json
    [item] = response["output"]
    assert [(part["type"], part["refusal"]) for part in item["content"]] == [("refusal", MESSAGE)]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    answer = ask(server, "/v1/responses", "a falcon", stream=True, **WORDS)
    kinds = [line.removeprefix("event: ") for line in answer.body.decode().splitlines() if line.startswith("event: ")]
    assert kinds == [
        *("response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"),
        *("response.refusal.delta", "response.refusal.done", "response.content_part.done"),
        *("response.output_item.done", "response.incomplete"),
    ]


def test_a_response_in_the_background_goes_through_them(server: Guarded) -> None:
    made = ask(server, "/v1/responses", "a falcon", background=True, **WORDS).json
    end = time.monotonic() + PATIENCE
    while made["status"] in ("queued", "in_progress") and time.monotonic() < end:
        time.sleep(0.05)
        made = server.house.address.get(f"/v1/responses/{made['id']}", ALICE).json
    assert (made["status"], made["output"][0]["content"][0]["refusal"]) == ("incomplete", MESSAGE)
    assert server.judge.chats == []


def test_a_summary_goes_through_them(server: Guarded) -> None:
    items = [said("word " * 3000 + "falcon"), said("yes", "assistant"), said("hi")]
    body = {"model": "gpt", "input": items, "context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    server.post("/v1/responses", {**body, **WORDS})
    assert server.judge.chats == []
    assert server.post("/v1/responses", body).status == 200
    assert len(server.judge.chats) == 2, "a summary, and the answer"


def test_a_response_on_a_websocket_goes_through_them(server: Guarded) -> None:
    with opened(server.house.address, ALICE) as socket:
        events = socket.response("a falcon", model="gpt", **WORDS)
        assert events[-1]["response"]["output"][0]["content"][0]["refusal"] == MESSAGE
        assert server.judge.chats == []
        missing = socket.response("hi", model="gpt", guardrails=["hidden"])
        assert (missing[-1]["status"], missing[-1]["error"]["code"]) == (404, "shield_not_found")


def test_the_client_of_openai_reads_what_is_stopped(server: Guarded) -> None:
    with OpenAI(base_url=f"{server.house.address.url}/v1", api_key="alice", max_retries=0) as client:
        asked: Any = {"model": "words", "policy": BLOCK}
        [choice] = client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "a falcon"}], moderation=asked
        ).choices
        assert (choice.finish_reason, choice.message.refusal, choice.message.content) == (
            "content_filter",
            MESSAGE,
            None,
        )
        response = client.responses.create(model="gpt", input="a falcon", moderation=asked)
        assert response.incomplete_details is not None
        assert (response.incomplete_details.reason, response.output_text) == ("content_filter", "")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("name", ["hidden", "no-such-shield"])
def test_one_that_the_caller_may_not_read_is_as_missing(server: Guarded, path: str, name: str) -> None:
    answer = ask(server, path, "hi", guardrails=["words", name])
    assert (answer.status, server.judge.chats) == (404, []), answer.body
    assert f"the shield `{name}` does not exist, or you have no access to it".encode() in answer.body


def test_one_of_another_caller_is_as_missing(server: Guarded) -> None:
    name = f"s-{token_hex(4)}"
    made = {"shield_id": name, "provider_id": "words", "params": {"words": ["heron"], "message": "no herons"}}
    assert server.post("/v1/shields", made, ALICE).status == 200
    answer = chat(server, "a heron", guardrails=[name])
    assert answer.json["choices"][0]["message"]["refusal"] == "no herons"
    assert chat(server, "a heron", BOB, guardrails=[name]).error["code"] == "shield_not_found"


def test_the_default_is_asked_for_by_true(server: Guarded) -> None:
    assert is_stopped(chat(server, "a bomb", guardrails=True))
    assert server.judge.chats == []
    assert len(server.judge.asked) == 1
    for none in (False, [], None):
        assert not is_stopped(chat(server, "a bomb", guardrails=none))


def test_a_moderation_may_name_what_judges(server: Guarded) -> None:
    named = {"model": "LlamaGuard-7b", "policy": BLOCK}
    assert is_stopped(chat(server, "kill", moderation=named)), "the shield `raw` is asked"
    assert server.judge.chats == []


@pytest.mark.parametrize("stream", [False, True])
def test_one_without_a_verdict_lets_nothing_pass(server: Guarded, stream: bool) -> None:
    server.judge.answer = "I can't say"
    answer = chat(server, "hi", guardrails=["guard"], stream=stream)
    assert (answer.status, answer.error["code"], server.judge.chats) == (503, "shield_unavailable", [])


def test_a_text_that_one_masks_goes_on_masked(server: Guarded) -> None:
    answer = chat(server, "I am ann@example.org", guardrails=["aws"])
    assert server.judge.chats[-1]["messages"][0]["content"] == "I am {EMAIL}"
    assert answer.json["choices"][0]["message"]["content"] == "you say: I am {EMAIL}"


def test_what_no_shield_reads_is_refused(server: Guarded) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"model": "gpt", "messages": [said([{"type": "text", "text": "hi"}, image])], **WORDS}
    answer = server.post("/v1/chat/completions", body)
    assert (answer.status, answer.error["code"], server.judge.chats) == (400, "not_checked", [])


def test_verdicts_stand_in_the_decision_log(server: Guarded) -> None:
    answer = chat(server, "a falcon", guardrails=["words"])
    lines = [line for line in server.house.log(answer.headers["x-request-id"]) if line["kind"] == "shield"]
    assert [(line["shield"], line["direction"], line["outcome"]) for line in lines] == [("words", "input", "flagged")]
    assert "falcon" not in dumps(lines)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"guardrails": "words"}, "guardrails"),
        ({"guardrails": {}}, "guardrails"),
        ({"guardrails": [f"s{number}" for number in range(9)]}, "guardrails"),
        ({"guardrails": [{"type": "words"}]}, "guardrails[0]"),
        ({"guardrails": ["words", ""]}, "guardrails[1]"),
        ({"Guardrails": ["words"]}, "Guardrails"),
        ({"MODERATION": None}, "MODERATION"),
        ({"moderation": True}, "moderation"),
        ({"moderation": {}}, "moderation.model"),
        ({"moderation": {"model": "words", "fallbacks": []}}, "moderation.fallbacks"),
        ({"moderation": {"model": "words", "policy": {**BLOCK, "tools": {}}}}, "moderation.policy.tools"),
        ({"moderation": {"model": "words", "policy": {"input": {}}}}, "moderation.policy.input.mode"),
        ({"moderation": {"model": "words", "policy": {"output": {"mode": "Block"}}}}, "moderation.policy.output.mode"),
        ({"moderation": {"model": "words", "policy": {"input": {"mode": ["block"]}}}}, "moderation.policy.input.mode"),
        ({"moderation": {"model": "words", "policy": {"input": "block"}}}, "moderation.policy.input"),
        ({"moderation": {"model": "words", "policy": "score"}}, "moderation.policy"),
        ({"guardrails": list("abcdefgh"), "moderation": {"model": "w", "policy": BLOCK}}, "moderation.model"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_refused(server: Guarded, path: str, asked: Any, param: str) -> None:
    answer = ask(server, path, "hi", **asked)
    assert (answer.status, server.judge.chats) == (400, []), answer.body
    assert f"`{param}`" in loads(answer.body)["error"]["message"]
