"""Samples for patterns: a resource or a path that a pattern matches, so that OPA can be asked about it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final, TypeVar

from policy.regexes import REGEX_PREFIX
from policy.resource_types import RECORD_TABLES, RESOURCE_TYPES, TYPE_SYNONYMS
from policy.routes import normalize_path
from policy.rules import (
    EveryRecord,
    Everything,
    ExactName,
    ExactPath,
    OfType,
    PathPattern,
    PathPrefix,
    Regex,
    ResourcePattern,
)
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX
from translators.regex.codepoints import Ranges, holds
from translators.regex.reader import read
from translators.regex.tree import Atomic, Chars, Choice, Lookahead, Node, Repeat
from translators.regex.tree import Sequence as Items

_NAMES: Final = ("example", "another", "x", "0")
_CHARACTERS: Final = "xa1-_/.:X "
_VARIANTS: Final = 9
_LONGEST_COMPARED: Final = 64
"""Longest text that is held against a regular expression which it wasn't made for: Python may take exponential time."""

Named = tuple[str, str]
"""The canonical type of a resource, and its name."""

Sample = TypeVar("Sample")


def spelled(pattern: ResourcePattern | PathPattern) -> str:
    """Return the pattern as a policy spells it."""
    match pattern:
        case Everything():
            return "*"
        case EveryRecord():
            return f"{RECORD_PREFIX}*"
        case OfType(kind):
            return f"{kind}::*"
        case ExactName(kind, name):
            return f"{kind}::{name}"
        case ExactPath(path):
            return path
        case PathPrefix(prefix):
            return f"{prefix}*"
        case Regex(text):
            return REGEX_PREFIX + text


def sample_resource(pattern: ResourcePattern, all_patterns: Sequence[ResourcePattern], tables: Tables) -> Named | None:
    """Return a resource that `pattern` matches and as few others of `all_patterns` as possible; None if none is
    found.
    """
    candidates = [found for found in _resources(pattern, tables) if _matches(pattern, found, tables)]
    rivals = [other for other in all_patterns if other != pattern]
    return _most_typical(candidates, lambda found: sum(_matches(rival, found, tables) for rival in rivals))


def sample_path(pattern: PathPattern, all_patterns: Sequence[PathPattern]) -> str | None:
    """Return a path that `pattern` matches and as few others of `all_patterns` as possible; None if none is found."""
    candidates = [path for path in _paths(pattern) if path.startswith("/") and normalize_path(path) == path]
    candidates = [path for path in candidates if _covers(pattern, path)]
    rivals = [other for other in all_patterns if other != pattern]
    return _most_typical(candidates, lambda found: sum(_covers(rival, found) for rival in rivals))


def _most_typical(candidates: Sequence[Sample], rivals: Callable[[Sample], int]) -> Sample | None:
    """Return the candidate that the fewest rivals match, the first of equals."""
    return min(candidates, key=rivals, default=None)


def _resources(pattern: ResourcePattern, tables: Tables) -> Iterator[Named]:
    match pattern:
        case ExactName(kind, name):
            yield kind, name
        case OfType(kind):
            yield from ((kind, name) for name in _NAMES)
        case EveryRecord():
            yield from ((RECORD_PREFIX + table, name) for table in (*RECORD_TABLES, "another_table") for name in _NAMES)
        case Everything():
            yield from ((kind, name) for kind in RESOURCE_TYPES for name in _NAMES)
        case Regex():
            for text in _texts(pattern):
                yield from (found for subject in _subjects(text) if (found := _split(subject, tables)) is not None)


def _subjects(text: str) -> Iterator[str]:
    """Yield subjects that may begin with, or contain, a text that a regular expression matches."""
    yield text
    yield f"{text}x"
    yield f"{text}::x"
    yield f"{RECORD_PREFIX}{RECORD_TABLES[0]}::x"
    rest = text.partition("::")[2] or text
    for kind in (*RESOURCE_TYPES, *TYPE_SYNONYMS):
        yield f"{kind}::{rest}"
        yield f"{kind}::{rest}x"


