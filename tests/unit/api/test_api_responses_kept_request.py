"""Requests that are kept until their responses are answered: nothing of them is lost, and no secret is kept."""

from __future__ import annotations

from dataclasses import replace
from json import dumps
from typing import Any

import pytest

from server.api.responses.background.kept_request import kept_request, request_of
from server.api.responses.body import RESPONSE, InputItem, ResponseBody
from server.http.errors import ApiError
from server.json_input.strict import parse_json

ASKED = {
    "model": "m",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]},
        {"type": "item_reference", "id": "msg_1"},
    ],
    "instructions": "be brief",
    "include": ["message.output_text.logprobs"],
    "tools": [{"type": "custom", "name": "patch"}, {"type": "function", "name": "f", "parameters": {}}],
    "prompt": {"id": "pmpt_1", "version": "2", "variables": {"a": "b"}},
    "previous_response_id": "resp_1",
    "background": True,
    "stream": True,
    "metadata": {"x": "y"},
}


def body_of(asked: dict[str, Any]) -> ResponseBody:
    return RESPONSE.value(RESPONSE.check(parse_json(dumps(asked).encode())))


def test_all_but_the_items_comes_back() -> None:
    body = body_of(ASKED)
    back = request_of(kept_request(body))
    assert back.items == [InputItem(item.word, b"", item.copy_of) for item in body.items]
    assert replace(back, items=()) == replace(body, items=())


@pytest.mark.parametrize("name", ["authorization", "headers"])
def test_a_secret_is_not_kept(name: str) -> None:
    body = replace(body_of(ASKED), served={"mcp": [("tools[0]", {"server_label": "a", name: {"x": "secret"}})]})
    with pytest.raises(ApiError) as refused:
        kept_request(body)
    assert (refused.value.status, refused.value.param) == (400, f"tools[0].{name}")
    assert "secret" not in refused.value.message
    assert kept_request(replace(body, served={"mcp": [("tools[0]", {name: None})]}))
