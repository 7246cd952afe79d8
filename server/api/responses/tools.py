"""The tools of a response: what is echoed, what the model is offered, and how its calls are told.

A model behind a chat API knows functions alone. So a custom tool is offered as a function of one text, and the
functions of a namespace under longer names. Tools that this server runs are offered once they are opened, see
`server_tools`. Tools of other types are echoed and not offered.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from server.api.responses.mcp import checks as mcp
from server.api.responses.server_tools.file_search_body import read_file_search
from server.http.body_checks import text_at, wrong
from server.json_input.strict import Json

MOST_TOOLS: Final = 512
"""Tools of one response, those inside of namespaces included."""

LONGEST_NAME: Final = 64
"""Characters of a name that a model is offered; chat APIs take no longer ones."""

CUSTOM_INPUT: Final = "input"
"""The one argument of the function that stands for a custom tool."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]+")
_DIGITS: Final = 8
_SECRET: Final = frozenset({"authorization", "headers"})
"""Members of a tool that may hold credentials; no answer and no record has them, in whatever tool and spelling."""

_SCHEMAS: Final = frozenset({"format", "parameters"})
"""Members of a tool that say what a model may write: a name in them is a word, and holds nothing."""

SERVED: Final[Mapping[str, Callable[[Json, str], Json]]] = {"file_search": read_file_search, "mcp": mcp.check}
"""The types of tools that this server runs, each with the check of such a tool: it gets the tool and its place."""

_MODES: Final = ("auto", "none", "required")


@dataclass(slots=True)
class Offer:
    """The tools of one body: as they are shown, as a chat has them, and what the offered names stand for.

    `names` has the type, the name and the namespace of each tool whose calls differ from those of a plain function.
    `served` has the tools that this server runs by their types, each as its place and what its check returned.
    """

    shown: list[Json] = field(default_factory=list)
    offered: dict[str, Json] = field(default_factory=dict)
    names: dict[str, Json] = field(default_factory=dict)
    served: dict[str, list[tuple[str, Json]]] = field(default_factory=dict)


def offer_of(body: Json) -> Offer:
    """Return what the `tools` of a body come to; raises InvalidJson."""
    tools = body.get("tools")
    if tools is None:
        return Offer()
    if type(tools) is not list or len(tools) > MOST_TOOLS:
        raise wrong("tools", f"must be a list of at most {MOST_TOOLS} tools")
    offer = Offer()
    for index, tool in enumerate(tools):
        place = f"tools[{index}]"
        if type(tool) is not dict:
            raise wrong(place, "must be an object")
        kind = text_at(tool, "type", place, LONGEST_NAME)
        offer.shown.append(_shown(tool, kind))
        if kind in SERVED:
            offer.served.setdefault(kind, []).append((place, SERVED[kind](tool, place)))
        for chat_name, known, inner in _offered(tool, kind, place):
            if chat_name in offer.offered:
                raise wrong(f"{place}.name", "is the name of two tools; give each its own")
            offer.offered[chat_name] = inner
            if known is not None:
                offer.names[chat_name] = known
    if len(offer.offered) > MOST_TOOLS:
        raise wrong("tools", f"must hold at most {MOST_TOOLS} tools, those of namespaces included")
    return offer


def chosen(body: Json, offer: Offer) -> tuple[Any, Json]:
    """Return `tool_choice` as it is shown, and the members of a chat about its tools; raises InvalidJson."""
    choice = body.get("tool_choice")
    shown = "auto" if choice is None else _without_secrets(choice)
    offered, mode = offer.offered, shown
    if type(shown) is dict and shown.get("type") == "allowed_tools":
        offered, mode = _allowed(shown, offer)
    if not offered:
        _check_mode(mode)
        return shown, {}
    members: Json = {"tools": [*offered.values()]}
    if choice is not None:
        members["tool_choice"] = _chat_choice(mode, offer)
    return shown, members


def _shown(tool: Json, kind: str) -> Json:
    shown: Json = _without_secrets(tool)
    if kind == "function":
        shown = {**shown, "parameters": tool.get("parameters"), "strict": tool.get("strict")}
    return shown


def _without_secrets(given: Any) -> Any:
    """Return a tool, or a choice of tools, as answers repeat it, with those inside of it."""
    if type(given) is list:
        return [_without_secrets(each) for each in given]
    if type(given) is not dict:
        return given
    members = {
        name: value if name in _SCHEMAS else _without_secrets(value)
        for name, value in given.items()
        if name.lower() not in _SECRET
    }
    return mcp.shown(members)


