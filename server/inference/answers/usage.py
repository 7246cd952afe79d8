"""Token usage of answers, as providers report it."""

from __future__ import annotations

import asyncio
import re
from json import loads
from typing import Any, Final

from server.inference.answers.model_name import SMALL, NotAnAnswer, json_members
from server.inference.provider import DONE, Pieces

MOST_TOKENS: Final = 10_000_000
"""Tokens that one answer can have cost; a report of more, or of less than one, is not believed."""

_DATA: Final = b"data: "
_END: Final = b"\n\n"
_MENTIONED: Final = b'"usage"'
# Quotation marks inside of a text are escaped, so what is found is a member's name, though perhaps not an outer one's.
_TOLD: Final = re.compile(rb'"usage"[ \t\n\r]*:[ \t\n\r]*\{')
_UNTOLD: Final = re.compile(rb',[ \t]*"usage"[ \t]*:[ \t]*null(?=[ \t]*[,}])')


def believed(usage: object) -> int | None:
    """Return the `total_tokens` of a `usage`; None if an answer cannot have cost that."""
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if type(total) is int and 0 < total <= MOST_TOKENS else None


async def tokens_of(answer: Pieces) -> int | None:
    """Return the tokens that a chat completion cost, prompt included; None if it does not report them.

    Of an answer of more than 64 KB only the outermost members are read, in a thread.
    """
    if sum(map(len, answer)) <= SMALL:
        return believed(_read(b"".join(answer)).get("usage"))
    return await asyncio.to_thread(_tokens_of_large, answer)


class StreamUsage:
    """Watches the events of a stream; `tokens` is the cost that the provider reported last, or None.

    `events` is the number of events, each of which holds about one token or more. `hidden` means that the caller did
    not ask for usage, so the event that reports it is removed, and `"usage": null` from the others.
    """

    def __init__(self, *, hidden: bool) -> None:
        self.tokens: int | None = None
        self.events = 0
        self._hidden = hidden

    def passed(self, piece: bytes) -> bytes:
        """Return the part of a piece of whole events that the caller sees, which may be empty."""
        self.events += piece.count(_DATA)
        if _MENTIONED not in piece:
            return piece
        if _TOLD.search(piece):
            piece = b"".join(event + _END for event in piece.removesuffix(_END).split(_END) if self._passes(event))
        return _UNTOLD.sub(b"", piece) if self._hidden else piece

    def _passes(self, event: bytes) -> bool:
        """Read an event, and return whether the caller sees it."""
        if event + _END == DONE or len(event) > SMALL or not _TOLD.search(event):
            return True
        chunk = _read(event.removeprefix(_DATA))
        tokens = believed(chunk.get("usage"))
        self.tokens = self.tokens if tokens is None else tokens
        return not (self._hidden and chunk.get("choices") == [])


def _tokens_of_large(answer: Pieces) -> int | None:
    text, found = b"".join(answer), None
    try:
        for name, start, end in json_members(text):
            if name == _MENTIONED and end - start <= SMALL:
                found = believed(_read(text[start:end]))
    except NotAnAnswer:
        return None
    return found


def _read(text: bytes) -> dict[str, Any]:
    try:
        found = loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
