"""The chat that items come to: messages, tools, and the settings of an answer."""

from __future__ import annotations

from json import dumps
from typing import Any

import pytest

from server.api.responses.body import RESPONSE
from server.api.responses.turn import TURN, asked_turn, messages_of
from server.json_input.strict import InvalidJson, parse_json

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}


def chat(**body: Any) -> dict[str, Any]:
    """The chat that a body comes to."""
    raw = dumps({"model": "m", "input": "hi", **body}).encode()
    asked = RESPONSE.value(RESPONSE.check(parse_json(raw)))
    items = [item.stored[item.stored.index(b"{") : -1] for item in asked.items]
    text = asked_turn(asked.model, asked.settings, [], items, stream=asked.stream)
    turn = TURN.value(TURN.check(parse_json(text)))
    return parse_json(turn.raw).members


@pytest.mark.parametrize(
    ("tool", "shown"),
    [
        (
            {"type": "elsewhere", "server": {"authorization": "s3", "Headers": {"a": "s3"}, "url": "u"}},
            {"type": "elsewhere", "server": {"url": "u"}},
        ),
        (
            {"type": "MCP", "Authorization": "s3", "server_url": "https://h:1/s3?k=s3"},
            {"type": "MCP", "server_url": "https://h:1"},
        ),
        (
            {"type": "namespace", "name": "n", "tools": [{**FUNCTION, "headers": {"a": "s3"}}]},
            {"type": "namespace", "name": "n", "tools": [FUNCTION]},
        ),
        # The names of what a function takes are no secrets.
        (
            {**FUNCTION, "parameters": {"properties": {"headers": {}, "authorization": {}}}},
            {**FUNCTION, "parameters": {"properties": {"headers": {}, "authorization": {}}}},
        ),
    ],
)
def test_no_tool_is_repeated_with_credentials(tool: dict[str, Any], shown: dict[str, Any]) -> None:
    other = {"type": "allowed_tools", "tools": [tool, {"type": "function", "name": "f"}]}
    raw = dumps({"model": "m", "input": "hi", "tools": [tool], "tool_choice": other}).encode()
    told = RESPONSE.value(RESPONSE.check(parse_json(raw))).shown
    assert told["tools"] == [shown]
    assert told["tool_choice"]["tools"][0] == shown


def message(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [*parts]}


def said(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def test_a_plain_text_is_a_message_and_nothing_else() -> None:
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert chat(stream=True)["stream_options"] == {"include_usage": True}


def test_reasoning_stands_in_the_message_that_comes_of_it() -> None:
    def thought(*texts: object) -> dict[str, Any]:
        return {"type": "reasoning", "content": [{"type": "reasoning_text", "text": text} for text in texts]}

    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "x"}
    answer = message("assistant", {"type": "output_text", "text": "y"})
    items = [
        *(message("user", said("a")), thought("one"), thought("two", 7), call, output, thought("three"), answer),
        *(thought("lost"), message("user", said("b")), answer, {"type": "reasoning", "content": "odd"}, call),
    ]
    with_it = messages_of([], items, "r")
    assert [each.get("r") for each in with_it] == [None, "one\n\ntwo", None, "three", None, None]
    assert messages_of([], items) == [{k: v for k, v in each.items() if k != "r"} for each in with_it]


