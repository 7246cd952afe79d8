"""Members of the items of conversations, by the types of items and of their parts, as OpenAI's document has them.

`tests/openapi` holds these tables against the document. An item is fitted to them once, before it is kept. The look at
a body uses them, so this imports nothing but the standard library and `server.json_input`.
"""

from __future__ import annotations

from typing import Final

from server.json_input.members import Members

_CACHED: Final = "prompt_cache_breakpoint"

_PARTS: Final = {
    "computer_screenshot": Members({"detail": "auto", "file_id": None, "image_url": None}, frozenset({_CACHED})),
    "input_file": Members({}, frozenset({"detail", "file_data", "file_url", "filename", _CACHED})),
    "input_image": Members({"detail": "auto"}, frozenset({_CACHED})),
    "input_text": Members({}, frozenset({_CACHED})),
    "output_text": Members({"annotations": [], "logprobs": []}),
}

_TOOLS: Final = {"function": Members({"parameters": None, "strict": None})}
_SHELL: Final = Members({"max_output_length": None, "timeout_ms": None})
_SEARCH: Final = Members({}, frozenset({"queries", "query", "sources"}))
_SCREENSHOT: Final = Members({}, frozenset({"file_id", "image_url"}))
_SEARCHED: Final = {"call_id": None, "execution": "server"}

ITEMS: Final = {
    "additional_tools": Members({"role": "developer", "tools": []}, parts={"tools": _TOOLS}),
    "code_interpreter_call": Members({"code": None, "outputs": None}),
    "computer_call": Members({"pending_safety_checks": []}, frozenset({"action", "actions"})),
    "computer_call_output": Members({}, frozenset({"acknowledged_safety_checks"}), {"output": _SCREENSHOT}),
    "custom_tool_call": Members({}, frozenset({"namespace"})),
    "custom_tool_call_output": Members(parts={"output": _PARTS}),
    "file_search_call": Members({"queries": []}),
    "function_call": Members({}, frozenset({"namespace"})),
    "function_call_output": Members({}, frozenset({"call_id", "name", "namespace"}), parts={"output": _PARTS}),
    "image_generation_call": Members({"result": None}),
    "local_shell_call": Members(inside={"action": Members({"env": {}})}),
    "mcp_list_tools": Members({"tools": []}),
    "message": Members(parts={"content": _PARTS}),
    "reasoning": Members({"summary": []}, frozenset({"content"})),
    "shell_call": Members({"environment": None}, inside={"action": _SHELL}),
    "shell_call_output": Members({"max_output_length": None, "output": []}),
    "tool_search_call": Members({**_SEARCHED, "arguments": {}}),
    "tool_search_output": Members({**_SEARCHED, "tools": []}, parts={"tools": _TOOLS}),
    "web_search_call": Members({"action": {"type": "search"}}, inside={"action": _SEARCH}),
}
_NOTHING: Final = Members()


def fit_item(item: dict[str, object]) -> None:
    """Give `item`, which has a `type`, the members that it must have, and take away nulls that it may not have."""
    ITEMS.get(str(item["type"]), _NOTHING).fit(item)
