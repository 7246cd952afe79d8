"""Filters by attributes, as OpenAI's searches take them, and the SQL for them.

A key and a value are data, whatever characters they hold: both are bound to the statement and never part of it.
`ne` and `nin` hold wherever `eq` and `in` don't, so also for a file without that attribute, or with a value of another
type. Every other comparison needs a value of its own type: `true`, `"true"` and `1` are three values, and no boolean is
greater than another. Texts are compared by their code points.

The checks may run in a worker process, so this module imports the standard library and modules that import no more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from math import isfinite
from typing import Any, Final, TypeAlias

from server.http.body_checks import LONGEST_KEY, LONGEST_VALUE, known_members, text_at, wrong

MOST_COMPARISONS: Final = 100
"""Comparisons of one filter; each value of an `in` or a `nin` counts as one."""

MOST_DEPTH: Final = 10
"""Compound filters inside each other."""

Scalar: TypeAlias = str | int | float | bool

_ORDERS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_LISTS: Final = {"in": "eq", "nin": "ne"}
_COMPARISONS: Final = ("eq", "ne", *_ORDERS, *_LISTS)
_COMPOUNDS: Final = ("and", "or")


@dataclass(frozen=True, slots=True)
class Comparison:
    """An attribute is compared with one of the values; with several, `eq` means one of them and `ne` none of them."""

    type: str
    key: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Compound:
    """All of the filters hold, or with `or` one of them."""

    type: str
    filters: tuple[Filter, ...]


Filter: TypeAlias = Comparison | Compound


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """An expression that is true or false for each row, and the values to bind, in the order of their numbers."""

    text: str
    values: tuple[str, ...]


def read_filter(given: Any, place: str = "filters") -> Filter:
    """Return the filter in a body; raise InvalidJson with the place of what is wrong."""
    return _Reading().read(given, place, 1)


class _Reading:
    """Reads one filter, and counts its comparisons."""

    def __init__(self) -> None:
        self._count = 0

    def read(self, given: Any, place: str, depth: int) -> Filter:
        if type(given) is not dict:
            raise wrong(place, "must be an object, a comparison or a compound filter")
        kind = text_at(given, "type", place)
        if kind in _COMPOUNDS:
            return self._compound(given, kind, place, depth)
        if kind not in _COMPARISONS:
            raise wrong(f"{place}.type", f"must be one of {', '.join((*_COMPARISONS, *_COMPOUNDS))}")
        known_members(given, ("type", "key", "value"), place)
        return Comparison(_LISTS.get(kind, kind), text_at(given, "key", place), self._values(given, kind, place))

    def _compound(self, given: dict[str, Any], kind: str, place: str, depth: int) -> Compound:
        known_members(given, ("type", "filters"), place)
        inner = given.get("filters")
        if type(inner) is not list or not inner:
            raise wrong(f"{place}.filters", "must be a list of filters")
        if depth > MOST_DEPTH:
            raise wrong(place, f"has more than {MOST_DEPTH} compound filters inside each other")
        read = (self.read(each, f"{place}.filters[{index}]", depth + 1) for index, each in enumerate(inner))
        return Compound(kind, tuple(read))

    def _values(self, given: dict[str, Any], kind: str, place: str) -> tuple[Scalar, ...]:
        where, value = f"{place}.value", given.get("value")
        if kind in _LISTS:
            if type(value) is not list or not value:
                raise wrong(where, f"must be a list of texts and numbers for `{kind}`")
            values = value
        else:
            values = [value]
        self._count += len(values)
        if self._count > MOST_COMPARISONS:
            raise wrong(place, f"brings the filter to more than {MOST_COMPARISONS} comparisons")
        for each in values:
            if type(each) not in (str, int, float, bool) or (type(each) is float and not isfinite(each)):
                raise wrong(where, "must be a text, a number, or true or false")
            if kind in _ORDERS and type(each) is bool:
                raise wrong(where, f"must be a text or a number for `{kind}`")
        return tuple(values)


def condition_of(wanted: Filter, kind: str, first: int) -> SqlCondition:
    """Return the filter in SQL over the column `body`, for that kind of database; parameters are numbered from `first`.

    The attributes are the member `attributes` of the body, an object or null.
    """
    parameters = _Parameters(_SPELLED[kind], first)
    text = parameters.condition(wanted)
    return SqlCondition(text, tuple(parameters.values))


@dataclass(frozen=True, slots=True)
class _Spelled:
    """A database's spelling of a test of one attribute: `where` takes its key, and the test of its type and its value.

    `text`, `number` and `boolean` take the sign of a comparison and a parameter.
    """

    parameter: str
    where: str
    text: str
    number: str
    boolean: str


_SPELLED: Final = {
    "sqlite": _Spelled(
        "?{}",
        "EXISTS (SELECT 1 FROM json_each(body, '$.attributes') AS held WHERE held.key = {} AND {})",
        "(held.type = 'text' AND held.value {} {})",
        # The value comes as a text of JSON, which becomes the number that the body's text becomes.
        "(held.type IN ('integer', 'real') AND held.value {} json_extract({}, '$'))",
        "held.type {} {}",
    ),
    "postgresql": _Spelled(
        "CAST(?{} AS text)",
        "EXISTS (SELECT 1 FROM jsonb_each(CASE json_typeof(CAST(body AS json) -> 'attributes') WHEN 'object' "
        "THEN CAST(CAST(body AS json) -> 'attributes' AS jsonb) ELSE '{{}}' END) AS held(key, value) "
        "WHERE held.key = {} AND {})",
        "(jsonb_typeof(held.value) = 'string' AND (held.value #>> '{{}}') COLLATE \"C\" {} {})",
        "CASE jsonb_typeof(held.value) WHEN 'number' "
        "THEN CAST(held.value #>> '{{}}' AS numeric) {} CAST({} AS numeric) ELSE FALSE END",
        "CAST(held.value AS text) {} {}",
    ),
}
_NEVER: Final = "1 = 0"


class _Parameters:
    """The values to bind, each once; a value's number is its position, counted from `first`."""

    def __init__(self, spelled: _Spelled, first: int) -> None:
        self.values: dict[str, int] = {}
        self._spelled = spelled
        self._first = first

    def condition(self, wanted: Filter) -> str:
        match wanted:
            case Comparison(type="ne", key=key, values=values):
                return f"NOT ({self._compared(key, '=', values)})"
            case Comparison(type=kind, key=key, values=values):
                return self._compared(key, _ORDERS.get(kind, "="), values)
            case Compound(type=kind, filters=filters):
                return f" {kind.upper()} ".join(f"({self.condition(each)})" for each in filters)

    def _compared(self, key: str, sign: str, values: Sequence[Scalar]) -> str:
        tests = list(self._tests(sign, values)) if _can_be_kept(key, LONGEST_KEY) else []
        if not tests:
            return _NEVER
        return self._spelled.where.format(self._bound(key), f"({' OR '.join(tests)})")

    def _tests(self, sign: str, values: Sequence[Scalar]) -> Iterator[str]:
        spelled = self._spelled
        for value in values:
            if type(value) is bool:
                yield spelled.boolean.format(sign, self._bound("true" if value else "false"))
            elif type(value) is str:
                # An order may hold for a value that is too long to be kept; an equality can't.
                if _can_be_kept(value, LONGEST_VALUE if sign == "=" else sys.maxsize):
                    yield spelled.text.format(sign, self._bound(value))
            else:
                yield spelled.number.format(sign, self._bound(_spelled_number(value)))

    def _bound(self, value: str) -> str:
        return self._spelled.parameter.format(self.values.setdefault(value, self._first + len(self.values)))


def _can_be_kept(text: str, longest: int) -> bool:
    """Return whether an attribute can have this key or value: none holds NUL, or what is no Unicode text."""
    return len(text) <= longest and "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _spelled_number(value: Scalar) -> str:
    """Return the number as JSON; an integer that databases can't hold is rounded as they round it."""
    is_large = type(value) is int and not -(2**63) <= value < 2**63
    return dumps(_rounded(value) if is_large else value)


def _rounded(value: Scalar) -> float:
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max if str(value)[:1] != "-" else -sys.float_info.max
