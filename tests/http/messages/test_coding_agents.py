"""What agents that write code send to their model, in the order in which they send it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.message_events import accumulated, message_events
from tests.support.relay_server import DONE, Relaying, event, relaying, streamed

KEPT = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
HEADERS = (
    "x-api-key: alice",
    "anthropic-version: 2023-06-01",
    "anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "anthropic-dangerous-direct-browser-access: true",
    "x-app: cli",
    "x-stainless-retry-count: 0",
)
TOOLS = [
    {
        "name": name,
        "description": f"does {name}",
        "input_schema": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": {"path": {"$ref": "#/$defs/path"}},
            "$defs": {"path": {"type": "string"}},
            "additionalProperties": False,
        },
        "eager_input_streaming": True,
        **(KEPT if name == "Write" else {}),
    }
    for name in ("Bash", "Read", "Write")
]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
HISTORY: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "<system-reminder>be brief</system-reminder>"},
            {"type": "text", "text": "what is in here?", **KEPT},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "I look into two files", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "AAAA"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "functions.Read:0", "name": "Read", "input": {"path": "a.png"}},
            {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "functions.Read:0", "content": [IMAGE]},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no such file", "is_error": True, **KEPT},
            {"type": "text", "text": "go on"},
        ],
    },
]
BODY = {
    "model": "p/m",
    "max_tokens": 32000,
    "system": [{"type": "text", "text": "You are an agent."}, {"type": "text", "text": "Write code.", **KEPT}],
    "messages": HISTORY,
    "tools": TOOLS,
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "medium"},
    "metadata": {"user_id": '{"device":"0","session":"1"}'},
    "temperature": 1,
    "stream": True,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    with relaying(tmp_path_factory.mktemp("agents")) as running:
        yield running


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    return event({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason, **more}]})


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    name = more.pop("name", None)
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"tool_calls": [{"index": index, "function": function, **more}]}


def test_a_turn_with_thoughts_and_results_reaches_the_model(place: Relaying) -> None:
    place.answers(streamed(chunk({"content": "done"}), chunk({}, "stop"), DONE))
    answer = place.address.post("/v1/messages?beta=true", BODY, *HEADERS)
    assert answer.status == 200, answer.body
    assert place.body["messages"] == [
        {"role": "system", "content": "You are an agent.\n\nWrite code."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>be brief</system-reminder>"},
                {"type": "text", "text": "what is in here?"},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "functions.Read:0",
                    "type": "function",
                    "function": {"name": "Read", "arguments": '{"path":"a.png"}'},
                },
                {"id": "toolu_2", "type": "function", "function": {"name": "Bash", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "functions.Read:0", "content": "[image, which follows]"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "[the tool has failed]\nno such file"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "the tool has returned this:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "text", "text": "go on"},
            ],
        },
    ]
    assert [tool["function"]["parameters"] for tool in place.body["tools"]] == [tool["input_schema"] for tool in TOOLS]
    assert not {"thinking", "reasoning_effort", "context_management", "output_config"} & place.body.keys()


def test_calls_whose_pieces_come_by_turns_stay_apart(place: Relaying) -> None:
    place.answers(
        streamed(
            chunk({"reasoning_content": "hm"}),
            chunk({"content": "I look"}),
            chunk(call(0, "", id="a", name="Read")),
            chunk(call(0, '{"path":')),
            chunk(call(1, '{"path"', id="b", name="Read")),
            chunk(call(0, '"x"}')),
            chunk(call(1, ':"y"}')),
            chunk(call(2, "", id="c", name="Bash")),
            chunk({}, "tool_calls"),
            event(
                {"id": "c", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}
            ),
            DONE,
        )
    )
    events = message_events(place.address.post("/v1/messages", BODY, *HEADERS).body)
    message = accumulated(events)
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "id": "a", "name": "Read", "input": {"path": "x"}},
        {"type": "tool_use", "id": "b", "name": "Read", "input": {"path": "y"}},
        {"type": "tool_use", "id": "c", "name": "Bash", "input": {}},
    ]
    assert (message["stop_reason"], message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (
        "tool_use",
        9,
        4,
    )


def test_calls_one_after_another_are_closed_one_after_another(place: Relaying) -> None:
    place.answers(
        streamed(
            chunk(call(0, '{"path":"x"}', id="a", name="Read")),
            chunk(call(1, '{"path":"y"}', id="b", name="Read")),
            chunk({}, "tool_calls"),
            DONE,
        )
    )
    events = message_events(place.address.post("/v1/messages", BODY, *HEADERS).body)
    assert [(event["type"].removeprefix("content_block_"), event.get("index")) for event in events[1:-2]] == [
        *(("start", 0), ("delta", 0), ("stop", 0)),
        *(("start", 1), ("delta", 1), ("stop", 1)),
    ]


@pytest.mark.parametrize("member", ["stop_reason", "matched_stop"])
def test_the_stop_sequence_is_told_where_the_provider_tells_it(place: Relaying, member: str) -> None:
    body = {**BODY, "stop_sequences": ["END"]}
    for told, expected in (("END", ("stop_sequence", "END")), ("other", ("end_turn", None)), (7, ("end_turn", None))):
        place.answers(streamed(chunk({"content": "a"}), chunk({}, "stop", **{member: told}), DONE))
        message = accumulated(message_events(place.address.post("/v1/messages", body, *HEADERS).body))
        assert (message["stop_reason"], message["stop_sequence"]) == expected


def test_a_comment_of_the_provider_is_a_ping(place: Relaying) -> None:
    place.answers(streamed(b": still here\n\n", chunk({"content": "a"}), chunk({}, "stop"), DONE))
    events = message_events(place.address.post("/v1/messages", BODY, *HEADERS).body)
    assert {"type": "ping"} in events
    assert accumulated(events)["content"] == [{"type": "text", "text": "a"}]


def test_a_refusal_of_the_provider_speaks_of_the_message(place: Relaying) -> None:
    error = b'{"error":{"message":"no","param":"max_completion_tokens","code":"invalid_value"}}'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(error)
    for stream in (False, True):
        place.answers(head + error)
        answer = place.address.post("/v1/messages", {**BODY, "stream": stream}, *HEADERS)
        assert answer.status == 400
        assert "max_completion_tokens" not in answer.json["error"]["message"]
