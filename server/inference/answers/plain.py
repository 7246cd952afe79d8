"""The plain path of a provider's JSON: parsed, changed as a value, and written again.

It forgives what OpenAI's SDKs forgive, and what it writes is JSON to the letter.
"""

from __future__ import annotations

import math
from json import JSONDecoder, JSONEncoder
from typing import Any, Final, NoReturn

from server.json_input.strict import MAX_DEPTH, InvalidJson, Json, parse_json

PLAIN_MOST: Final = 128 * 1024
"""Bytes of a text that is parsed as a whole; the parser holds every other thread for some milliseconds."""

LONGEST_NAME: Final = 256
"""Characters of a model's name in a provider's list; longer ones are left out."""

_MARK: Final = b"\xef\xbb\xbf"
_BLANKS: Final = " \t\n\r"
_LOOKED_AT: Final = 64
_HALF: Final = b"\\ud"
_ENCODERS: Final = {
    (spaced, ascii_only): JSONEncoder(
        ensure_ascii=ascii_only, allow_nan=False, separators=(", ", ": ") if spaced else (",", ":")
    ).encode
    for spaced in (False, True)
    for ascii_only in (False, True)
}


class NotAnAnswer(Exception):
    """A text is neither a chat completion nor a chunk of one."""


class ToldError(NotAnAnswer):
    """A provider tells of an error in the place of an answer, or of a part of one; `document` is what it says."""

    def __init__(self, document: Json) -> None:
        super().__init__("the provider tells of an error")
        self.document = document


def decoded(text: bytes) -> Json:
    """Return the object that a text means, the last of repeated members; raises NotAnAnswer, for NaN too."""
    try:
        written = text.removeprefix(_MARK).decode().strip(_BLANKS)
        found, end = _DECODE(written)
    except (ValueError, RecursionError):
        raise NotAnAnswer from None
    if type(found) is not dict or end != len(written):
        raise NotAnAnswer
    return found


def names_in(text: bytes) -> list[str]:
    """Return the ids in a list of models; raises NotAnAnswer for what is none."""
    listed = decoded(text).get("data")
    if type(listed) is not list:
        raise NotAnAnswer
    names = [each.get("id") for each in listed if type(each) is dict]
    kept = (name for name in names if type(name) is str and 0 < len(name) <= LONGEST_NAME and name.isprintable())
    return [*dict.fromkeys(kept)]


def encoded(document: Any, like: bytes = b"") -> bytes:
    """Return the text of a value, with null for each number that is too large for a float.

    Blanks and escapes are those of the text `like`, as far as writers of JSON usually differ in them.
    """
    spaced, ascii_only = b'": ' in like[:_LOOKED_AT], like.isascii() and bool(like)
    encode = _ENCODERS[spaced, ascii_only]
    try:
        try:
            text = encode(document)
        except ValueError:
            text = encode(_finite(document))
        return text.encode()
    except UnicodeEncodeError:
        # Half a character, which a provider may send in two chunks; an escape can spell it.
        return _ENCODERS[spaced, True](document).encode()
    except RecursionError:
        raise NotAnAnswer from None


def storable(text: bytes) -> Json | None:
    """Return the object that a text certainly means, half characters included; None if it is none."""
    try:
        return parse_json(text).members
    except InvalidJson:
        pass
    if _HALF not in text.lower() or text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        return None
    try:
        return decoded(text)
    except NotAnAnswer:
        return None


def whole_members(value: Json) -> Json:
    """Return an object whose texts a database can hold: two halves become a character, and half of one a mark."""
    return {_whole_characters(name): _whole_characters(inner) for name, inner in value.items()}


def _whole_characters(value: Any) -> Any:
    if type(value) is dict:
        return whole_members(value)
    if type(value) is list:
        return [_whole_characters(inner) for inner in value]
    if type(value) is str and not value.isascii():
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _no_number(_name: str) -> NoReturn:
    raise NotAnAnswer


_DECODE: Final = JSONDecoder(parse_constant=_no_number).raw_decode


def _finite(value: Any) -> Any:
    if type(value) is dict:
        return {name: _finite(inner) for name, inner in value.items()}
    if type(value) is list:
        return [_finite(inner) for inner in value]
    return None if type(value) is float and not math.isfinite(value) else value
