"""Token usage of answers, as providers report it."""

from __future__ import annotations

from json import loads
from typing import Any, Final

from server.fairness.threads import in_thread
from server.inference.answers.model_name import SMALL, json_members
from server.inference.answers.plain import PLAIN_MOST, NotAnAnswer, encoded
from server.inference.provider import Pieces, Tokens

MOST_TOKENS: Final = 10_000_000
"""Tokens that one answer can have cost; a report of more, or of less than one, is not believed."""

_DATA: Final = b"data: "
_END: Final = b"\n\n"
_MENTIONED: Final = b'"usage"'
_UNTOLD: Final = (b',"usage":null}', b', "usage": null}')
"""The ends of most events where usage was asked for."""


def believed(usage: object) -> Tokens | None:
    """Return the tokens of a `usage`; None if its `total_tokens` are none that an answer can have cost.

    A part that is more than what it is a part of counts as not reported.
    """
    if not isinstance(usage, dict):
        return None
    total = usage.get("total_tokens")
    if type(total) is not int or not 0 < total <= MOST_TOKENS:
        return None
    prompt, completion = _part(usage, "prompt_tokens", total), _part(usage, "completion_tokens", total)
    details = usage.get("prompt_tokens_details")
    cached = _part(details, "cached_tokens", prompt) if isinstance(details, dict) else 0
    return Tokens(total, prompt, completion, cached)


def _part(usage: dict[str, Any], name: str, most: int) -> int:
    part = usage.get(name)
    return part if type(part) is int and 0 < part <= most else 0


async def tokens_of(answer: Pieces) -> Tokens | None:
    """Return the tokens that a chat completion cost, prompt included; None if it does not report them.

    Of an answer of more than `PLAIN_MOST` bytes only the outermost members are read, in a thread.
    """
    if sum(map(len, answer)) <= PLAIN_MOST:
        return believed(_read(b"".join(answer)).get("usage"))
    return await in_thread(_tokens_of_large, answer)


class StreamUsage:
    """Watches the events of a stream; `tokens` is the cost that the provider reported last, or None.

    `events` is the number of events, each of which holds about one token or more. `hidden` means that the caller did
    not ask for usage, so the member is removed from each event, and with it an event that holds nothing else.
    """

    def __init__(self, *, hidden: bool) -> None:
        self.tokens: Tokens | None = None
        self.events = 0
        self._hidden = hidden

    def passed(self, piece: bytes) -> bytes:
        """Return the part of a piece of whole events that the caller sees, which may be empty."""
        self.events += piece.count(_DATA)
        if _MENTIONED not in piece:
            return piece
        return b"".join(self._passed(event) for event in piece.removesuffix(_END).split(_END))

    def _passed(self, event: bytes) -> bytes:
        """Read an event, and return what the caller sees of it."""
        if _MENTIONED not in event or not event.startswith(_DATA):
            return event + _END
        if self._hidden and event.endswith(_UNTOLD) and event.count(_MENTIONED) == 1:
            return event[: event.rindex(b",")] + b"}" + _END
        text = event.removeprefix(_DATA)
        if len(text) > PLAIN_MOST:
            return _DATA + self._large(text) + _END
        chunk = _read(text)
        if "usage" not in chunk:
            return event + _END
        usage = chunk.pop("usage")
        self._believe(usage)
        if not self._hidden:
            return event + _END
        # The chunk that reports usage alone is none that the caller expects.
        return b"" if usage is not None and chunk.get("choices") == [] else _DATA + encoded(chunk, text) + _END

    def _large(self, text: bytes) -> bytes:
        """Read the usage in a large chunk, and return the chunk with null in its place where it is hidden."""
        view, pieces, done = memoryview(text), list[bytes | memoryview](), 0
        for name, start, end in json_members(text):
            if name == _MENTIONED and end - start <= SMALL:
                self._believe(_read(b'{"usage":' + text[start:end] + b"}").get("usage"))
                pieces += (view[done:start], b"null")
                done = end
        return b"".join((*pieces, view[done:])) if self._hidden else text

    def _believe(self, usage: object) -> None:
        tokens = believed(usage)
        self.tokens = self.tokens if tokens is None else tokens


def _tokens_of_large(answer: Pieces) -> Tokens | None:
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
