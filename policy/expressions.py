"""Regular expressions as Python parses them: validity, the literal texts that matches start with, and open ends.

Uses Python's own parser, which is private, because no other one is certain to agree with `re`. Parsing dominates the
time for a policy with many patterns, so that each pattern is parsed once and cached here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from policy.rules import Regex

_UNUSUAL: Final = re.compile(r"\(\?|[*+?}]\+")
"""Found in every pattern with an extension group or a possessive quantifier."""

_ASCII: Final = re.compile(r"[\x00-\x7f]*")

_MOST_STARTS: Final = 64

_REPEATS: Final = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}
_STARTS: Final = {"AT_BEGINNING", "AT_BEGINNING_STRING"}

_Items = Sequence[tuple[Any, Any]]
"""A part of Python's parse tree: operations, each with its arguments."""


class _End(Enum):
    """The ways in which a part of a pattern may end."""

    MID_WORD = auto()  # with a letter, a digit or a character out of a class
    SETTLED = auto()  # with an anchor, a separator, or with anything at all
    EMPTY = auto()  # it may match nothing, so that the part before it decides


@dataclass(frozen=True, slots=True)
class _Reading:
    fault: str | None
    start: str = ""
    starts: tuple[str, ...] = ()
    mid_word: bool = False
    ignores_case: bool = False


def parse_tree(pattern: str) -> Any:
    """Return Python's own parse tree of `pattern`; raise what `re.compile` raises for an invalid pattern."""
    parser: Any = import_module("re._parser")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "possible nested set" and similar warnings are about future Pythons
        if _UNUSUAL.search(pattern):
            # The parser takes some that Python then refuses, as with a look-behind of no fixed width. To compile the
            # others too would take three times as long and find nothing.
            re.compile(pattern)
        return parser.parse(pattern)


def fault_of(pattern: str) -> str | None:
    """Return the message with which Python's `re` refuses `pattern`; None if it is valid."""
    return _read(pattern).fault


def literal_start(regex: Regex) -> str:
    """Return the text with which every match of a valid pattern starts; it may be empty."""
    return _read(regex.pattern).start


def literal_starts(regex: Regex) -> tuple[str, ...]:
    """Return the texts with which matches of a valid pattern start, one for each alternative, at most 64.

    A text ends where the alternative continues with anything but literal characters. For a pattern that ignores case,
    the texts are in lower case, and end before the first letter beyond ASCII.
    """
    return _read(regex.pattern).starts


def ignores_case(regex: Regex) -> bool:
    """Return whether a valid pattern as a whole ignores case."""
    return _read(regex.pattern).ignores_case


def may_end_in_mid_word(regex: Regex) -> bool:
    """Return whether a match may end in the middle of a word.

    True if the pattern ends in a letter, a digit or a class of characters; False if it ends in `$`, in `.*` or in a
    separator, since its author has then stated what may follow.
    """
    return _read(regex.pattern).mid_word


@lru_cache(maxsize=16_384)
def _read(pattern: str) -> _Reading:
    try:
        tree = parse_tree(pattern)
    except re.error as error:
        return _Reading(f"{error.msg} at character {error.pos + 1}" if error.pos is not None else error.msg)
    except RecursionError:
        return _Reading("too deeply nested")
    except Exception as error:  # noqa: BLE001 - CPython itself fails on some patterns, with SystemError among others
        return _Reading(str(error) or "Python fails on it")
    try:
        ignores_case = bool(tree.state.flags & re.IGNORECASE)
        start = "" if ignores_case else _literal_start(tree.data)
        starts = tuple(text for text, _ in _literal_starts(tree.data))
        if ignores_case:
            # Beyond ASCII, `re` equates more letters than `lower` does.
            starts = tuple(_ASCII.match(text)[0].lower() for text in starts)  # type: ignore[index]  # it may be empty
        return _Reading(None, start, starts, _End.MID_WORD in _ends(tree.data), ignores_case)
    except RecursionError:
        return _Reading(None)


def _literal_start(items: _Items) -> str:
    start = ""
    for operation, argument in items:
        if str(operation) == "LITERAL":
            start += chr(argument)
        elif str(argument) not in _STARTS:
            break
    return start


def _literal_starts(items: _Items) -> list[tuple[str, bool]]:
    """Return each start of a match, and whether the match may continue with what follows `items`."""
    found = [("", True)]
    for operation, argument in items:
        if str(argument) in _STARTS:
            continue
        nexts = _literal_starts_of(str(operation), argument)
        going_on = [text for text, goes_on in found if goes_on]
        if not going_on:
            break
        if len(found) * len(nexts) > _MOST_STARTS:
            return [(text, False) for text, _ in found]
        found = [(text, False) for text, goes_on in found if not goes_on] + [
            (text + more, goes_on) for text in going_on for more, goes_on in nexts
        ]
    return found


def _literal_starts_of(operation: str, argument: Any) -> list[tuple[str, bool]]:
    match operation:
        case "LITERAL":
            return [(chr(argument), True)]
        case "SUBPATTERN" if not argument[1] and not argument[2]:  # flags that hold inside the group only
            return _literal_starts(argument[3])
        case "ATOMIC_GROUP":
            return _literal_starts(argument)
        case "BRANCH":
            return [start for branch in argument[1] for start in _literal_starts(branch)]
    return [("", False)]


def _ends(items: _Items) -> set[_End]:
    found: set[_End] = set()
    for operation, argument in reversed(items):
        ends = _ends_of(str(operation), argument)
        found |= ends - {_End.EMPTY}
        if _End.EMPTY not in ends:
            return found
    return found | {_End.EMPTY}


def _ends_of(operation: str, argument: Any) -> set[_End]:
    match operation:
        case "LITERAL":
            return {_End.MID_WORD if chr(argument).isalnum() else _End.SETTLED}
        case "IN" | "NOT_LITERAL":
            return {_End.MID_WORD}
        case "SUBPATTERN":
            return _ends(argument[3])
        case "ATOMIC_GROUP":
            return _ends(argument)
        case "BRANCH":
            return set().union(*map(_ends, argument[1]))
        case "AT" if str(argument) in _STARTS:
            return {_End.EMPTY}
    if operation in _REPEATS:
        least, _, body = argument
        anything = [str(inner) for inner, _ in body] == ["ANY"]
        return _ends(body) | ({_End.EMPTY} if least == 0 and not anything else set())
    return {_End.SETTLED}
