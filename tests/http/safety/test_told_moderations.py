"""Results of moderations in answers, as the types of OpenAI's client have them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from tests.support.callers import ALICE
from tests.support.patience import PATIENCE
from tests.support.safety_server import CONFIG, POLICY, Guarded, guarded, said
from tests.support.serving import Answer
from tests.support.socket_client import opened

MESSAGE = "a shield has stopped this text"
SCORE: dict[str, Any] = {"moderation": {"model": "guard"}}
RULES = """
        - permit: {actions: [read], resource: "model::far/strict"}
          shields: [words]
""" + POLICY.replace('[create], resource: "shield::*"', "[create]")
TEXT = CONFIG.replace("    - {model_id: gpt,", "    - {model_id: strict, provider_id: far}\n    - {model_id: gpt,")


def block(model: str = "guard", **modes: str) -> dict[str, Any]:
    policy = {side: {"mode": modes.get(side, "block")} for side in ("input", "output")}
    return {"moderation": {"model": model, "policy": policy}}


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(opa_binary, tmp_path_factory.mktemp("told"), text=TEXT, policy=RULES) as server:
        yield server


def chat(server: Guarded, text: str = "hi", model: str = "gpt", **more: Any) -> Answer:
    return server.post("/v1/chat/completions", {"model": model, "messages": [said(text)], **more}, ALICE)


def whole(server: Guarded, text: str = "hi", **more: Any) -> ChatCompletion:
    answer = chat(server, text, **more)
    assert answer.status == 200, answer.body
    return ChatCompletion.model_validate_json(answer.body, strict=True)


def chunks(answer: Answer) -> list[ChatCompletionChunk]:
    assert answer.status == 200, answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n"), answer.body
    events = [event.removeprefix(b"data: ") for event in answer.body.split(b"\n\n")[:-2]]
    return [ChatCompletionChunk.model_validate_json(event, strict=True) for event in events]


def sides(moderation: Any) -> tuple[Any, Any]:
    """Whether each side is flagged, or the code of its error; a result of a chat or of a response."""
    found = []
    for side in (moderation.input, moderation.output):
        results = getattr(side, "results", [side])
        assert len(results) == 1
        found.append(side.code if side.type == "error" else results[0].flagged)
        if side.type != "error":
            assert side.model == results[0].model == "guard"
            assert {name for name, is_found in results[0].categories.items() if is_found} == (
                {"illicit/violent"} if results[0].flagged else set()
            )
    return found[0], found[1]


def test_scores_are_told_and_nothing_is_stopped(server: Guarded) -> None:
    answer = whole(server, "a bomb", **SCORE)
    assert answer.choices[0].message.content == "you say: a bomb"
    assert sides(answer.moderation) == (True, True)
    assert len(server.judge.chats) == 1
    server.judge.said = "fine"
    assert sides(whole(server, "a bomb", **SCORE).moderation) == (True, False)
    assert sides(whole(server, "hi", moderation={"model": "guard", "policy": {"input": None}}).moderation) == (
        False,
        False,
    )
    assert whole(server, "a bomb").moderation is None, "nothing is asked for"


def test_scores_are_told_in_the_last_chunk(server: Guarded) -> None:
    for more in ({}, {"stream_options": {"include_usage": True}}):
        server.judge.said = "a bomb " * 300
        found = chunks(chat(server, stream=True, **SCORE, **more))
        assert [chunk.moderation is None for chunk in found] == [True] * (len(found) - 1) + [False]
        assert sides(found[-1].moderation) == (False, True)
        assert found[-1].choices == []
        assert {(chunk.id, chunk.model) for chunk in found} == {(found[0].id, "far/gpt")}
        text = "".join(choice.delta.content or "" for chunk in found for choice in chunk.choices)
        assert text == server.judge.said
        last = server.judge.asked[-1]["messages"]
        assert [message["role"] for message in last] == ["user", "assistant"], "the whole answer is judged once"
        assert len(server.judge.asked) == 2
        server.judge.renew()


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_blocked_carries_its_results(server: Guarded, stream: bool) -> None:
    def told(text: str, **more: Any) -> Any:
        answer = chat(server, text, stream=stream, **more)
        assert b"content_filter" in answer.body
        return sides((chunks(answer)[-1] if stream else ChatCompletion.model_validate_json(answer.body)).moderation)

    assert told("a bomb", **block()) == (True, "not_checked")
    assert server.judge.chats == []
    server.judge.said = "x " * 300 + "a bomb"
    assert told("hi", **block()) == (False, True)
    assert told("a bomb", **block(input="score")) == (True, True)
    server.judge.said = "x " * 300 + "a falcon"
    assert told("hi", model="strict", **SCORE) == (False, "not_checked"), "another shield stops it"
    assert told("hi", guardrails=["words"], **block()) == (False, "not_checked" if not stream else False)


@pytest.mark.parametrize("stream", [False, True])
def test_a_shield_that_only_tells_stops_nothing_where_it_fails(server: Guarded, stream: bool) -> None:
    server.judge.answer = "I can't say"
    answer = chat(server, stream=stream, **SCORE)
    told = chunks(answer)[-1] if stream else ChatCompletion.model_validate_json(answer.body, strict=True)
    assert sides(told.moderation) == ("shield_unavailable", "shield_unavailable")
    assert b"hi" in answer.body
    assert b"so nothing passes" not in answer.body
    for mode in (block(input="score"), block(output="score"), block()):
        server.judge.chats.clear()
        answer = chat(server, stream=stream, **mode)
        assert answer.status == 503 or b'"content":"' not in answer.body.replace(b" ", b"")
        assert b"shield_unavailable" in answer.body


def test_what_can_not_be_read_is_told_or_refused(server: Guarded) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [said([{"type": "text", "text": "a bomb"}, image])]
    body = {"model": "gpt", "messages": messages}
    told = ChatCompletion.model_validate(server.post("/v1/chat/completions", {**body, **SCORE}).json)
    assert told.moderation is not None
    assert told.moderation.input.type == "error"
    assert told.moderation.input.code == "not_checked"
    answer = server.post("/v1/chat/completions", {**body, **block(output="score")})
    assert (answer.status, answer.error["code"]) == (400, "not_checked")
    answer = server.post("/v1/chat/completions", {**body, "guardrails": ["words"], **SCORE})
    assert (answer.status, answer.error["code"]) == (400, "not_checked")


@pytest.mark.parametrize("more", [{"guardrails": ["words"]}, {"model": "strict"}])
@pytest.mark.parametrize("stream", [False, True])
def test_no_score_weakens_a_shield_that_acts(server: Guarded, more: dict[str, Any], stream: bool) -> None:
    answer = chat(server, "a falcon", stream=stream, moderation={"model": "words"}, **more)
    assert b"content_filter" in answer.body
    assert server.judge.chats == []
    assert (
        b'"moderation_results","model":"words","results":[{"type":"moderation_result","model":"words","flagged":true'
        in (answer.body)
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_tells_them(server: Guarded, stream: bool) -> None:
    def asked(text: str, **more: Any) -> Response:
        answer = server.post("/v1/responses", {"model": "gpt", "input": text, "stream": stream, **more})
        assert answer.status == 200, answer.body
        if not stream:
            return Response.model_validate_json(answer.body)
        events = [loads(line[6:]) for line in answer.body.splitlines() if line.startswith(b"data: {")]
        assert events[0]["response"]["moderation"] is None, "it is not known yet"
        return Response.model_validate(events[-1]["response"])

    told = asked("a bomb", **SCORE)
    assert (told.status, sides(told.moderation)) == ("completed", (True, True))
    assert told.moderation is not None
    assert told.moderation.input.type == "moderation_result"
    stopped = asked("a bomb", **block())
    assert (stopped.status, sides(stopped.moderation)) == ("incomplete", (True, "not_checked"))
    stored = server.house.address.get(f"/v1/responses/{told.id}", ALICE)
    assert sides(Response.model_validate_json(stored.body).moderation) == (True, True)
    assert b'"moderation"' not in server.post("/v1/responses", {"model": "gpt", "input": "hi"}).body


def test_a_response_in_the_background_tells_them(server: Guarded) -> None:
    made = server.post("/v1/responses", {"model": "gpt", "input": "a bomb", "background": True, **SCORE}).json
    assert made["moderation"] is None
    end = time.monotonic() + PATIENCE
    while made["status"] in ("queued", "in_progress") and time.monotonic() < end:
        time.sleep(0.05)
        made = server.house.address.get(f"/v1/responses/{made['id']}", ALICE).json
    assert (made["status"], sides(Response.model_validate(made).moderation)) == ("completed", (True, True))


def test_a_response_on_a_websocket_tells_them(server: Guarded) -> None:
    with opened(server.house.address, ALICE) as socket:
        events = socket.response("a bomb", model="gpt", **SCORE)
        assert sides(Response.model_validate(events[-1]["response"]).moderation) == (True, True)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stored_chat_keeps_them(server: Guarded, stream: bool) -> None:
    answer = chat(server, "a bomb", store=True, stream=stream, **SCORE)
    identity = chunks(answer)[0].id if stream else answer.json["id"]
    kept = server.house.address.get(f"/v1/chat/completions/{identity}", ALICE)
    assert sides(ChatCompletion.model_validate_json(kept.body).moderation) == (True, True)


@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_own_results_are_not_told(server: Guarded, stream: bool) -> None:
    server.judge.beside = {"moderation": {"input": {"type": "error", "code": "canary", "message": ""}}}
    for more in (SCORE, block("words")):
        answer = chat(server, stream=stream, **more)
        assert answer.status == 200
        assert b"canary" not in answer.body
    response = server.post("/v1/responses", {"model": "gpt", "input": "hi", "stream": stream})
    assert b"canary" not in response.body


def test_completions_tell_them_and_messages_say_that_they_do_not(server: Guarded) -> None:
    answer = server.post("/v1/completions", {"model": "gpt", "prompt": "a bomb", **SCORE}).json
    assert answer["moderation"]["input"]["results"][0]["flagged"] is True
    assert answer["choices"][0]["text"]
    body = {"model": "gpt", "messages": [said("hi")], "max_tokens": 9}
    refused = server.post("/v1/messages", {**body, **SCORE})
    assert (refused.status, b"moderation.policy.input.mode" in refused.body) == (400, True)
    assert server.post("/v1/messages", {**body, **block()}).status == 200


def test_the_client_of_openai_reads_them(server: Guarded) -> None:
    with OpenAI(base_url=f"{server.house.address.url}/v1", api_key="alice", max_retries=0) as client:
        asked: Any = SCORE["moderation"]
        made = client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "a bomb"}], moderation=asked
        )
        assert sides(made.moderation) == (True, True)
        assert sides(client.responses.create(model="gpt", input="a bomb", moderation=asked).moderation) == (True, True)
        with client.chat.completions.stream(
            model="gpt", messages=[{"role": "user", "content": "a bomb"}], moderation=asked
        ) as events:
            assert sides(events.get_final_completion().moderation) == (True, True)


def test_verdicts_that_are_only_told_are_logged_as_such(server: Guarded) -> None:
    answer = chat(server, "a bomb", **SCORE)
    lines = [line for line in server.house.log(answer.headers["x-request-id"]) if line["kind"] == "shield"]
    assert [(line["direction"], line["outcome"], line["effect"], line["codes"]) for line in lines] == [
        ("input", "told", "permit", ["S9"]),
        ("output", "told", "permit", ["S9"]),
    ]
    assert "bomb" not in dumps(lines)