def _offered(tool: Json, kind: str, place: str) -> Iterator[tuple[str, Json | None, Json]]:
    """Yield the functions that stand for a tool: the offered name, what a call of it is, and the tool of the chat."""
    if kind == "function":
        name = _name(tool, place)
        yield name, None, _function(name, tool, place)
    elif kind == "custom":
        name = _name(tool, place)
        yield name, {"type": "custom", "name": name}, _custom(name, tool)
    elif kind == "namespace":
        space, inner = _name(tool, place), tool.get("tools")
        if type(inner) is not list or len(inner) > MOST_TOOLS:
            raise wrong(f"{place}.tools", f"must be a list of at most {MOST_TOOLS} tools")
        for number, each in enumerate(inner):
            yield from _in_namespace(space, each, f"{place}.tools[{number}]")


def _in_namespace(space: str, tool: Any, place: str) -> Iterator[tuple[str, Json | None, Json]]:
    if type(tool) is not dict:
        raise wrong(place, "must be an object")
    kind = tool.get("type", "function")
    if kind in ("function", "custom"):
        name = _name(tool, place)
        joined = chat_name(name, space)
        known = {"type": kind, "name": name, "namespace": space}
        yield joined, known, _function(joined, tool, place) if kind == "function" else _custom(joined, tool)


def chat_name(name: str, space: str | None = None) -> str:
    """Return the name under which a chat has a tool, which chat APIs take; different tools have different names."""
    joined = name if space is None else f"{space}__{name}"
    if _NAME.fullmatch(joined):
        return joined
    digest = sha256(joined.encode()).hexdigest()[:_DIGITS]
    return f"{_NOT_IN_NAMES.sub('_', joined)[: LONGEST_NAME - _DIGITS - 1]}_{digest}"


def _name(tool: Json, place: str) -> str:
    name = text_at(tool, "name", place)
    if not _NAME.fullmatch(name):
        raise wrong(f"{place}.name", f"must be 1 to {LONGEST_NAME} letters, digits, `_` and `-`")
    return name


def _function(name: str, tool: Json, place: str) -> Json:
    parameters, strict, description = tool.get("parameters"), tool.get("strict"), tool.get("description")
    if not isinstance(parameters, dict | None):
        raise wrong(f"{place}.parameters", "must be an object")
    if type(strict) not in (bool, type(None)):
        raise wrong(f"{place}.strict", "must be true or false")
    if type(description) not in (str, type(None)):
        raise wrong(f"{place}.description", "must be a text")
    given = {"description": description, "parameters": parameters, "strict": strict}
    members = {member: value for member, value in given.items() if value is not None}
    return {"type": "function", "function": {"name": name, **members}}


def _custom(name: str, tool: Json) -> Json:
    said = tool.get("description")
    members = {"description": said} if type(said) is str else {}
    schema = {
        "type": "object",
        "properties": {CUSTOM_INPUT: {"type": "string"}},
        "required": [CUSTOM_INPUT],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, **members, "parameters": schema}}


def _check_mode(mode: Any) -> None:
    if type(mode) is str and mode in _MODES:
        return
    if type(mode) is not dict or type(mode.get("type")) is not str:
        raise wrong("tool_choice", f"must be one of {', '.join(f'`{each}`' for each in _MODES)}, or name a tool")


def _chat_choice(mode: Any, offer: Offer) -> Any:
    _check_mode(mode)
    if type(mode) is str:
        return mode
    if mode["type"] not in ("function", "custom"):
        # The tool is not offered, so the model can't be made to call it.
        return "auto"
    name = _offered_name(mode, offer)
    if name is None:
        raise wrong("tool_choice", "must name one of `tools`")
    return {"type": "function", "function": {"name": name}}


def _allowed(choice: Json, offer: Offer) -> tuple[dict[str, Json], str]:
    """Return the offered tools among those that are allowed, and the mode."""
    mode, allowed = choice.get("mode", "auto"), choice.get("tools")
    if mode not in ("auto", "required") or type(allowed) is not list:
        raise wrong("tool_choice", "must have a `mode`, `auto` or `required`, and a list of `tools`")
    names = {_offered_name(tool, offer) for tool in allowed if type(tool) is dict}
    return {name: tool for name, tool in offer.offered.items() if name in names}, mode


def _offered_name(named: Json, offer: Offer) -> str | None:
    """Return the offered name of the tool that a choice names; None where there is none."""
    name, space = named.get("name"), named.get("namespace")
    if type(name) is not str or type(space) not in (str, type(None)):
        return None
    joined = chat_name(name, space)
    return joined if joined in offer.offered else None
