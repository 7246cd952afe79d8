"""Large answers: the model's name and the id replaced in their bytes, in bounded pieces of work."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from json import dumps, loads
from typing import Final

from server.inference.answers.plain import NotAnAnswer, ToldError

SMALL: Final = 64 * 1024
"""Bytes of a text that is parsed as a whole, which takes a few milliseconds at most."""

QUICK: Final = 8 * 1024
"""Bytes of a text that needs no thread: to split it takes a few milliseconds at most."""

_WINDOW: Final = 64 * 1024
"""Bytes that are matched at once, while every other thread waits."""

_BLANK: Final = rb"[ \t\n\r]*"
_SCALAR: Final = rb"(?:-?[0-9][0-9.eE+-]*|true|false|null)"
_BLANKS: Final = re.compile(_BLANK)
_BLANK_BYTES: Final = frozenset({b" ", b"\t", b"\n", b"\r"})
_PLAIN: Final = re.compile(_SCALAR)
_IN_NUMBERS: Final = b"0123456789.eE+-"
_IN_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_INSIDE_PART: Final = rb'[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}'
_INSIDE: Final = re.compile(rb"(?:%b)*+" % _INSIDE_PART)
_NUMBER: Final = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+(?![0-9.eE+-])"
_WORDS: Final = re.compile(rb'(?:[ \t\n\r\[\]{},:]++|true|false|null|%b|"(?:%b)*+")*+' % (_NUMBER, _INSIDE_PART))
_FLAT_PART: Final = rb'[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"'
_FLAT: Final = re.compile(rb"(?:%b|[{\[](?:%b)*+[}\]])*+" % (_FLAT_PART, _FLAT_PART), re.DOTALL)


class ModelNaming:
    """Gives chat completions, and chunks of them, the name `model_id`, and the id `answer_id` unless that is None."""

    def __init__(self, model_id: str, answer_id: str | None = None) -> None:
        self._name = dumps(model_id).encode()
        self._identity = None if answer_id is None else dumps(answer_id).encode()

    def apply(self, text: bytes) -> list[bytes | memoryview]:
        """Return `text` with the name in it, in pieces, so that nothing large is copied; raises NotAnAnswer.

        Its outermost members are found, and its words are checked to be those of JSON. That may take long, but never
        holds another thread for more than a few milliseconds.
        """
        _check_words(text)
        view, pieces, done = memoryview(text), list[bytes | memoryview](), 0
        is_answer = False
        given = {b'"model"': self._name}
        if self._identity is not None:
            given[b'"id"'] = self._identity
        missing = dict(given)
        for name, start, end in json_members(text):
            if name in given:
                pieces += (view[done:start], given[name])
                done = end
                missing.pop(name, None)
            elif name == b'"choices"':
                is_answer = text.startswith(b"[", start)
            elif name == b'"error"' and text[start : start + 4] != b"null":
                raise ToldError({"error": {}})
        if not is_answer:
            raise NotAnAnswer
        pieces.append(view[done:])
        if missing:
            first = text.index(b"{") + 1
            added = b"".join(b"%b:%b," % member for member in missing.items())
            pieces[:1] = (pieces[0][:first], added, pieces[0][first:])
        return pieces


def _check_words(text: bytes) -> None:
    """Raise NotAnAnswer for a word that is none of JSON, such as NaN, and for what is not UTF-8."""
    decoder, place = getincrementaldecoder("utf-8")(), 0
    try:
        for start in range(0, len(text), _WINDOW):
            decoder.decode(text[start : start + _WINDOW], final=start + _WINDOW >= len(text))
    except UnicodeDecodeError:
        raise NotAnAnswer from None
    while place < len(text):
        end = _reach(_WORDS, text, place)
        if end == place + _WINDOW:
            # The window may end in a number, which is no whole one then.
            end = place + len(text[place:end].rstrip(_IN_NUMBERS))
        place = end if end > place else _checked_string_end(text, place)


def _checked_string_end(text: bytes, place: int) -> int:
    """Return the place behind a string, which is longer than a window; raises NotAnAnswer for anything else."""
    if not text.startswith(b'"', place):
        raise NotAnAnswer
    place += 1
    while not text.startswith(b'"', place):
        end = _reach(_INSIDE, text, place)
        if end == place:
            raise NotAnAnswer
        place = end
    return place + 1


def json_members(text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the members of the object `text`: the name in quotation marks, and the span of the value."""
    place = _behind(text, b"{", 0)
    while True:
        name_end = _string_end(text, place)
        start = _behind(text, b":", name_end)
        end = _value_end(text, start)
        yield _plainly(text[place:name_end]), start, end
        place = _behind_blanks(text, end)
        if text.startswith(b"}", place):
            if _behind_blanks(text, place + 1) != len(text):
                raise NotAnAnswer
            return
        place = _behind(text, b",", place)


def json_entries(text: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the entries of the list at `start` in a text whose members were found; raises NotAnAnswer."""
    place = _behind(text, b"[", start)
    while not text.startswith(b"]", place):
        end = _value_end(text, place)
        yield place, end
        place = _behind_blanks(text, end)
        if not text.startswith(b"]", place):
            place = _behind(text, b",", place)


def _behind(text: bytes, mark: bytes, start: int) -> int:
    """Return the place behind the next mark and the blanks around it."""
    place = _behind_blanks(text, start)
    if not text.startswith(mark, place):
        raise NotAnAnswer
    return _behind_blanks(text, place + 1)


def _behind_blanks(text: bytes, place: int) -> int:
    while text[place : place + 1] in _BLANK_BYTES:
        place = _reach(_BLANKS, text, place)
    return place


def _plainly(name: bytes) -> bytes:
    """Return a name spelled without unnecessary escapes."""
    if b"\\" not in name:
        return name
    try:
        return dumps(loads(name)).encode()
    except ValueError:
        raise NotAnAnswer from None


def _value_end(text: bytes, start: int) -> int:
    match text[start : start + 1]:
        case b'"':
            return _string_end(text, start)
        case b"{" | b"[":
            return _nested_end(text, start)
    plain = _PLAIN.match(text, start, start + _WINDOW)
    if plain is None:
        raise NotAnAnswer
    return plain.end()


def _string_end(text: bytes, start: int) -> int:
    """Return the place behind the quotation mark that closes the one at `start`."""
    if not text.startswith(b'"', start):
        raise NotAnAnswer
    place = start + 1
    while place < len(text):
        place = _reach(_IN_STRING, text, place)
        if text.startswith(b'"', place):
            return place + 1
        if text.startswith(b"\\", place):
            place += 2
    raise NotAnAnswer


def _nested_end(text: bytes, start: int) -> int:
    """Return the place behind the bracket that closes the one at `start`."""
    depth, place = 0, start
    while place < len(text):
        match text[place : place + 1]:
            case b'"':
                place = _string_end(text, place)
            case b"{" | b"[":
                depth, place = depth + 1, place + 1
            case b"}" | b"]":
                depth, place = depth - 1, place + 1
                if depth == 0:
                    return place
        place = _reach(_FLAT, text, place)
    raise NotAnAnswer


def _reach(pattern: re.Pattern[bytes], text: bytes, place: int) -> int:
    """Return the end of the match of a pattern that always matches, at most a window away."""
    found = pattern.match(text, place, place + _WINDOW)
    return place if found is None else found.end()
