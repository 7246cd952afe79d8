"""The members of a chat about its tools, with those that this server runs among them."""

from __future__ import annotations

from typing import Any

from server.api.responses.body import ResponseBody
from server.api.responses.server_tools.tool import ServerTool, ToolSet
from server.json_input.strict import Json


def settings_with(body: ResponseBody, tools: ToolSet, *, is_first: bool = True, may_call: bool = True) -> Json:
    """Return the settings of the chat that asks for an answer, the first one of a response or a later one.

    What the caller has chosen counts for the first one alone: a model that must call a tool would never end. A model
    that may not call the tools of this server any more is offered them nevertheless, since the chat has calls of them.
    """
    offered = [tool for tool in tools.tools.values() if tool.offered is not None]
    if not offered:
        return body.settings
    choice = body.shown["tool_choice"]
    is_first = is_first or choice == "none"
    settings = {name: value for name, value in body.settings.items() if name != "tool_choice"}
    if type(choice) is dict and choice["type"] == "allowed_tools":
        offered = [tool for tool in offered if _is_allowed(tool, choice["tools"])]
    mode = _mode(body, choice, offered) if is_first else "auto"
    if is_first and mode == "required" and type(choice) is dict and choice["type"] != "allowed_tools":
        # A server with several tools is chosen: one of them is called.
        offered = [tool for tool in offered if tool.is_named_by(choice)]
        settings.pop("tools", None)
    every = [*settings.get("tools", ()), *(tool.offered for tool in offered)]
    if not every:
        return settings
    if not body.shown["parallel_tool_calls"]:
        settings["parallel_tool_calls"] = False
    if mode == "auto" and not may_call and not body.offered:
        mode = "none"
    return {**settings, "tools": every, **({} if mode == "auto" else {"tool_choice": mode})}


def is_chosen(body: ResponseBody, tool: ServerTool, *, is_first: bool) -> bool:
    """Return whether `tool_choice` lets a tool be called: models call what they weren't offered, too.

    A choice of one tool counts for the first answer alone, as it does for what is offered.
    """
    choice = body.shown["tool_choice"]
    if type(choice) is str:
        return choice != "none"
    if choice["type"] == "allowed_tools":
        return _is_allowed(tool, choice["tools"])
    return not is_first or tool.is_named_by(choice)


def _mode(body: ResponseBody, choice: Any, offered: list[ServerTool]) -> Any:
    """Return the `tool_choice` of the chat."""
    if type(choice) is str:
        return choice
    if choice["type"] == "allowed_tools":
        return choice.get("mode", "auto")
    named = [tool for tool in offered if tool.is_named_by(choice)]
    if not named:
        return body.settings.get("tool_choice", "auto")
    if len(named) > 1:
        return "required"
    function = named[0].offered or {}
    return {"type": "function", "function": {"name": function["function"]["name"]}}


def _is_allowed(tool: ServerTool, allowed: list[Any]) -> bool:
    return any(type(each) is dict and type(each.get("type")) is str and tool.is_named_by(each) for each in allowed)
