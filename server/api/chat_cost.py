"""What a chat may cost, as far as its body tells, and how to have the provider say what it did cost.

`look_at_costly_chat` may run in a reading process, so this imports nothing but the standard library, `server.reading`
and what is like this.
"""

from __future__ import annotations

from dataclasses import dataclass
from json import dumps
from typing import Any, Final

from server.api.chat_body import Edit, look_at_chat
from server.reading.strict import Document, Json

COMPLETION_TOKENS: Final = 1_000
"""Tokens that are set aside for each choice where the body doesn't say how long it may be."""

ATTACHMENT_TOKENS: Final = 1_000
"""Tokens that are set aside for an image, a sound or a file in a message."""

_BYTES_OF_A_TOKEN: Final = 4
_MOST: Final = 10**9
"""More than any budget's use: bodies may hold larger numbers, and stores can't."""


@dataclass(frozen=True, slots=True)
class ChatCost:
    """Tokens to set aside: `least` is what the request needs, `most` what it would have if that is left.

    They differ where the body does not limit its answer. `asking` makes a provider tell what a stream has cost; None if
    nothing has to be changed for that.
    """

    least: int
    most: int
    asking: Edit | None

    @classmethod
    def told(cls, found: Json) -> ChatCost:
        """What `look_at_costly_chat` tells of it."""
        asking = found["asking"]
        return cls(found["least"], found["most"], None if asking is None else tuple(asking))

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What is to be changed in the body."""
        return () if self.asking is None else (self.asking,)


def look_at_costly_chat(document: Document) -> Json:
    """As `look_at_chat`, with a `cost` for `ChatCost.told`."""
    found, body = look_at_chat(document), document.members
    prompt = _tokens(body["messages"]) + _tokens(body.get("tools")) + 1
    choices = _number(body.get("n")) or 1
    # Whichever of the two names a provider goes by, it may go as far as the greater.
    limit = max(_number(body.get("max_completion_tokens")), _number(body.get("max_tokens")))
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


def _number(value: Any) -> int:
    """A number of tokens or choices; 0 for what is none, which the provider will refuse."""
    return min(value, _MOST) if type(value) is int and value > 0 else 0


def _asking(document: Document) -> Edit | None:
    options = document.members.get("stream_options")
    if options is not None and options.get("include_usage"):
        return None
    wanted = dumps({**(options or {}), "include_usage": True})
    if "stream_options" in document.members:
        return *document.span("stream_options"), wanted
    place = document.raw.index(b"{") + 1
    return place, place, f'"stream_options":{wanted},'
