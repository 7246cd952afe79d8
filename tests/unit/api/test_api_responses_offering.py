"""The tools that a chat is offered, and whether its model has to call one."""

from __future__ import annotations

from dataclasses import dataclass
from json import dumps
from typing import Any

import pytest

from server.api.responses.body import RESPONSE, ResponseBody
from server.api.responses.server_tools.offering import settings_with
from server.api.responses.server_tools.tool import ToolSet
from server.json_input.strict import Json, parse_json
from tests.support.scripted_tools import Tool

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}


@dataclass
class Named(Tool):
    """A tool of a server, which choices name by its server, or by its server and its name."""

    name: str = ""
    is_refused: bool = False

    @property
    def offered(self) -> Json | None:
        return None if self.is_refused else {"type": "function", "function": {"name": self.name}}

    def is_named_by(self, choice: Json) -> bool:
        return choice["type"] == "mcp" and choice.get("name") in (None, self.name)


def body(**members: Any) -> ResponseBody:
    raw = dumps({"model": "m", "input": "hi", **members}).encode()
    return RESPONSE.value(RESPONSE.check(parse_json(raw)))


def tools(*names: str, refused: str = "") -> ToolSet:
    found = ToolSet(["f"])
    for name in names:
        found.add(name, Named(name=name, is_refused=name == refused), "tools[0]")
    return found


def asked(settings: Json) -> tuple[list[str], Any]:
    """The names that are offered, and the choice."""
    names = [tool["function"]["name"] for tool in settings.get("tools", ())]
    choice = settings.get("tool_choice")
    return names, choice["function"]["name"] if type(choice) is dict else choice


ALL = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "mcp"}, 7, {"type": 1}]}
ONE = {
    "type": "allowed_tools",
    "mode": "auto",
    "tools": [{"type": "mcp", "name": "a"}, {"type": "function", "name": "f"}],
}


@pytest.mark.parametrize(
    ("choice", "first", "later"),
    [
        (None, (["f", "a", "b"], None), (["f", "a", "b"], None)),
        ("auto", (["f", "a", "b"], None), (["f", "a", "b"], None)),
        ("none", (["f", "a", "b"], "none"), (["f", "a", "b"], "none")),
        ("required", (["f", "a", "b"], "required"), (["f", "a", "b"], None)),
        ({"type": "function", "name": "f"}, (["f", "a", "b"], "f"), (["f", "a", "b"], None)),
        ({"type": "mcp", "name": "b"}, (["f", "a", "b"], "b"), (["f", "a", "b"], None)),
        # Of a server with two tools, one of them is called.
        ({"type": "mcp"}, (["a", "b"], "required"), (["f", "a", "b"], None)),
        ({"type": "mcp", "name": "c"}, (["f", "a", "b"], None), (["f", "a", "b"], None)),
        ({"type": "file_search"}, (["f", "a", "b"], None), (["f", "a", "b"], None)),
        (ALL, (["a", "b"], "required"), (["a", "b"], None)),
        (ONE, (["f", "a"], None), (["f", "a"], None)),
    ],
)
def test_a_choice_holds_for_the_first_answer(choice: Any, first: Any, later: Any) -> None:
    of = body(tools=[FUNCTION], **({} if choice is None else {"tool_choice": choice}))
    assert asked(settings_with(of, tools("a", "b"))) == first
    assert asked(settings_with(of, tools("a", "b"), is_first=False)) == later


def test_a_refused_tool_is_not_offered() -> None:
    of = body(tools=[FUNCTION], tool_choice={"type": "mcp"})
    assert asked(settings_with(of, tools("a", "b", refused="a"))) == (["f", "a", "b"][::2], "b")
    assert asked(settings_with(of, tools("a", refused="a"))) == (["f"], "auto")


def test_without_tools_of_servers_a_chat_is_as_it_was() -> None:
    of = body(tools=[FUNCTION], tool_choice="required", parallel_tool_calls=False)
    assert settings_with(of, ToolSet()) is of.settings


def test_a_model_that_may_call_no_more_is_told_so_where_it_has_no_functions() -> None:
    assert asked(settings_with(body(), tools("a"), is_first=False, may_call=False)) == (["a"], "none")
    of = body(tools=[FUNCTION])
    assert asked(settings_with(of, tools("a"), is_first=False, may_call=False)) == (["f", "a"], None)


def test_calls_beside_each_other_can_be_forbidden() -> None:
    assert "parallel_tool_calls" not in settings_with(body(), tools("a"))
    assert settings_with(body(parallel_tool_calls=False), tools("a"))["parallel_tool_calls"] is False
