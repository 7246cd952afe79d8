"""The stored form of items, against the answers that parsing and filtering the same items gives."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps, loads
from typing import Any

import pytest

from server.api.conversations.body import PREFIXES
from server.api.conversations.include import INCLUDABLE, INSTEAD
from server.api.conversations.stored_items import is_older, read_older, shown_item, stored_item
from server.json_input.strict import parse_json

Json = dict[str, Any]

HOSTILE = '"é😀\\","image_url":[{"results":{}}]'
ITEMS: list[Json] = [
    {"type": "message", "role": "user", "content": []},
    {"type": "message", "content": [{"type": "input_text", "text": HOSTILE}], HOSTILE: HOSTILE},
    {
        "type": "message",
        "input_image": {"image_url": "kept"},
        "content": [
            {"type": "input_image", "image_url": HOSTILE, "detail": "auto"},
            {"image_url": {"a": [1, None]}, "type": "input_image"},
            {"type": "output_text", "text": "x", "logprobs": [{"token": HOSTILE}], "image_url": "kept"},
            {"type": "input_file", "image_url": "kept", "logprobs": 1},
        ],
    },
    {"type": "code_interpreter_call", "outputs": [{"type": "logs", "logs": HOSTILE}], "code": None},
    {"type": "code_interpreter_call", "code": "outputs"},
    {"type": "computer_call_output", "output": {"image_url": HOSTILE, "type": "computer_screenshot"}},
    {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": None}},
    {"type": "computer_call_output", "output": {"image_url": 1}},
    {"type": "computer_call_output", "output": [{"image_url": "kept"}]},
    {"type": "file_search_call", "results": [HOSTILE], "queries": []},
    {"type": "reasoning", "encrypted_content": HOSTILE, "summary": []},
    {"type": "web_search_call", "action": {"sources": [HOSTILE], "type": "search"}, "results": [{}]},
    {"type": "web_search_call", "results": None, "action": {"type": "search", "sources": [], "query": "q"}},
    {"type": "web_search_call", "action": {"type": "message", "content": [{"type": "sources"}]}},
    {"type": "web_search_call", "action": "sources"},
    *({"type": kind} for kind in PREFIXES if kind != "message"),
]


def asked() -> Iterator[frozenset[str]]:
    yield frozenset()
    yield frozenset(INCLUDABLE)
    for name in INCLUDABLE:
        yield frozenset({name})


def filtered(item: Json, included: frozenset[str]) -> Json:
    """The item as it is to be shown, made member by member."""
    shown: Json = loads(dumps(item))
    for name in INCLUDABLE:
        kind, *path, last = name.split(".")
        if kind != item["type"] or name in included:
            continue
        for holder in holders(shown, path):
            if last in holder and name in INSTEAD:
                holder[last] = INSTEAD[name]
            elif last in holder:
                del holder[last]
    return shown


def holders(item: Json, path: list[str]) -> list[Json]:
    if not path:
        return [item]
    if item["type"] == "message":
        return [part for part in item["content"] if part["type"] == path[0]]
    return [item[path[0]]] if type(item.get(path[0])) is dict else []


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["type"])
def test_an_item_is_shown_without_what_was_not_asked_for(item: Json) -> None:
    stored = stored_item(item)
    assert not is_older(stored)
    assert loads(stored)[1] == item
    for included in asked():
        assert loads(shown_item("msg_1", stored, included)) == {"id": "msg_1", **filtered(item, included)}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["type"])
def test_the_text_of_an_older_server_is_read_as_the_same_item(item: Json) -> None:
    older = dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
    assert is_older(older)
    assert read_older(parse_json(older))["text"] == stored_item(item)


def test_what_is_shown_holds_every_byte_of_a_text_once() -> None:
    stored = stored_item({"type": "mcp_list_tools", "tools": [[[]]] * 3})
    assert shown_item("a", stored, frozenset()) == b'{"id":"a","type":"mcp_list_tools","tools":[[[]],[[]],[[]]]}'
