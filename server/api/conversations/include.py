"""Members of an item that an answer leaves out unless the query asks for them with `include`."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

INCLUDABLE: Final = (
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)
"""Each begins with the type of the items that it is about."""

_INSTEAD: Final[dict[str, Any]] = {
    "code_interpreter_call.outputs": None,
    "file_search_call.results": None,
    "message.input_image.image_url": None,
    "message.output_text.logprobs": [],
    "reasoning.encrypted_content": None,
}
"""The value that is shown otherwise; a member that isn't here is left out, as it may not be null."""


def without_unasked(item: Json, included: frozenset[str]) -> Json:
    """Return the item without the members that the query did not ask for."""
    for name in INCLUDABLE:
        kind, *path, last = name.split(".")
        if kind == item["type"] and name not in included:
            item = _without(item, path, last, {last: _INSTEAD[name]} if name in _INSTEAD else {})
    return item


def _without(holder: Json, path: list[str], last: str, instead: Json) -> Json:
    """`holder` with `instead` for the member `last` of what `path` leads to: members, or parts of a message by type."""
    if not path:
        others = {name: value for name, value in holder.items() if name != last}
        return others | instead if last in holder else holder
    first, *rest = path
    content = holder.get("content")
    if holder["type"] == "message" and type(content) is list:
        parts = [_without(part, rest, last, instead) if part["type"] == first else part for part in content]
        return {**holder, "content": parts}
    inner = holder.get(first)
    return {**holder, first: _without(inner, rest, last, instead)} if type(inner) is dict else holder
