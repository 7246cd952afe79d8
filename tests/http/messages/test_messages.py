"""Messages, whole and streamed, by models behind `inline::echo` and OpenAI's API, with a real policy."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ALICE, STRANGER
from tests.support.failing_provider import Upstream, upstream
from tests.support.message_events import accumulated, message_events
from tests.support.responses_server import Responding, responding, script
from tests.support.serving import Answer

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
WEATHER = {"name": "weather", "description": "tells it", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("messages"), upstream=far.url) as running:
        yield running


def said(text: Any = "hi") -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def post(place: Responding, text: Any = "hi", *headers: str, target: str = MESSAGES, **more: Any) -> Answer:
    body = {"model": "small", "max_tokens": 256, "messages": said(text), **more}
    return place.house.address.post(target, body, *(headers or (ALICE,)))


def made(place: Responding, text: Any = "hi", **more: Any) -> Any:
    answer = post(place, text, **more)
    assert answer.status == 200, answer.body
    return answer.json


def test_a_message_has_the_form_that_clients_read(place: Responding) -> None:
    answer = post(place, "hello there")
    message = answer.json
    assert message.pop("id").startswith("msg_")
    usage = {"input_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 3}
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "echo/small",
        "content": [{"type": "text", "text": "echo: hello there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {**usage, "service_tier": "standard"},
    }
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


SCRIPTS = [
    script(content="it is sunny"),
    script(content="I look", tool_calls=[{"name": "weather", "arguments": {"city": "Berlin"}}]),
    script(tool_calls=[{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": ""}]),
    script(reasoning="let me see", content="it is sunny"),
    script(refusal="I won't"),
    script(content="too", finish_reason="length"),
    script(content="", finish_reason="content_filter"),
    script(
        content="a", usage={"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    ),
]


@pytest.mark.parametrize("text", SCRIPTS)
@pytest.mark.parametrize("thinking", [None, {"type": "enabled", "budget_tokens": 1024}])
def test_a_stream_adds_up_to_the_whole_message(place: Responding, text: str, thinking: Any) -> None:
    whole = made(place, text, thinking=thinking)
    answer = post(place, text, thinking=thinking, stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert {**accumulated(message_events(answer.body)), "id": ""} == {**whole, "id": ""}
    kinds = [block["type"] for block in whole["content"]]
    assert ("thinking" in kinds) == ("reasoning" in text and thinking is not None)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"content": "a"}, "end_turn"),
        ({"content": "a", "finish_reason": "length"}, "max_tokens"),
        ({"tool_calls": [{"name": "f"}]}, "tool_use"),
        ({"tool_calls": [{"name": "f"}], "finish_reason": "stop"}, "tool_use"),
        ({"content": "a", "finish_reason": "content_filter"}, "refusal"),
        ({"refusal": "no"}, "refusal"),
    ],
)
def test_the_end_has_its_reason(place: Responding, members: dict[str, Any], reason: str) -> None:
    assert made(place, script(**members))["stop_reason"] == reason


def test_tokens_of_a_cache_are_told_apart(place: Responding) -> None:
    usage = {
        "prompt_tokens": 10924,
        "completion_tokens": 19,
        "total_tokens": 10943,
        "prompt_tokens_details": {"cached_tokens": 10536, "cache_write_tokens": 20},
    }
    found = made(place, script(content="a", usage=usage))["usage"]
    assert (found["input_tokens"], found["cache_read_input_tokens"], found["cache_creation_input_tokens"]) == (
        368,
        10536,
        20,
    )


def test_broken_arguments_are_not_dressed_as_whole(place: Responding) -> None:
    broken = [{"name": "write", "arguments": '{"text": "abc'}]
    cut = made(place, script(content="a", tool_calls=broken, finish_reason="length"))
    assert (cut["stop_reason"], [block["type"] for block in cut["content"]]) == ("max_tokens", ["text"])
    answer = post(place, script(tool_calls=broken))
    assert (answer.status, answer.json["error"]["type"]) == (502, "api_error")
    events = message_events(post(place, script(tool_calls=broken), stream=True).body)
    assert events[-1]["type"] == "error" and "message_stop" not in {event["type"] for event in events}


def test_any_provider_answers(place: Responding, far: Upstream) -> None:
    assert made(place, model="m")["content"] == [{"type": "text", "text": "Hello, wörld"}]
    message = accumulated(message_events(post(place, model="m", stream=True).body))
    assert (message["model"], message["content"][0]["text"]) == ("far/m", "Hello, wörld")
    assert far.body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("model", ["dies", "errs", "stops"])
def test_a_stream_that_breaks_off_ends_with_an_error(place: Responding, model: str) -> None:
    answer = post(place, model=model, stream=True)
    last = message_events(answer.body)[-1]
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    assert last["request_id"] == answer.headers["request-id"]


def test_what_is_asked_for_reaches_the_provider(place: Responding, far: Upstream) -> None:
    made(
        place,
        model="m",
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop_sequences=["END"],
        tools=[{**WEATHER, "cache_control": {"type": "ephemeral"}}],
        tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        metadata={"user_id": "someone"},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "high"},
        service_tier="auto",
    )
    body = far.body
    assert (body["max_completion_tokens"], body["temperature"], body["top_p"], body["stop"]) == (256, 0.5, 0.9, ["END"])
    function = {"name": "weather", "description": "tells it", "parameters": WEATHER["input_schema"]}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert body["parallel_tool_calls"] is False
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert not {"top_k", "service_tier", "metadata", "thinking", "max_tokens"} & body.keys()
    assert body["user"] != "someone"


def test_the_members_of_newer_clients_are_ignored(place: Responding) -> None:
    more = {"context_management": {"edits": []}, "inference_geo": "eu", "container": None, "betas": ["x"]}
    headers = (ALICE, "anthropic-version: 2023-06-01", "anthropic-beta: a-2025-01-01,b-2026-01-01")
    assert post(place, "hi", *headers, target=f"{MESSAGES}?beta=true", **more).status == 200


def test_tokens_are_counted_and_nothing_is_asked(place: Responding, far: Upstream) -> None:
    body = {"model": "m", "messages": said("x" * 4000), "system": "y" * 400, "tools": [WEATHER]}
    far.forget()
    answer = place.house.address.post(COUNT, body, ALICE)
    assert answer.status == 200 and answer.json.keys() == {"input_tokens"}
    assert 1100 <= answer.json["input_tokens"] <= 1200
    assert not far.asked
    secret = place.house.address.post(COUNT, {**body, "model": "secret"}, ALICE)
    assert (secret.status, secret.json["error"]["type"]) == (404, "not_found_error")


def test_a_file_is_asked_about_and_sent(place: Responding, far: Upstream) -> None:
    file = place.file(b"some text")
    document = [{"type": "document", "source": {"type": "file", "file_id": file}}, {"type": "text", "text": "hi"}]
    made(place, document, model="m")
    assert far.body["messages"][0]["content"][0]["type"] == "file"
    assert "c29tZSB0ZXh0" in dumps(far.body)
    for target in (MESSAGES, COUNT):
        refused = post(place, document, "Authorization: Bearer bob", target=target, model="m")
        assert (refused.status, refused.json["error"]["type"]) == (404, "not_found_error")
        assert "messages[0].content[0]" not in refused.json["error"]["message"]


def test_an_image_by_its_file_is_asked_about_and_sent(place: Responding, far: Upstream) -> None:
    file = place.file(b"pixels", filename="a.png")
    image = {"type": "image", "source": {"type": "file", "file_id": file}}
    made(place, [image], model="m")
    url = "data:image/png;base64,cGl4ZWxz"
    assert far.body["messages"][0]["content"] == [{"type": "image_url", "image_url": {"url": url, "detail": "auto"}}]
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    assert post(place, [result], model="m").status == 200
    for target in (MESSAGES, COUNT):
        assert post(place, [image], "Authorization: Bearer bob", target=target, model="m").status == 404


def test_refusals_are_in_the_form_that_clients_read(place: Responding) -> None:
    cases = {
        400: post(place, max_tokens=None),
        401: post(place, "hi", "Authorization: Bearer bad"),
        403: post(place, "hi", STRANGER, target=MESSAGES),
        404: post(place, model="secret"),
        405: place.house.address.get(MESSAGES, ALICE),
        413: post(place, "x" * (10 * 1024 * 1024)),
        415: place.house.address.ask("POST", MESSAGES, ALICE, body=b"{}", kind="text/plain"),
    }
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large"}
    for status, answer in cases.items():
        assert answer.status == status, answer.body
        error = loads(answer.body)
        assert error.keys() == {"type", "error", "request_id"} and error["type"] == "error"
        assert error["error"].keys() == {"type", "message"}
        assert error["error"]["type"] == kinds.get(status, "invalid_request_error")
        assert error["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]
    # Other routes keep OpenAI's.
    assert place.house.address.get("/v1/messagesx", ALICE).json["error"].keys() == {"message", "type", "param", "code"}
    assert "request-id" not in place.house.address.get("/v1/models", ALICE).headers


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error")]
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_provider_refuses_is_a_status(place: Responding, status: int, kind: str, stream: bool) -> None:
    answer = post(place, script(error={"status": status}), stream=stream)
    assert (answer.status, answer.json["error"]["type"]) == (502 if status == 500 else status, kind)
