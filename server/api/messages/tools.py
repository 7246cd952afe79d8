"""The tools of a message's body, as a chat has them.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from typing import Any, Final

from server.http.body_checks import short, text_at, wrong
from server.json_input.strict import InvalidJson, Json

LONGEST_TOOL: Final = 128
"""Characters of the name of a tool."""

_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def tools_of(body: Json) -> Json:
    """Return the members of a chat about its tools; raises InvalidJson."""
    if body.get("mcp_servers"):
        sentence = "`mcp_servers` is not served here, and their tools would not be called; leave it out"
        raise InvalidJson(sentence, "mcp_servers", "unsupported_parameter")
    tools = body.get("tools")
    if not isinstance(tools, list | None):
        raise wrong("tools", "must be a list")
    functions = [_function(tool, f"tools[{number}]") for number, tool in enumerate(tools or ())]
    choice = _choice(body, {each["function"]["name"] for each in functions})
    return {"tools": functions, **choice} if functions else {}


def _function(tool: Any, place: str) -> Json:
    if type(tool) is not dict:
        raise wrong(place, "must be an object")
    kind = tool.get("type")
    if type(kind) not in (str, type(None)):
        raise wrong(f"{place}.type", "must be a text")
    if kind not in (None, "custom"):
        # A model that is told nothing of it would make its results up.
        sentence = (
            f"`{place}` has the type `{short(kind)}`, and no such tool is run or described here; leave it out, or "
            "offer one with an `input_schema`"
        )
        raise InvalidJson(sentence, f"{place}.type", "unsupported_value")
    name, schema = text_at(tool, "name", place, LONGEST_TOOL), tool.get("input_schema")
    if type(schema) is not dict:
        raise wrong(f"{place}.input_schema", "must be an object")
    function: Json = {"name": name, "parameters": schema}
    if tool.get("description") is not None:
        function["description"] = text_at(tool, "description", place)
    if tool.get("strict") is not None:
        if type(tool["strict"]) is not bool:
            raise wrong(f"{place}.strict", "must be true or false")
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _choice(body: Json, names: set[str]) -> Json:
    choice = body.get("tool_choice")
    if choice is None:
        return {}
    if type(choice) is not dict or type(choice.get("type")) is not str:
        raise wrong("tool_choice", "must be an object with a `type`")
    kind, alone = choice["type"], choice.get("disable_parallel_tool_use")
    if alone not in (True, False, None):
        raise wrong("tool_choice.disable_parallel_tool_use", "must be true or false")
    parallel = {"parallel_tool_calls": False} if alone else {}
    if kind == "tool":
        name = text_at(choice, "name", "tool_choice")
        if name not in names:
            raise wrong("tool_choice.name", "must be the name of one of `tools`")
        return {"tool_choice": {"type": "function", "function": {"name": name}}, **parallel}
    if kind not in _CHOICES:
        raise wrong("tool_choice.type", "must be `auto`, `any`, `tool` or `none`")
    if kind == "any" and not names:
        raise wrong("tool_choice", "asks for a call, and there are no `tools`")
    return {"tool_choice": _CHOICES[kind], **parallel}
