"""Requests for chats as requests of the Converse API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from server.inference.answers.plain import encoded
from server.inference.providers.bedrock.guardrail import Guardrail
from server.inference.providers.bedrock.parts import NotConverse
from server.inference.providers.bedrock.turns import Turns, safe_name
from server.json_input.strict import Json

_ANY_INPUT: Final[Json] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Converse:
    """One request of the Converse API.

    `hides_calls` if the caller wants no calls of tools, which have to be told to the model all the same.
    `reports_usage` if a stream ends with its usage. `is_text` if the answer is to be a completion, not a chat's.
    `is_guarded` if a guardrail of the configuration reads it.
    """

    payload: bytes
    hides_calls: bool
    reports_usage: bool
    is_text: bool = False
    is_guarded: bool = False


def converse_of(body: Json, guardrail: Guardrail | None = None, *, is_text: bool = False) -> Converse:
    """Return the request for the body of a chat; raises NotConverse."""
    if body.get("n") not in (None, 1):
        raise NotConverse("takes one choice", "n")
    turns = Turns()
    for number, message in enumerate(body["messages"]):
        turns.add(message, f"messages[{number}]")
    request: Json = {"messages": turns.turns()}
    if turns.system:
        request["system"] = turns.system
    limits = _inference(body)
    if limits:
        request["inferenceConfig"] = limits
    if body.get("top_k") is not None:
        request["additionalModelRequestFields"] = {"top_k": body["top_k"]}
    tools, hides_calls = _tools(body, turns)
    if tools is not None:
        request["toolConfig"] = tools
    form = _form(body.get("response_format"))
    if form is not None:
        request["outputConfig"] = {"textFormat": form}
    options = body.get("stream_options")
    reports = type(options) is dict and options.get("include_usage") is True
    if guardrail is not None:
        guardrail.guard(request, streamed=body.get("stream") is True)
    return Converse(encoded(request), hides_calls, reports, is_text, guardrail is not None)


def _inference(body: Json) -> Json:
    limit = body.get("max_completion_tokens")
    limit = body.get("max_tokens") if limit is None else limit
    stop = body.get("stop")
    given = {
        "maxTokens": limit,
        "temperature": body.get("temperature"),
        "topP": body.get("top_p"),
        "stopSequences": [stop] if type(stop) is str else stop,
    }
    return {name: value for name, value in given.items() if value is not None and value != []}


def _tools(body: Json, turns: Turns) -> tuple[Json | None, bool]:
    """Return the tools, and whether calls are hidden. A history with calls needs tools, even where none may be used."""
    specs = _specs(body)
    choice = body.get("tool_choice")
    if choice is None and "tools" not in body:
        choice = body.get("function_call")
    if type(choice) is dict and choice.get("type") == "allowed_tools":
        specs, choice = _allowed(specs, choice)
    hides_calls = choice == "none" or not specs
    specs = specs or [{"name": name, "inputSchema": {"json": _ANY_INPUT}} for name in turns.names]
    if not specs:
        return None, hides_calls
    config: Json = {"tools": [{"toolSpec": spec} for spec in specs]}
    if not hides_calls:
        config |= _choice(choice)
    return config, hides_calls


def _specs(body: Json) -> list[Json]:
    tools = body.get("tools")
    if tools is None:
        functions = body.get("functions") or []
        tools = [{"type": "function", "function": one} for one in functions] if type(functions) is list else functions
    if type(tools) is not list:
        raise NotConverse("must be a list", "tools", "invalid_value")
    return [_spec(tool, f"tools[{number}]") for number, tool in enumerate(tools)]


def _spec(tool: Any, place: str) -> Json:
    if type(tool) is not dict or tool.get("type", "function") != "function" or type(tool.get("function")) is not dict:
        raise NotConverse("must be a function", place)
    function = tool["function"]
    name, description = function.get("name"), function.get("description")
    if type(name) is not str or safe_name(name) != name:
        sentence = "must be up to 64 letters, digits, `_` and `-`"
        raise NotConverse(sentence, f"{place}.function.name", "invalid_value")
    parameters = function.get("parameters")
    spec: Json = {"name": name, "inputSchema": {"json": parameters if type(parameters) is dict else _ANY_INPUT}}
    if type(description) is str and description.strip():
        spec["description"] = description
    if function.get("strict") is True:
        spec["strict"] = True
    return spec


def _allowed(specs: list[Json], choice: Json) -> tuple[list[Json], Any]:
    """Return the tools that may be used, and the choice among them."""
    inner = choice.get("allowed_tools", choice)
    tools = inner.get("tools") if type(inner) is dict else None
    if type(tools) is not list:
        raise NotConverse("must list `tools`", "tool_choice", "invalid_value")
    names = [
        tool["function"].get("name") for tool in tools if type(tool) is dict and type(tool.get("function")) is dict
    ]
    return [spec for spec in specs if spec["name"] in names], inner.get("mode")


def _choice(choice: Any) -> Json:
    match choice:
        case None:
            return {}
        case "auto":
            return {"toolChoice": {"auto": {}}}
        case "required":
            return {"toolChoice": {"any": {}}}
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return {"toolChoice": {"tool": {"name": name}}}
    raise NotConverse("is none of `none`, `auto`, `required` and a function", "tool_choice", "invalid_value")


def _form(form: Any) -> Json | None:
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **others}}:
            described: Json = {"schema": encoded(schema).decode()}
            described |= {name: others[name] for name in ("name", "description") if type(others.get(name)) is str}
            return {"type": "json_schema", "structure": {"jsonSchema": described}}
    raise NotConverse("takes `text` and `json_schema` with a schema", "response_format")
