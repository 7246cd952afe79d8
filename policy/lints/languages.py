"""Bounds on the texts that a regular expression matches: those that it may match, and those that it certainly does.

Both err on the safe side: a pattern that isn't understood may match anything and certainly matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from policy.expressions import parse_tree

_MOST_STARTS: Final = 64
_MOST_IN_CLASS: Final = 16
_MOST_REPEATS: Final = 4
_BEGINNINGS: Final = {"AT_BEGINNING", "AT_BEGINNING_STRING"}
_ENDS: Final = {"AT_END", "AT_END_STRING"}
_ODD_FLAGS: Final = re.IGNORECASE | re.MULTILINE
_PLAIN: Final = {"LITERAL", "NOT_LITERAL", "ANY", "IN"}

_Items = Sequence[tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Start:
    """A text with which matches begin; `ends` says that the match, and the subject, end there."""

    text: str
    ends: bool = False


_ANYTHING: Final = (Start(""),)


@lru_cache(maxsize=16_384)
def starts(pattern: str) -> tuple[Start, ...]:
    """Return texts such that every subject that a valid `pattern` matches begins with one of them."""
    try:
        tree = parse_tree(pattern)
        if tree.state.flags & _ODD_FLAGS:
            return _ANYTHING
        going, done = _walk(tree.data, {""})
    except (_TooMany, RecursionError):
        return _ANYTHING
    found = {*done, *map(Start, going)}
    return tuple(sorted(found, key=lambda start: start.text)) if len(found) <= _MOST_STARTS else _ANYTHING


@lru_cache(maxsize=16_384)
def surely_matches(pattern: str, start: str) -> bool:
    """Return whether `pattern` matches every subject of one line that begins with `start` and is longer."""
    try:
        tree = parse_tree(pattern)
        if tree.state.flags & _ODD_FLAGS or sum(map(pattern.count, "*+{")) > _MOST_REPEATS:
            return False
        body = _without_tail(tree.data)
        if body is None or not _is_monotone(body, within_repeat=False):
            return False
        rest = import_module("re._parser").SubPattern(tree.state, body)
        compiled: re.Pattern[str] = import_module("re._compiler").compile(rest)
    except RecursionError:
        return False
    return compiled.match(start) is not None


class _TooMany(Exception):
    """Raised for more starts than are worth comparing."""


def _walk(items: _Items, going: set[str]) -> tuple[set[str], set[Start]]:
    """Return the starts that continue after `items`, and those that end within them."""
    done: set[Start] = set()
    for operation, argument in items:
        going, settled = _step(str(operation), argument, going)
        done |= settled
        if len(going) + len(done) > _MOST_STARTS:
            raise _TooMany
    return going, done


def _step(operation: str, argument: Any, going: set[str]) -> tuple[set[str], set[Start]]:
    match operation:
        case "LITERAL":
            return {text + chr(argument) for text in going}, set()
        case "IN" if (letters := _letters(argument)) is not None:
            return {text + letter for text in going for letter in letters}, set()
        case "BRANCH":
            walked = [_walk(branch, going) for branch in argument[1]]
            return set().union(*(on for on, _ in walked)), set().union(*(done for _, done in walked))
        case "SUBPATTERN" if not argument[1] & _ODD_FLAGS:
            return _walk(argument[3], going)
        case "AT" if str(argument) in _ENDS:
            return set(), {Start(text, ends=True) for text in going}
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return going, set()  # it only excludes matches
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, body = argument
            return _step_over_repeat(least, most, body, going)
    return set(), set(map(Start, going))


def _step_over_repeat(least: int, most: Any, body: _Items, going: set[str]) -> tuple[set[str], set[Start]]:
    on, done = _walk(body, going)
    if (least, most) == (0, 1):
        return going | on, done
    return (set(), done | set(map(Start, on))) if least else (set(), set(map(Start, going)))


def _letters(argument: _Items) -> list[str] | None:
    """Return the characters of a small class; None for any other class."""
    if len(argument) > _MOST_IN_CLASS or any(str(kind) != "LITERAL" for kind, _ in argument):
        return None
    return [chr(code) for _, code in argument]


def _without_tail(items: _Items) -> list[tuple[Any, Any]] | None:
    """Return the items without a tail that takes any rest of a line; None where `$` follows something else.

    Such tails are `.*`, `.+`, `.*$`, `(/.*)?$` and similar; an optional part counts as matched.
    """
    ended = bool(items) and str(items[-1][0]) == "AT" and str(items[-1][1]) in _ENDS
    found = _without_open_end(items[:-1] if ended else items)
    return found if found is not None or ended else list(items)


def _without_open_end(items: _Items) -> list[tuple[Any, Any]] | None:
    """Return the items without a final repetition of any character; None where they end with something else."""
    if not items:
        return None
    operation, argument = str(items[-1][0]), items[-1][1]
    if operation == "SUBPATTERN":
        inner = argument[3].data
    elif operation in {"MAX_REPEAT", "MIN_REPEAT"} and argument[0] <= 1:
        if str(argument[1]) == "MAXREPEAT" and [str(one) for one, _ in argument[2]] == ["ANY"]:
            return list(items[:-1])
        inner = argument[2].data
    else:
        return None
    rest = _without_open_end(inner)
    return None if rest is None else [*items[:-1], *rest]


def _is_monotone(items: Iterable[tuple[Any, Any]], *, within_repeat: bool) -> bool:
    """Return whether a longer subject matches wherever a shorter one does, and matching takes little time."""
    for operation, argument in items:
        name = str(operation)
        if name in _PLAIN or (name == "AT" and str(argument) in _BEGINNINGS):
            continue
        if name == "SUBPATTERN":
            inner = argument[3]
        elif name == "BRANCH":
            inner = [item for branch in argument[1] for item in branch]
        elif name in {"MAX_REPEAT", "MIN_REPEAT"} and not within_repeat:
            inner, within = argument[2], argument[0] != argument[1]
            if not _is_monotone(inner, within_repeat=within):
                return False
            continue
        else:
            return False
        if not _is_monotone(inner, within_repeat=within_repeat):
            return False
    return True