def test_items_become_messages_in_their_order() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    messages = messages_of(
        ["be brief", ""],
        [
            message("developer", said("d")),
            message("user", said("a"), said("b")),
            {"type": "reasoning", "summary": []},
            message("assistant", {"type": "output_text", "text": "x"}, {"type": "refusal", "refusal": "y"}),
            call,
            {**call, "call_id": "d", "namespace": "n"},
            {**call, "status": "incomplete"},
            {"type": "function_call_output", "call_id": "c", "output": [said("one"), {"type": "input_image"}]},
            {"type": "web_search_call", "action": {}},
        ],
    )
    calls = [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "d", "type": "function", "function": {"name": "n__f", "arguments": "{}"}},
    ]
    assert messages == [
        {"role": "system", "content": "be brief"},
        {"role": "system", "content": "d"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "xy", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": "one\n[input_image]"},
    ]


def test_calls_without_a_text_before_them_have_a_message_of_their_own() -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "a\nb"}
    [made, _] = messages_of([], [call, {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"}])
    assert made["content"] is None
    assert made["tool_calls"][0]["function"] == {"name": "patch", "arguments": '{"input": "a\\nb"}'}


def test_nothing_to_read_is_refused() -> None:
    with pytest.raises(InvalidJson) as refusal:
        messages_of([], [message("assistant", {"type": "output_text", "text": ""})])
    assert refusal.value.param == "input"


def test_images_and_files_are_parts() -> None:
    image = {"type": "input_image", "image_url": "data:x", "detail": "low"}
    file = {"type": "input_file", "file_data": "data:y", "filename": "a.pdf"}
    [made] = messages_of(
        [], [message("user", image, file, {"type": "input_file", "file_id": "file-1", "file_data": "z"})]
    )
    assert made["content"] == [
        {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:y", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]


def test_settings_have_the_names_of_a_chat() -> None:
    made = chat(
        temperature=0,
        max_output_tokens=20,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}, "verbosity": "high"},
        prompt_cache_key="k",
        parallel_tool_calls=False,
        metadata={"a": "b"},
        service_tier="flex",
    )
    del made["messages"]
    assert made == {
        "model": "m",
        "temperature": 0,
        "max_completion_tokens": 20,
        "prompt_cache_key": "k",
        "reasoning_effort": "low",
        "verbosity": "high",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
    }
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}


def test_tools_are_functions_to_a_model() -> None:
    space = {
        "type": "namespace",
        "name": "files",
        "description": "d",
        "tools": [FUNCTION, {"type": "custom", "name": "p"}],
    }
    custom = {"type": "custom", "name": "patch", "description": "a patch", "format": {"type": "text"}}
    made = chat(tools=[FUNCTION, custom, space, {"type": "web_search"}], parallel_tool_calls=False, tool_choice="none")
    offered = [tool["function"] for tool in made["tools"]]
    assert [function["name"] for function in offered] == ["f", "patch", "files__f", "files__p"]
    assert offered[0] == {"name": "f", "parameters": {"type": "object"}, "strict": True}
    assert offered[1]["parameters"]["required"] == ["input"]
    assert (made["parallel_tool_calls"], made["tool_choice"]) == (False, "none")


def test_long_names_of_namespaces_stay_apart() -> None:
    spaces = [{"type": "namespace", "name": letter * 60, "tools": [{**FUNCTION, "name": "f" * 60}]} for letter in "ab"]
    spaces.append({**spaces[0], "tools": [{**FUNCTION, "name": "f" * 59 + "g"}]})
    names = [tool["function"]["name"] for tool in chat(tools=spaces)["tools"]]
    assert len({*names}) == 3 and all(len(name) <= 64 for name in names)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "custom", "name": "p"}, {"type": "function", "function": {"name": "p"}}),
        ({"type": "web_search"}, "auto"),
    ],
)
def test_a_choice_names_what_is_offered(choice: Any, expected: Any) -> None:
    tools = [FUNCTION, {"type": "custom", "name": "p"}, {"type": "web_search"}]
    assert chat(tools=tools, tool_choice=choice)["tool_choice"] == expected


def test_allowed_tools_are_the_ones_that_are_offered() -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}
    made = chat(tools=[FUNCTION, {**FUNCTION, "name": "g"}], tool_choice=allowed)
    assert ([tool["function"]["name"] for tool in made["tools"]], made["tool_choice"]) == (["f"], "required")
    nothing = chat(tools=[FUNCTION], tool_choice={**allowed, "tools": []})
    assert not nothing.keys() & {"tools", "tool_choice"}


def test_tools_that_no_model_knows_are_left_out() -> None:
    made = chat(tools=[{"type": "web_search", "headers": {"a": "b"}}, {"type": "computer"}], tool_choice="required")
    assert not made.keys() & {"tools", "tool_choice"}


def test_calls_that_this_server_has_made_stand_with_what_they_came_to() -> None:
    made = {"type": "mcp_call", "server_label": "s", "name": "add", "arguments": "{}", "output": "3"}
    asked = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    messages = messages_of(
        [],
        [
            asked,
            made,
            {**made, "output": None, "error": "gone"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
            made,
            {**made, "name": None},
        ],
    )
    # A chat has the output of each call right behind it.
    for place, each in enumerate(messages):
        for number, call in enumerate(each.get("tool_calls", ())):
            assert messages[place + 1 + number]["tool_call_id"] == call["id"]
    assert [each["content"] for each in messages if each["role"] == "tool"] == ["3", '{"error": "gone"}', "1", "3"]
    names = [call["function"]["name"] for each in messages for call in each.get("tool_calls", ())]
    assert names == ["s__add", "s__add", "f", "s__add"]