def _split(subject: str, tables: Tables) -> Named | None:
    """Return the resource with that subject; None if there can't be one."""
    if subject.startswith(RECORD_PREFIX):
        table, _, name = subject.removeprefix(RECORD_PREFIX).partition("::")
        return (tables.canonical_type(RECORD_PREFIX + table), name) if table and name else None
    kind, _, name = subject.partition("::")
    canonical = TYPE_SYNONYMS.get(kind, kind)
    return (canonical, name) if canonical in RESOURCE_TYPES and name else None


def _paths(pattern: PathPattern) -> Iterator[str]:
    match pattern:
        case ExactPath(path):
            yield path
        case PathPrefix(prefix):
            yield from (f"{prefix.rstrip('/')}/{name}" for name in _NAMES)
            yield from (f"{prefix}{name}" for name in _NAMES)
        case Everything():
            yield from (f"/v1/{name}" for name in _NAMES)
        case Regex():
            for text in _texts(pattern):
                yield from (text, f"{text}x", f"/{text}", text.rstrip("/"))


def _matches(pattern: ResourcePattern, resource: Named, tables: Tables) -> bool:
    kind, name = resource
    match pattern:
        case Everything():
            return True
        case EveryRecord():
            return kind.startswith(RECORD_PREFIX)
        case OfType(own):
            return kind == own
        case ExactName(own, own_name):
            return resource == (own, own_name)
        case Regex():
            spellings = [
                *tables.types(kind),
                *(synonym for synonym, canonical in TYPE_SYNONYMS.items() if canonical == kind),
            ]
            return any(_matches_text(pattern, f"{spelling}::{name}") for spelling in spellings)


def _covers(pattern: PathPattern, path: str) -> bool:
    match pattern:
        case Everything():
            return True
        case ExactPath(own):
            return path == own
        case PathPrefix(prefix):
            return path.startswith(prefix)
        case Regex():
            return _matches_text(pattern, path)


def _matches_text(regex: Regex, text: str) -> bool:
    if not regex.valid or (len(text) > _LONGEST_COMPARED and text not in _texts(regex)):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checker has reported the pattern already
        return re.match(regex.pattern, text) is not None


@cache
def _texts(regex: Regex) -> tuple[str, ...]:
    """Return a few texts that are built to match, with the shortest repetitions first, since they read best."""
    if not regex.valid:
        return ()
    tree = read(regex.pattern)
    return tuple(dict.fromkeys(_text(tree, variant) for variant in range(_VARIANTS)))


def _text(node: Node, variant: int) -> str:
    match node:
        case Chars(ranges):
            return _character(ranges, variant)
        case Items(items):
            return _text_of_all(items, variant)
        case Choice(branches):
            return _text(branches[variant % len(branches)], variant)
        case Repeat(body, least, most):
            anything = most is None and len(body.items) == 1
            return _text(body, variant) * max(least, int(anything) if variant % 2 == 0 else int(variant == 3))
        case Atomic(body):
            return _text(body, variant)
    return ""


def _text_of_all(items: Sequence[Node], variant: int) -> str:
    text = ""
    for item in reversed(items):
        if isinstance(item, Lookahead) and not item.negative:
            # The text of a look-ahead may replace what follows it, come later, or come first.
            ahead = _text(item.body, variant)
            text = (ahead + text[len(ahead) :], text + ahead, ahead + text)[variant % 3]
        else:
            text = _text(item, variant) + text
    return text


def _character(ranges: Ranges, variant: int) -> str:
    # The last variants begin with other characters, in case a look-ahead excludes those of the first.
    start = max(variant - 5, 0)
    typical = (char for char in _CHARACTERS[start:] + _CHARACTERS[:start] if holds(ranges, ord(char)))
    return next(typical, None) or next((chr(first) for first, _ in ranges if chr(first).isprintable()), "")
