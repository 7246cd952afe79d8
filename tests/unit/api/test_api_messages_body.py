"""What the body of a message comes to as a chat, and what is wrong with one that comes to none."""

from __future__ import annotations

from json import dumps, loads
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from server.api.messages.body import COUNTED_MESSAGE, MESSAGE, read_counted_message, read_message
from server.json_input.strict import InvalidJson, parse_json

TOOL = {"name": "f", "input_schema": {"type": "object"}}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}


def chat(content: Any = "hi", **more: Any) -> Any:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}], **more}
    return loads(read_message(parse_json(dumps(body).encode()))["raw"])


def user(content: Any) -> Any:
    return chat(content)["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ({"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}, "https://a.example/b.png"),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "told"}}, "told"),
        ({"type": "document", "source": PDF, "title": "a.pdf"}, "data:application/pdf;base64,JVBERi0="),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "told"}]}}, "told"),
        (
            {
                "type": "search_result",
                "source": "https://a",
                "title": "t",
                "content": [{"type": "text", "text": "told"}],
            },
            "told",
        ),
    ],
)
def test_blocks_become_parts(block: dict[str, Any], parts: str) -> None:
    found = user([block, {"type": "text", "text": "what is it?"}])
    assert parts in dumps(found[0]) and found[-1] == {"type": "text", "text": "what is it?"}


def test_blanks_leave_nothing_that_a_model_would_refuse() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "b", "signature": ""}]},
        {"role": "user", "content": [{"type": "text", "text": " \n"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]},
    ]
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert chat(messages=messages, system="")["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": ""},
    ]


def test_results_come_before_what_the_user_says() -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "r"}]}
    found = chat([{"type": "text", "text": "now"}, result])["messages"]
    assert [message["role"] for message in found] == ["tool", "user"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_choices_of_tools(choice: dict[str, Any], expected: dict[str, Any]) -> None:
    found = chat(tools=[TOOL], tool_choice=choice)
    assert {name: found[name] for name in expected} == expected
    assert ("parallel_tool_calls" in found) == ("parallel_tool_calls" in expected)


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"temperature": 2}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stop_sequences": ["a"] * 65}, "stop_sequences"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"thinking": {"type": "on"}}, "thinking"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"mcp_servers": [{"url": "https://a.example"}]}, "mcp_servers"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format"),
        ({"Max_Tokens": 9}, "Max_Tokens"),
    ],
)
def test_what_can_not_be_a_chat_is_refused_at_its_place(more: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        chat(**more)
    assert refused.value.param == place


@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64", "media_type": "image/svg+xml", "data": "AAAA"},
        {"type": "base64", "media_type": "image/png", "data": "not base64!"},
        {"type": "base64", "media_type": "image/png", "data": ""},
        {"type": "file", "file_id": ""},
        {"type": "file"},
        {"type": []},
        None,
    ],
)
def test_an_image_is_what_a_chat_takes(source: Any) -> None:
    with pytest.raises(InvalidJson) as refused:
        user([{"type": "image", "source": source}])
    assert str(refused.value.param).startswith("messages[0].content[0].source")


@pytest.mark.parametrize(
    "source", [{"type": "url", "url": "https://a.example/b.pdf"}, {**PDF, "media_type": "text/html"}]
)
def test_a_document_is_text_or_a_pdf(source: Any) -> None:
    with pytest.raises(InvalidJson, match="send its text, or a PDF"):
        user([{"type": "document", "source": source}])


_VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-2, 3)
    | some.floats(-1, 2)
    | some.sampled_from(["", "text", "a", "1"]),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(
            some.sampled_from(
                [
                    "type",
                    "text",
                    "content",
                    "source",
                    "id",
                    "name",
                    "input",
                    "role",
                    "data",
                    "media_type",
                    "title",
                    "format",
                ]
            ),
            inner
            | some.sampled_from(["text", "image", "document", "tool_use", "tool_result", "user", "assistant", "any"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)
_MEMBERS = [
    *("model", "messages", "max_tokens", "system", "tools", "tool_choice", "stop_sequences", "stream", "thinking"),
    *("metadata", "temperature", "output_config", "output_format", "mcp_servers", "other"),
]


@given(
    some.dictionaries(some.sampled_from(_MEMBERS), _VALUES, max_size=6),
    some.lists(
        some.fixed_dictionaries({"role": some.sampled_from(["user", "assistant"]), "content": _VALUES}), max_size=3
    ),
)
def test_any_body_is_a_chat_or_has_one_thing_wrong(more: dict[str, Any], messages: list[Any]) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": messages, **more}
    document = parse_json(dumps(body).encode())
    for parser, read in ((MESSAGE, read_message), (COUNTED_MESSAGE, read_counted_message)):
        try:
            told = read(document)
        except InvalidJson as refusal:
            assert refusal.message and refusal.message[0] in "`abcdefghijklmnopqrstuvwxyz"
            continue
        assert parse_json(told["raw"]).members["messages"]
        assert parser.value(told).model == body["model"]
