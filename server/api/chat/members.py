"""Members of chat completions and their messages as the store shows them, after OpenAI's document.

A provider may leave some of them out of its chunks, and a caller out of its messages; both may say null where the
document allows none. `tests/openapi` holds what is shown against the document.
"""

from __future__ import annotations

from typing import Final

from server.json_input.members import Members

_FUNCTION: Final = Members({"arguments": ""})
_CALL: Final = Members({"type": "function"}, inside={"function": _FUNCTION})
_LOGPROBS: Final = Members({"content": None, "refusal": None})
_USAGE: Final = Members(never_null=frozenset({"completion_tokens_details", "prompt_tokens_details"}))

MESSAGE: Final = Members(
    {"role": "assistant", "content": None, "refusal": None},
    frozenset({"annotations", "function_call", "tool_calls"}),
    each={"tool_calls": _CALL},
)
_CHOICE: Final = Members({"logprobs": None}, inside={"logprobs": _LOGPROBS, "message": MESSAGE})
ANSWER: Final = Members(
    never_null=frozenset({"system_fingerprint", "usage"}), inside={"usage": _USAGE}, each={"choices": _CHOICE}
)
