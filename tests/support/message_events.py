"""What Anthropic's clients make of a stream: the message that its events add up to."""

from __future__ import annotations

from json import loads
from typing import Any


def message_events(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each of which says its type twice."""
    *found, rest = body.decode().split("\n\n")
    assert rest == ""
    events = []
    for text in found:
        name, data = text.split("\n")
        event = loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def accumulated(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message of a whole stream; every block is opened, grows and is closed in its turn."""
    events = [event for event in events if event["type"] != "ping"]
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    message: dict[str, Any] = events[0]["message"]
    texts: dict[int, str] = {}
    closed = set()
    for event in events[1:-2]:
        index = event["index"]
        assert index not in closed
        match event["type"]:
            case "content_block_start":
                assert index == len(message["content"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][index], event["delta"]
                if delta["type"] == "input_json_delta":
                    texts[index] = texts.get(index, "") + delta["partial_json"]
                else:
                    assert delta["type"] == f"{block['type']}_delta"
                    block[block["type"]] += delta[block["type"]]
            case "content_block_stop":
                closed.add(index)
    assert closed == {*range(len(message["content"]))}
    for index, text in texts.items():
        message["content"][index]["input"] = loads(text) if events[-2]["delta"]["stop_reason"] != "max_tokens" else text
    return {**message, **events[-2]["delta"], "usage": {**message["usage"], **events[-2]["usage"]}}
