"""Requests for responses, and about stored ones, whose answers are held against OpenAI's document."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

from tests.openapi.item_samples import telling
from tests.openapi.watched import Watched
from tests.support.callers import BOB

RESPONSES, TALKS = "/v1/responses", "/v1/conversations"
READ = ("function_call", "function_call_output", "reasoning", "web_search_call", "custom_tool_call")
"""Types of items that no model of these tests refuses."""


def use_responses(house: Watched) -> None:
    """Make responses in every way, and look at them."""
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
    form = {"type": "json_schema", "name": "form", "schema": {"type": "object"}, "strict": False}
    calls = [{"name": "weather", "arguments": {"at": "here"}}, {"name": "patch", "arguments": {"input": "x"}}]
    said = dumps({"echo": {"reasoning": "let me see", "content": "so", "refusal": "no", "tool_calls": calls}})
    options: list[dict[str, Any]] = [
        {},
        {"input": said, "tools": [tool, {"type": "custom", "name": "patch"}], "tool_choice": "auto"},
        {"input": dumps({"echo": {"content": "a b", "finish_reason": "length"}}), "max_output_tokens": 16},
        {"input": dumps({"echo": {"content": "a b", "error": {"after": 2}}})},
        {"instructions": "be brief", "metadata": {"a": "b"}, "temperature": 0.5, "user": "me", "truncation": "auto"},
        {"text": {"format": form, "verbosity": "low"}, "reasoning": {"effort": "low", "summary": "auto"}},
        {"conversation": house.made(TALKS, {})},
    ]
    for option in options:
        for stream in ({}, {"stream": True}):
            for store in ({}, {"store": False}):
                answer = house.ask("POST", RESPONSES, {"model": "small", "input": "hi", **option, **stream, **store})
                assert answer.status == 200 or "error" in str(option)
    one = f"{RESPONSES}/{house.made(RESPONSES, {'model': 'small', 'input': said})}"
    items = [item for item in telling(house.upload(filename="a.png").json["id"]) if item.get("type") in READ]
    # What another server has sealed is refused.
    items = [item for item in items if item.get("encrypted_content") is None]
    every = [*items, {"role": "user", "content": "hi"}]
    listed = f"{RESPONSES}/{house.made(RESPONSES, {'model': 'small', 'input': every})}"
    for path in (one, f"{one}/input_items", f"{listed}/input_items?limit=100&order=asc", f"{one}/input_items?limit=0"):
        house.ask("GET", path, caller=BOB)
        assert house.ask("GET", path).status in (200, 400)
    for given in ("hi", every):
        assert house.ask("POST", f"{RESPONSES}/input_tokens", {"model": "small", "input": given}).status == 200
        assert house.ask("POST", f"{RESPONSES}/compact", {"model": "small", "input": given}).status == 200
    _use_background(house)
    _use_servers_of_tools(house)
    assert house.ask("DELETE", one).status == 200
    assert house.ask("DELETE", one).status == 404


def _use_servers_of_tools(house: Watched) -> None:
    """Make responses that call tools of a server, ask for approvals, and fail to."""
    calls = [{"name": "s__echo", "arguments": {"text": "x"}}, {"name": "s__look", "arguments": "no object"}]
    asked = {"model": "small", "input": dumps({"echo": {"tool_calls": calls, "then": {"content": "so"}}})}
    tool = {"type": "mcp", "server_label": "s", "server_url": house.tools, "require_approval": "never"}
    unreached = {**tool, "server_url": house.tools.replace("/mcp", "/none")}
    for one in (tool, {**tool, "require_approval": "always"}, unreached):
        assert house.ask("POST", RESPONSES, {**asked, "tools": [one], "stream": True}).status == 200
        made = house.ask("POST", RESPONSES, {**asked, "tools": [one]})
        for request in made.json["output"]:
            if request["type"] == "mcp_approval_request":
                answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
                more = {"input": [answer], "previous_response_id": made.json["id"], "tools": [one], "stream": True}
                assert house.ask("POST", RESPONSES, {**asked, **more}).status == 200
                assert house.ask("POST", RESPONSES, {**asked, **more}).status == 400
        assert house.ask("GET", f"{RESPONSES}/{made.json['id']}/input_items").status == 200
    assert house.ask("POST", RESPONSES, {**asked, "tools": [{**tool, "server_url": "http://10.0.0.1/"}]}).status == 400


def _use_background(house: Watched) -> None:
    """Make responses that are answered later, read their events, and cancel one."""
    asked = {"model": "small", "input": dumps({"echo": {"content": "a b"}}), "background": True}
    streamed = house.ask("POST", RESPONSES, {**asked, "stream": True})
    assert streamed.status == 200
    identity = loads(streamed.body.split(b"data: ", 2)[1].split(b"\n")[0])["response"]["id"]
    assert house.ask("GET", f"{RESPONSES}/{identity}?stream=true&starting_after=1").status == 200
    slow = {**asked, "input": dumps({"echo": {"content": "a b", "delay_ms": 5000}})}
    one = f"{RESPONSES}/{house.made(RESPONSES, slow)}"
    for path in (one, f"{one}/input_items"):
        assert house.ask("GET", path).status == 200
    assert [house.ask("POST", f"{one}/cancel").status for _ in range(2)] == [200, 200]
    assert house.ask("GET", one).status == 200
    assert house.ask("POST", f"{one}/cancel", caller=BOB).status == 404
