"""The fast path of a stream: chunks that differ in one text from a chunk that was read are passed on unread.

Most chunks of a stream are such: one of 250 bytes takes 2 microseconds here, and 13 on the plain path. What is
taken is certain: the bytes before and behind the text are those of a chunk that the plain path has parsed, and the text
between them is checked to be the inside of one string of JSON. Anything else is left to the plain path.
"""

from __future__ import annotations

import re
from typing import Final

from server.inference.answers.plain import encoded
from server.json_input.strict import Json

MOST: Final = 4 * 1024
"""Bytes of an event that may be learned or passed on here."""

_TEXTS: Final = ("content", "reasoning_content", "reasoning")
_DATA: Final = b"data: "
_MARK: Final = "\x00here\x00"
_WRITTEN_MARK: Final = encoded(_MARK)[1:-1]
_COLON: Final = re.compile(rb"[ ]?:[ ]?")
_INSIDE: Final = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+')


class SameForm:
    """Remembers the last chunk that was read, as the bytes around its one text, and what is sent in their place."""

    def __init__(self) -> None:
        self._begin = self._end = self._new_begin = self._new_end = b""

    def passed(self, event: bytes) -> tuple[bytes, bytes, bytes] | None:
        """Return the pieces of what is sent for an event; None if the event isn't certainly of the form."""
        begin, end = self._begin, self._end
        if not begin or not event.startswith(begin) or not event.endswith(end):
            return None
        text = event[len(begin) : -len(end)]
        if len(event) < len(begin) + len(end) or len(event) > MOST or _INSIDE.fullmatch(text) is None:
            return None
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                return None
        return self._new_begin, text, self._new_end

    def learn(self, event: bytes, shaped: Json) -> None:
        """Remember an event, one line, and the chunk that the plain path has made of it."""
        self._begin = b""
        delta = _plain_delta(shaped)
        if delta is None or len(event) > MOST:
            return
        [(name, text)] = delta.items()
        written = encoded(text, event)
        # In the provider's spelling the text must be found once, as the value of its member.
        key = b'"%b"' % name.encode()
        named = _COLON.match(event, event.find(key) + len(key))
        if event.count(key) != 1 or named is None or not event.startswith(written, named.end()):
            return
        before, behind = event[: named.end() + 1], event[named.end() + len(written) - 1 :]
        # An escape might spell the member's name a second time.
        if b"\\u" in before or b"\\u" in behind:
            return
        delta[name] = _MARK
        begin, mark, end = encoded(shaped, event[len(_DATA) :]).partition(_WRITTEN_MARK)
        delta[name] = text
        if mark and _WRITTEN_MARK not in end:
            self._begin, self._end = before, behind
            self._new_begin, self._new_end = _DATA + begin, end + b"\n\n"


def _plain_delta(shaped: Json) -> Json | None:
    """Return the delta of a chunk whose only news is one text; None for any other chunk."""
    choices = shaped["choices"]
    if len(choices) != 1 or shaped.get("usage") is not None:
        return None
    delta: Json = choices[0]["delta"]
    if choices[0]["finish_reason"] is not None or choices[0].get("logprobs") is not None or len(delta) != 1:
        return None
    [(name, text)] = delta.items()
    return delta if name in _TEXTS and type(text) is str else None
