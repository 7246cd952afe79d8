"""Members of an item that an answer leaves out unless the query asks for them with `include`."""

from __future__ import annotations

from typing import Any, Final

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

INSTEAD: Final[dict[str, Any]] = {
    "code_interpreter_call.outputs": None,
    "file_search_call.results": None,
    "message.input_image.image_url": None,
    "message.output_text.logprobs": [],
    "reasoning.encrypted_content": None,
}
"""The value that is shown otherwise; a member that isn't here is left out, as it may not be null."""
