"""The public types of Open Responses on what this server answers, and the cases of its compliance suite over HTTP.

The cases are written here after what the suite checks.
"""

from __future__ import annotations

from base64 import b64encode
from json import dumps, loads
from typing import Any

import httpx
import openresponses_types.types as types
from parts import ALICE, BOB, CHAT, ECHO, URL, run
from pydantic import BaseModel

KIND = "response."
OURS = {f"{KIND}reasoning_text.{when}": f"{KIND}reasoning.{when}" for when in ("delta", "done")}
"""Events that are called otherwise by OpenAI, and by its SDK."""

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Tell the weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PIXEL = (
    "data:image/png;base64,"
    + b64encode(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
            "0000000d49444154789c63f8cfc0f01f0005000 1ff5691d0a00000000049454e44ae426082".replace(" ", "")
        )
    ).decode()
)
CLIENT = httpx.Client(headers={"Authorization": f"Bearer {ALICE}"}, timeout=60)


def events_by_type() -> dict[str, type[BaseModel]]:
    """The types of events, by the value of their `type`."""
    found = {}
    for name, kind in vars(types).items():
        if name.endswith("StreamingEvent") and isinstance(kind, type):
            values = kind.model_fields["type"].annotation
            assert values is not None
            found[next(iter(values)).value] = kind
    return found


EVENTS = events_by_type()


def message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def judge(made: Any) -> None:
    """Hold a response against its type, in which the schema of a form is null: a form is left out."""
    types.ResponseResource.model_validate({**made, "text": {**made["text"], "format": {"type": "text"}}})


def whole(said: Any = "hi", model: str = CHAT, **more: Any) -> Any:
    """A response, which has been judged."""
    answer = CLIENT.post(f"{URL}/responses", json={"model": model, "input": said, **more})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    judge(made)
    assert made["output"]
    return made


def streamed(said: Any = "hi", model: str = CHAT, **more: Any) -> list[Any]:
    """The events of a response, each of which has been judged."""
    body = {"model": model, "input": said, "stream": True, **more}
    with CLIENT.stream("POST", f"{URL}/responses", json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines.pop() == "data: [DONE]"
    events = [loads(line[6:]) for line in lines]
    for number, event in enumerate(events):
        assert event["sequence_number"] == number
        name = OURS.get(event["type"], event["type"])
        if name in EVENTS:
            if "response" in event:
                judge(event["response"])
            else:
                EVENTS[name].model_validate({**event, "type": name})
    return events


def scripted(**members: Any) -> str:
    return dumps({"echo": members})


def basic_response() -> None:
    made = whole([message("user", "Say hello in exactly three words.")])
    assert made["status"] == "completed"


def streaming_response() -> None:
    events = streamed([message("user", "Count from one to five.")])
    assert (events[-1]["type"], events[-1]["response"]["status"]) == ("response.completed", "completed")
    assert events[-1]["response"]["output"]


def system_prompt() -> None:
    made = whole([message("system", "You are a pirate."), message("user", "Say hello.")])
    assert made["status"] == "completed"


def tool_calling() -> None:
    made = whole([message("user", "What is the weather like in Paris?")], tools=[WEATHER])
    assert [item["type"] for item in made["output"]] == ["function_call"]
    assert made["tools"][0]["name"] == "get_weather" and made["tool_choice"] == "auto"


def image_input() -> None:
    parts = [{"type": "input_text", "text": "What is in this image?"}, {"type": "input_image", "image_url": PIXEL}]
    assert whole([message("user", parts)])["status"] == "completed"


def multi_turn() -> None:
    said = [message("user", "My name is Alice."), message("assistant", "Hello Alice!"), message("user", "My name?")]
    assert whole(said)["status"] == "completed"


def assistant_phase() -> None:
    earlier = {**message("assistant", "Let me look."), "phase": "commentary"}
    assert whole([message("user", "hi"), earlier, message("user", "and?")])["status"] == "completed"


def compaction() -> None:
    said = [message("user", "remember the door"), message("assistant", "yes"), message("user", "and the key")]
    answer = CLIENT.post(f"{URL}/responses/compact", json={"model": CHAT, "input": said})
    types.CompactResource.model_validate(answer.json())
    assert answer.json()["output"][-1]["type"] == "compaction"
    whole([*answer.json()["output"], message("user", "go on")])
    assert CLIENT.post(f"{URL}/responses/compact", json={"input": said}).status_code in (400, 422)
    long = [message("user", "x" * 9_000), message("assistant", "yes"), message("user", "go on")]
    made = whole(long, context_management=[{"type": "compaction", "compact_threshold": 1_000}])
    assert [item["type"] for item in made["output"]] == ["compaction", "message"]


def every_object_and_event() -> None:
    calls = [{"name": "get_weather", "arguments": {"city": "Rome"}}, {"name": "get_weather", "arguments": {}}]
    said = scripted(reasoning="let me see", content="a b", refusal="no", tool_calls=calls)
    form = {"type": "json_schema", "name": "form", "schema": {"type": "object"}, "strict": False}
    options: list[dict[str, Any]] = [
        {},
        {"tools": [WEATHER], "parallel_tool_calls": False, "tool_choice": {"type": "function", "name": "get_weather"}},
        {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [WEATHER]}},
        {"include": ["reasoning.encrypted_content"], "store": False, "reasoning": {"effort": "low"}},
        {"text": {"format": form, "verbosity": "low"}, "metadata": {"a": "b"}, "max_output_tokens": 16},
        {"instructions": "be brief", "user": "me", "prompt_cache_key": "k", "safety_identifier": "s"},
        {"temperature": 0.5, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": -1, "truncation": "auto"},
    ]
    for option in options:
        for text in (said, scripted(content="a b", finish_reason="length"), "plain"):
            made, events = whole(text, ECHO, **option), streamed(text, ECHO, **option)
            last = events[-1]["response"]
            assert [item["type"] for item in made["output"]] == [item["type"] for item in last["output"]]
            assert made["usage"] == last["usage"]
    failed = streamed(scripted(content="a b c", error={"after": 2}), ECHO)[-1]
    assert (failed["type"], failed["response"]["error"]["code"]) == ("response.failed", "server_error")


def stored() -> None:
    made = whole("hi", ECHO)
    judge(CLIENT.get(f"{URL}/responses/{made['id']}").json())
    more = whole("more", ECHO, previous_response_id=made["id"])
    assert more["previous_response_id"] == made["id"]
    with httpx.Client(headers={"Authorization": f"Bearer {BOB}"}) as other:
        body = {"model": ECHO, "input": "x", "previous_response_id": made["id"]}
        refused = other.post(f"{URL}/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "previous_response_not_found")


run(
    basic_response,
    streaming_response,
    system_prompt,
    tool_calling,
    image_input,
    multi_turn,
    assistant_phase,
    compaction,
    every_object_and_event,
    stored,
)
