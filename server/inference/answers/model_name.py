"""Replacement of the model's name and the id in an answer, without a change to any other byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import dumps, loads
from typing import Final

from server.json_input.strict import InvalidJson, Repeats, StrictDecoder

SMALL: Final = 64 * 1024
"""Bytes of a text that is parsed as a whole, which takes a few milliseconds at most."""

QUICK: Final = 8 * 1024
"""Bytes of a text that needs no thread: to split it takes a few milliseconds at most."""

_FRAME: Final = 1024
"""Bytes before and behind the choices that a form may have; matching a longer one could take seconds."""

_WINDOW: Final = 64 * 1024
"""Bytes that are matched at once, while every other thread waits."""

_BLANK: Final = rb"[ \t\n\r]*"
_SCALAR: Final = rb"(?:-?[0-9][0-9.eE+-]*|true|false|null)"
_NAMED: Final = rb'"model"%b:%b("[^"\\]*")' % (_BLANK, _BLANK)
_CHOICES: Final = rb'"choices"%b:%b\[' % (_BLANK, _BLANK)
_COMMA: Final = rb"%b,%b" % (_BLANK, _BLANK)
_MEMBERS: Final = rb'(?:"[a-z_]+"%b:%b(?:"[^"\\]*"|%b))' % (_BLANK, _BLANK, _SCALAR)
_PLAIN_BEGIN: Final = re.compile(rb"\{%b%b" % (_BLANK, _CHOICES))
_NAMED_BEGIN: Final = re.compile(
    rb"\{%b(?:%b%b)*?%b%b(?:%b%b)*?%b" % (_BLANK, _MEMBERS, _COMMA, _NAMED, _COMMA, _MEMBERS, _COMMA, _CHOICES)
)
_NAMED_END: Final = re.compile(
    rb"\](?:%b%b)*?%b%b(?:%b%b)*%b\}\Z" % (_COMMA, _MEMBERS, _COMMA, _NAMED, _COMMA, _MEMBERS, _BLANK)
)
_IDENTIFIED: Final = re.compile(rb'"id"%b:%b("[^"\\]*")' % (_BLANK, _BLANK))
_BLANKS: Final = re.compile(_BLANK)
_BLANK_BYTES: Final = frozenset({b" ", b"\t", b"\n", b"\r"})
_PLAIN: Final = re.compile(_SCALAR)
_IN_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_FLAT_PART: Final = rb'[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"'
_FLAT: Final = re.compile(rb"(?:%b|[{\[](?:%b)*+[}\]])*+" % (_FLAT_PART, _FLAT_PART), re.DOTALL)


class NotAnAnswer(Exception):
    """A text is neither a chat completion nor a chunk of one."""


_DECODER: Final = StrictDecoder(Repeats.LAST, large_floats=True)


class ModelNaming:
    """Gives chat completions, and chunks of them, the name `model_id`, and the id `answer_id` unless that is None."""

    def __init__(self, model_id: str, answer_id: str | None = None) -> None:
        self._name = dumps(model_id).encode()
        self._identity = None if answer_id is None else dumps(answer_id).encode()

    def form(self, text: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
        """Return the bytes of the answer `text` before and behind its choices, and those that replace them.

        An answer that begins and ends with the same bytes, and has no more members, is changed in the same way. Return
        None if neither part holds the name, as in every answer with objects before and behind its choices.
        """
        named = _NAMED_BEGIN.match(text, 0, _FRAME)
        if named is not None and named[0].count(b'"model"') == 1:
            return self._identified(named[0], b"}", self._put(named), b"}")
        plain, named = _PLAIN_BEGIN.match(text), None
        if plain is not None:
            named = _NAMED_END.match(text, text.rfind(b"]", max(plain.end(), len(text) - _FRAME)))
        if plain is not None and named is not None and named[0].count(b'"model"') == 1:
            return self._identified(plain[0], named[0], plain[0], self._put(named))
        return None

    def _identified(
        self, begin: bytes, end: bytes, new_begin: bytes, new_end: bytes
    ) -> tuple[bytes, bytes, bytes, bytes] | None:
        """Return the form with our id in it; None unless the provider's is found exactly once."""
        identity = self._identity
        if identity is None:
            return begin, end, new_begin, new_end

        def put(found: re.Match[bytes]) -> bytes:
            start, stop = (place - found.start() for place in found.span(1))
            return found[0][:start] + identity + found[0][stop:]

        new_begin, before = _IDENTIFIED.subn(put, new_begin)
        new_end, behind = _IDENTIFIED.subn(put, new_end)
        return (begin, end, new_begin, new_end) if before + behind == 1 else None

    def apply(self, text: bytes) -> list[bytes | memoryview]:
        """Return `text` with the name in it, in pieces, so that nothing large is copied; raises NotAnAnswer.

        A text of more than `SMALL` bytes is checked only as far as is needed to find its members. That may take long,
        but never blocks another thread for more than a few milliseconds.
        """
        if len(text) <= SMALL:
            _check(text)
            form = self.form(text)
            if form is not None and text.count(b'"model"') == 1 and not disguises(text):
                begin, end, new_begin, new_end = form
                return [new_begin + text[len(begin) : -len(end)] + new_end]
        return self._spliced(text)

    def _put(self, found: re.Match[bytes]) -> bytes:
        """Return the match with its name replaced."""
        start, end = (place - found.start() for place in found.span(1))
        return found[0][:start] + self._name + found[0][end:]

    def _spliced(self, text: bytes) -> list[bytes | memoryview]:
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
                raise NotAnAnswer
        if not is_answer:
            raise NotAnAnswer
        pieces.append(view[done:])
        if missing:
            first = text.index(b"{") + 1
            added = b"".join(b"%b:%b," % member for member in missing.items())
            pieces[:1] = (pieces[0][:first], added, pieces[0][first:])
        return pieces if len(text) > SMALL else [b"".join(pieces)]


def disguises(text: bytes) -> bool:
    """Return whether `text` may spell a lower-case letter with an escape, and so hide a name from a search."""
    return b"\\u006" in text or b"\\u007" in text


def _check(text: bytes) -> None:
    try:
        answer = _DECODER.decode(text)
    except InvalidJson:
        raise NotAnAnswer from None
    # A provider's own error says too much and means too little; the caller gets one of ours.
    if type(answer) is not dict or type(answer.get("choices")) is not list or answer.get("error") is not None:
        raise NotAnAnswer


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
