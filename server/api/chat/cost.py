"""Estimate of the tokens that a chat may cost.

`read_costed_chat` may run in a worker process, so this module imports the standard library, `server.json_input` and
modules that import no more than these.
"""

from __future__ import annotations

from typing import Any, Final

from server.api.chat.body import chat_body, read_chat
from server.api.models.inputs import BYTES_OF_A_TOKEN
from server.api.models.request_body import check_spelling, check_usage, cost_told, number_of
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

COMPLETION_TOKENS: Final = 1_000
"""Tokens that are set aside for each choice where the body doesn't say how long it may be."""

ATTACHMENT_TOKENS: Final = 1_000
"""Tokens that are set aside for an image, a sound or a file in a message."""

_PROMPT: Final = ("messages", "tools", "functions", "response_format")
_LENGTHS: Final = ("max_completion_tokens", "max_tokens", "n_predict")
_READ_HERE: Final = frozenset({*_PROMPT, *_LENGTHS, "n"})


def read_costed_chat(document: Document) -> Json:
    """Return what `read_chat` returns, and the `cost`; raises InvalidJson where that might be more than it looks."""
    found, body = read_chat(document), document.members
    check_spelling(body, _READ_HERE)
    prompt = _prompt_tokens(body)
    choices = number_of(body, "n") or 1
    # Whichever of the names a provider goes by, it may go as far as the greatest.
    limit = max(number_of(body, name) for name in _LENGTHS)
    most = prompt + choices * (limit or COMPLETION_TOKENS)
    least = most if limit else prompt + 1
    if found["stream"]:
        check_usage(document)
    return found | {"cost": cost_told(least, most)}


def read_counted_chat(document: Document) -> Json:
    """Return what `read_chat` returns, with the tokens of the prompt alone as the `cost`; raises InvalidJson."""
    found, body = read_chat(document), document.members
    prompt = _prompt_tokens(body)
    return found | {"cost": cost_told(prompt, prompt)}


def _prompt_tokens(body: Json) -> int:
    return sum(_tokens(body.get(name)) for name in _PROMPT) + 1


def _tokens(value: Any) -> int:
    """Return a token for each four bytes of text, and a fixed number for what is not text."""
    size, attachments, waiting = 0, 0, [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                size += len(text.encode())
            case list() as values:
                waiting += values
            case {"type": "image_url" | "input_audio" | "file"}:
                attachments += 1
            case dict() as members:
                waiting += members.keys()
                waiting += members.values()
    return size // BYTES_OF_A_TOKEN + attachments * ATTACHMENT_TOKENS


COSTED_CHAT: Final = BodyParser(read_costed_chat, chat_body)
"""As `CHAT`, with the cost."""
