"""Faults of other servers that are public: what each of them got wrong is right here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.failing_provider import Upstream, upstream
from tests.support.responses_server import RESPONSES, Responding, responding, script

SPACE = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": {}}]}


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("faults"), upstream=far.url) as running:
        yield running


def test_items_of_tools_in_the_history_are_no_failure(place: Responding, far: Upstream) -> None:
    items = [
        {"type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "look", "input_schema": {}}]},
        {"type": "mcp_call", "server_label": "s", "name": "look", "arguments": "{}", "output": "seen"},
        {"type": "mcp_approval_request", "server_label": "s", "name": "look", "arguments": "{}"},
        {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "file_search_call", "status": "completed", "queries": ["x"]},
        {"type": "image_generation_call", "status": "completed", "result": "AAAA"},
        {"type": "local_shell_call", "call_id": "l", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"role": "user", "content": "and now?"},
    ]
    first = place.made(items, model="m")
    second = place.made("more", model="m", previous_response_id=first["id"])
    assert [item["type"] for item in place.items(second["id"])][: len(items)] == [
        *(item.get("type", "message") for item in items)
    ]
    assert [message.get("content") for message in far.body["messages"]][-3:] == ["and now?", "Hello, wörld", "more"]


@pytest.mark.parametrize("stream", [False, True])
def test_functions_of_a_namespace_are_called_by_their_own_names(place: Responding, stream: bool) -> None:
    text = script(tool_calls=[{"name": "n__f", "arguments": {}}])
    if stream:
        events = place.streamed(text, tools=[SPACE])
        last = events[-1]["response"]
        done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
        assert (done["name"], done["arguments"]) == ("f", "{}")
    else:
        last = place.made(text, tools=[SPACE])
    [call] = last["output"]
    assert (call["type"], call["name"], call["namespace"], last["tools"]) == ("function_call", "f", "n", [SPACE])


def test_a_response_can_be_gone_on_from_at_once(place: Responding) -> None:
    for _ in range(5):
        identity = place.streamed("hi")[-1]["response"]["id"]
        assert place.made("more", previous_response_id=identity)["status"] == "completed"


def test_a_call_in_one_piece_keeps_its_arguments(place: Responding) -> None:
    calls = [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": ""}]
    for made in (place.made(script(tool_calls=calls)), place.streamed(script(tool_calls=calls))[-1]["response"]):
        assert [call["arguments"] for call in made["output"]] == ['{"a":1}', "{}"]


def test_half_a_character_burns_no_number(place: Responding) -> None:
    events = place.streamed(script(content="a \ud83d b"))
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    assert place.ask("GET", f"{RESPONSES}/{events[-1]['response']['id']}").status == 200


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "function", "name": "f", "parameters": nested(400)}]},
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": nested(400)}}},
        {"metadata": nested(400)},
        {"input": [{"type": "custom_tool_call", "call_id": "c", "name": "f", "input": nested(400)}]},
        {"input": [{"role": "user", "content": "x"}] * 10_000},
        {
            "input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "x", "y": [[]] * 60_000}]}]
            * 2
        },
        {"input": [{"type": "item_reference", "id": "msg_1"}] * 101},
        {"tools": [{"type": "web_search"}] * 513},
    ],
)
@pytest.mark.parametrize("route", ["", "/input_tokens", "/compact"])
def test_what_is_deep_or_many_is_one_clear_error(place: Responding, body: dict[str, Any], route: str) -> None:
    before = place.count()
    answer = place.ask("POST", f"{RESPONSES}{route}", {"model": "small", "input": "hi", **body})
    if route == "/compact" and "input" not in body and answer.status == 200:
        return  # what a summary has no use for is not read
    assert (answer.status in (400, 413), answer.json["error"]["type"], place.count()) == (
        *(True, "invalid_request_error", before),
    )
