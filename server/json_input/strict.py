"""The one parser of JSON bodies: what two parsers could read differently is refused.

A key that comes twice, a number that is none, half a character: whatever a policy, this server and a provider behind it
might each take for something else goes no further. Runs in the server and in its reading processes alike, so it imports
the standard library alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from json import JSONDecodeError, JSONDecoder
from math import isinf
from typing import Any, Final, NoReturn

Json = dict[str, Any]

MAX_DEPTH: Final = 64
"""Arrays and objects inside each other."""

_TEXT_VALUE: Final = re.compile(rb'[ \t\n\r]*:[ \t\n\r]*("(?:[^"\\]|\\.)*")')
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Why(StrEnum):
    """What a refusal is about: the body is wrong, it is too much to read, or too many are being read."""

    WRONG = "wrong"
    TOO_COMPLEX = "too complex"
    BUSY = "busy"


class InvalidJson(Exception):
    """A body is not read; the message is one sentence for its sender.

    `param` is the JSON path of what is wrong (`messages[0].role`), `code` a name that programs can compare.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None, why: Why = Why.WRONG) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.why = why


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object and the bytes that spell it."""

    members: Json
    raw: bytes

    def span(self, name: str) -> tuple[int, int]:
        """Where in `raw` the value of a member is: its first byte, and the one behind its last."""
        if name not in self.members:
            raise KeyError(name)
        key = b'"%b"' % name.encode()
        # Spelled out in one place, and with no escape that a letter can be spelled with: it is this member's name.
        if name.isascii() and name.isidentifier() and self.raw.count(key) == 1 and b"\\u00" not in self.raw:
            found = _TEXT_VALUE.match(self.raw, self.raw.index(key) + len(key))
            if found is not None:
                return found.span(1)
        return _span(self.raw.decode(), name)


def parse_json(raw: bytes) -> Document:
    """The JSON object that `raw` certainly means; raises Refused otherwise."""
    try:
        members = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidJson("the body is not UTF-8") from None
    except JSONDecodeError as fault:
        place = f"line {fault.lineno} column {fault.colno}"
        raise InvalidJson(f"the body is not JSON: {fault.msg.lower()} at {place}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise InvalidJson("the body holds a number with too many digits") from None
    if type(members) is not dict:
        raise InvalidJson("the body is not a JSON object")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deeper(members, MAX_DEPTH):
        raise _too_deep()
    if _SURROGATE.search(raw) and _has_surrogate(members):
        raise InvalidJson("the body holds half of a surrogate pair, which is no character")
    return Document(members, raw)


def _span(text: str, wanted: str) -> tuple[int, int]:
    """Read `text`, which is known to be an object with that member, again as far as there."""
    place = text.index("{") + 1
    while True:
        name, place = _DECODER.raw_decode(text, _behind_blanks(text, place))
        start = _behind_blanks(text, text.index(":", place) + 1)
        _, end = _DECODER.raw_decode(text, start)
        if name == wanted:
            first = len(text[:start].encode())
            return first, first + len(text[start:end].encode())
        place = text.index(",", end) + 1


def _behind_blanks(text: str, place: int) -> int:
    while text[place] in " \t\n\r":
        place += 1
    return place


def _unique(members: list[tuple[str, Any]]) -> Json:
    found = dict(members)
    if len(found) != len(members):
        raise InvalidJson("a key comes twice in one object of the body")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"the body holds `{name}`, which is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise InvalidJson("the body holds a number that is too large")
    return number


def _is_deeper(body: Any, limit: int) -> bool:
    level = [body]
    for _ in range(limit):
        level = [
            child
            for holder in level
            for child in (holder.values() if type(holder) is dict else holder)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _has_surrogate(body: Json) -> bool:
    waiting: list[Any] = [body]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            waiting += value.keys()
            waiting += value.values()
        elif type(value) is list:
            waiting += value
        elif type(value) is str and not _is_text(value):
            return True
    return False


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _too_deep() -> InvalidJson:
    return InvalidJson(f"the body nests more than {MAX_DEPTH} levels deep")


_DECODER: Final = JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
