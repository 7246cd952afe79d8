"""The names that members of a chat have in the body of a message."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = {
    "max_completion_tokens": "max_tokens",
    "messages": "messages",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
}
"""Members of a chat, and those of a message that they come of; places inside of `messages` differ."""


def in_our_terms(sentence: str, param: str | None) -> str:
    """Return a sentence about a chat, at the place `param`, as one about the message that it comes of."""
    head = re.split(r"[.\[]", param or "", maxsplit=1)[0]
    if head not in _NAMES:
        return sentence
    return re.sub(rf"`{head}(?:[.\[][^`\s]*)?`", f"`{_NAMES[head]}`", sentence)
