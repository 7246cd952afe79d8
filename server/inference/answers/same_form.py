"""The fast path of a stream: chunks that differ in one text from a chunk that was read are passed on unread.

Most chunks of a stream are such: one of 250 bytes takes 2 microseconds here, and 13 on the plain path. What is
taken is certain: the bytes before and behind the text are those of a chunk that the plain path has parsed, and the text
between them is checked to be the inside of one string of JSON. Anything else is left to the plain path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from server.inference.answers.plain import encoded
from server.json_input.strict import Json

MOST: Final = 4 * 1024
"""Bytes of an event that may be learned or passed on here."""

_TEXTS: Final = ("content", "reasoning_content", "reasoning")
_DATA: Final = b"data: "
_COLON: Final = re.compile(rb"[ ]?:[ ]?")
_INSIDE: Final = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+')


class SameForm:
    """Remembers the last chunk that was read, as the bytes around its one text, and what is sent in their place."""

    def __init__(self) -> None:
        self._begin = self._end = self._new_begin = self._new_end = b""
        self._inside = slice(0, 0)
        self._sizes = range(0)

    def pass_on(self, events: Iterable[bytes], passed: list[bytes | memoryview]) -> int:
        """Add what is sent for the first of `events` to `passed`, three pieces each, the text in the middle.

        Return how many those are; the first event that isn't certainly of the form ends them.
        """
        begin, end, inside, sizes = self._begin, self._end, self._inside, self._sizes
        new_begin, new_end, before = self._new_begin, self._new_end, len(passed)
        for event in events if begin else ():
            if not event.startswith(begin) or not event.endswith(end) or len(event) not in sizes:
                break
            text = event[inside]
            if _INSIDE.fullmatch(text) is None or not (text.isascii() or _is_utf8(text)):
                break
            passed += (new_begin, text, new_end)
        return (len(passed) - before) // 3

    def learn(self, event: bytes, shaped: Json, sent: bytes) -> None:
        """Remember an event, one line, with the chunk that the plain path has made of it, and the text of that."""
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
        # So it must be in what is sent, where no escape spells the name.
        named = _COLON.match(sent, sent.find(key) + len(key))
        if sent.count(key) != 1 or named is None or not sent.startswith(written, named.end()):
            return
        self._begin, self._end = before, behind
        self._inside, self._sizes = slice(len(before), -len(behind)), range(len(before) + len(behind), MOST + 1)
        self._new_begin = _DATA + sent[: named.end() + 1]
        self._new_end = sent[named.end() + len(written) - 1 :] + b"\n\n"


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


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
