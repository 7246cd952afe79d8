"""Estimate of the tokens that a chat may cost, and the edit that makes a provider report the real number.

`read_costed_chat` may run in a worker process, so this module imports the standard library, `server.json_input` and
modules that import no more than these.
"""

from __future__ import annotations

from json import dumps
from typing import Any, Final

from server.api.chat.body import chat_body, check_spelling, read_chat
from server.http.body_checks import wrong
from server.inference.members import Edit
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

COMPLETION_TOKENS: Final = 1_000
"""Tokens that are set aside for each choice where the body doesn't say how long it may be."""

ATTACHMENT_TOKENS: Final = 1_000
"""Tokens that are set aside for an image, a sound or a file in a message."""

_PROMPT: Final = ("messages", "tools", "functions", "response_format")
_LENGTHS: Final = ("max_completion_tokens", "max_tokens", "n_predict")
_READ_HERE: Final = frozenset({*_PROMPT, *_LENGTHS, "n"})
_USAGE: Final = "include_usage"
_BYTES_OF_A_TOKEN: Final = 4
_MOST: Final = 10**9
"""More than any budget's use: bodies may hold larger numbers, and stores can't."""


def read_costed_chat(document: Document) -> Json:
    """Return what `read_chat` returns, and the `cost`; raises InvalidJson where that might be more than it looks."""
    found, body = read_chat(document), document.members
    check_spelling(body, _READ_HERE)
    prompt = sum(_tokens(body.get(name)) for name in _PROMPT) + 1
    choices = _number(body, "n") or 1
    # Whichever of the names a provider goes by, it may go as far as the greatest.
    limit = max(_number(body, name) for name in _LENGTHS)
    most = prompt + choices * (limit or COMPLETION_TOKENS)
    least = most if limit else prompt + 1
    asking = _asking(document) if found["stream"] else None
    return found | {"cost": {"least": min(least, _MOST), "most": min(most, _MOST), "asking": asking}}


def _tokens(value: Any) -> int:
    """A token for each four bytes of text, and a fixed number for what is not text."""
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
    return size // _BYTES_OF_A_TOKEN + attachments * ATTACHMENT_TOKENS


def _number(body: Json, name: str) -> int:
    """A number of tokens or choices, 0 where there is none.

    What is none is refused: some providers read `"100"` as a number, and -1 as one without end.
    """
    value = body.get(name)
    if value is None:
        return 0
    if type(value) is not int or value < 1:
        raise wrong(name, "must be a whole number above 0")
    return min(value, _MOST)


def _asking(document: Document) -> Edit | None:
    options = document.members.get("stream_options") or {}
    check_spelling(options, {_USAGE}, "stream_options.")
    asked = options.get(_USAGE)
    if type(asked) not in (bool, type(None)):
        raise wrong(f"stream_options.{_USAGE}", "must be true or false")
    if asked:
        return None
    wanted = dumps({**options, _USAGE: True})
    if "stream_options" in document.members:
        return *document.span("stream_options"), wanted
    place = document.raw.index(b"{") + 1
    return place, place, f'"stream_options":{wanted},'


COSTED_CHAT: Final = BodyParser(read_costed_chat, chat_body)
"""As `CHAT`, with the cost."""
