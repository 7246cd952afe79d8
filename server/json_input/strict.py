"""The strict JSON decoder, and the parser of request bodies, which refuses what two parsers could read differently.

A repeated key, a number that JSON does not know, half a character: a policy, this server and a provider behind it might
each take it for something else. This module runs in the server and in its worker processes, so it imports the standard
library and modules that import no more.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from json import JSONDecodeError, JSONDecoder
from math import inf, isinf
from typing import Any, Final, NamedTuple, NoReturn

from server.json_input.scanning import members_in, offsets

Json = dict[str, Any]

MAX_DEPTH: Final = 64
"""Arrays and objects inside each other."""

_TEXT_VALUE: Final = re.compile(rb'[ \t\n\r]*:[ \t\n\r]*("(?:[^"\\]|\\.)*")')
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Why(StrEnum):
    """The reason of a refusal: the body is wrong, it is too much to read, or too many are being read."""

    WRONG = "wrong"
    TOO_COMPLEX = "too complex"
    BUSY = "busy"


class InvalidJson(ValueError):
    """A body is refused; the message is one sentence for its sender, and quotes nothing but names of constants.

    `param` is the JSON path of what is wrong (`messages[0].role`), `code` a name that programs can compare.
    """

    def __init__(self, message: str, param: str | None = None, code: str | None = None, why: Why = Why.WRONG) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.why = why


class Repeats(StrEnum):
    """The treatment of an object that holds a key twice: refuse the body, read null in its place, take the last one."""

    REFUSED = "refused"
    NULL = "null"
    LAST = "last"


class StrictDecoder:
    """Decodes JSON as strictly as its options say; without options, as request bodies are decoded.

    `constants` permits NaN and the infinities. With `large_floats` a number too large for a float is an infinity, and
    with `large_integers` so is an integer of more digits than Python reads. Trailing text, wrong UTF-8 and nesting that
    Python cannot follow are always refused.
    """

    def __init__(
        self,
        repeats: Repeats = Repeats.REFUSED,
        *,
        constants: bool = False,
        large_floats: bool = False,
        large_integers: bool = False,
    ) -> None:
        self._decode: Final = JSONDecoder(
            object_pairs_hook=_PAIRS[repeats],
            parse_constant=None if constants else _refuse_constant,
            parse_float=None if large_floats else _finite,
            parse_int=_any_size if large_integers else None,
        ).decode

    def decode(self, raw: bytes) -> Any:
        """Return the value that `raw` means; raises InvalidJson."""
        try:
            return self._decode(raw.decode("utf-8"))
        except InvalidJson:
            raise
        except UnicodeDecodeError:
            raise InvalidJson("the body is not UTF-8") from None
        except JSONDecodeError as fault:
            if not raw.strip():
                raise InvalidJson("the body is empty") from None
            place = f"line {fault.lineno} column {fault.colno}"
            raise InvalidJson(f"the body is not JSON: {fault.msg.lower()} at {place}") from None
        except RecursionError:
            raise _too_deep() from None
        except ValueError:
            raise InvalidJson("the body holds a number with too many digits") from None


class Place(NamedTuple):
    """The place of one member in the bytes of its object: the number of the member, from 0, and bytes.

    The name in its quotation marks is from `name` to `name_end`, the value from `start` to `end`. `previous_end` is the
    end of the value before it, `next_name` the start of the name behind it; -1 where there is none.
    """

    number: int
    previous_end: int
    name: int
    name_end: int
    start: int
    end: int
    next_name: int


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object and the bytes that spell it."""

    members: Json
    raw: bytes

    def span(self, name: str) -> tuple[int, int]:
        """Return the place in `raw` of a member's value: its first byte, and the one behind its last."""
        if name not in self.members:
            raise KeyError(name)
        key = b'"%b"' % name.encode()
        # Spelled out in one place, and with no escape that a letter can be spelled with: it is this member's name.
        if name.isascii() and name.isidentifier() and self.raw.count(key) == 1 and b"\\u00" not in self.raw:
            found = _TEXT_VALUE.match(self.raw, self.raw.index(key) + len(key))
            if found is not None:
                return found.span(1)
        place = self.places({name})[name]
        return place.start, place.end

    def places(self, names: Collection[str]) -> dict[str, Place]:
        """Return the places in `raw` of those of its members that have one of these names."""
        text, found, awaiting = self.raw.decode(), dict[str, list[int]](), ""
        previous_end = -1
        for number, (name, *spots) in enumerate(members_in(text)):
            if awaiting:
                found[awaiting].append(spots[0])
                awaiting = ""
            if name in names:
                found[name], awaiting = [number, previous_end, *spots], name
            previous_end = spots[-1]
        if awaiting:
            found[awaiting].append(-1)
        in_bytes = offsets(text, {spot for _, *spots in found.values() for spot in spots})
        return {name: Place(number, *(in_bytes[spot] for spot in spots)) for name, (number, *spots) in found.items()}


def parse_json(raw: bytes) -> Document:
    """Return the JSON object that `raw` certainly means; raises InvalidJson."""
    members = _BODY.decode(raw)
    if type(members) is not dict:
        raise InvalidJson("the body is not a JSON object")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deeper(members, MAX_DEPTH):
        raise _too_deep()
    if _SURROGATE.search(raw) and _has_surrogate(members):
        raise InvalidJson("the body holds half of a surrogate pair, which is no character")
    return Document(members, raw)


def _unique(members: list[tuple[str, Any]]) -> Json:
    found = dict(members)
    if len(found) != len(members):
        raise InvalidJson("a key comes twice in one object of the body")
    return found


def _unique_or_none(members: list[tuple[str, Any]]) -> Json | None:
    found = dict(members)
    return found if len(found) == len(members) else None


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"the body holds `{name}`, which is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise InvalidJson("the body holds a number that is too large")
    return number


def _any_size(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads
        return inf


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


_PAIRS: Final = {Repeats.REFUSED: _unique, Repeats.NULL: _unique_or_none, Repeats.LAST: None}
_BODY: Final = StrictDecoder()
