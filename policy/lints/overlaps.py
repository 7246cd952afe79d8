"""Overlaps between patterns and routes; lints say nothing where an overlap is possible.

The answers may report an overlap that doesn't exist, and never miss one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from policy.lints.languages import Start, starts, surely_matches
from policy.resource_types import TYPE_SYNONYMS
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
    RouteRule,
)
from policy.served_routes import SERVED, ServedRoute
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX

_PARAMETER: Final = re.compile(r"\{\w+(:path)?\}")


def may_be_about(pattern: ResourcePattern, kind: str, tables: Tables) -> bool:
    """Return whether `pattern` may match a resource of the type `kind`."""
    match pattern:
        case OfType(own) | ExactName(own, _):
            return own == kind
        case EveryRecord():
            return kind.startswith(RECORD_PREFIX)
        case Regex():
            return pattern.valid and any(
                _may_begin(start, f"{spelling}::")
                for start in starts(pattern.pattern)
                for spelling in spellings(kind, tables)
            )
    return True


def is_about_all(pattern: ResourcePattern, kind: str, tables: Tables) -> bool:
    """Return whether `pattern` certainly matches every resource of the type `kind`, if their names are on one line."""
    match pattern:
        case OfType(own):
            return own == kind
        case EveryRecord():
            return kind.startswith(RECORD_PREFIX)
        case Regex(text):
            return pattern.valid and any(surely_matches(text, f"{spelling}::") for spelling in spellings(kind, tables))
    return isinstance(pattern, Everything)


def spellings(kind: str, tables: Tables) -> tuple[str, ...]:
    """Return the ways in which a subject may spell the type."""
    return (*tables.types(kind), *(second for second, canonical in TYPE_SYNONYMS.items() if canonical == kind))


def routes_of(path: PathPattern, methods: Sequence[str] = ()) -> list[ServedRoute]:
    """Return the routes of the server that `path` may match with one of `methods`; no methods means every method."""
    return [served for served in SERVED if (not methods or served.method in methods) and may_match(path, served.path)]


def routes_of_rule(rule: RouteRule) -> Iterator[ServedRoute]:
    """Yield the routes of the server that a rule may match; a route may come several times."""
    for path in rule.paths:
        yield from routes_of(path, rule.methods)


def may_match(path: PathPattern, template: str) -> bool:
    """Return whether `path` may match a path of the route `template`."""
    match path:
        case ExactPath(text):
            return _fits(template, text, ends=True)
        case PathPrefix(text):
            return _fits(template, text, ends=False)
        case Regex():
            return path.valid and any(_may_fit(start, template) for start in starts(path.pattern))
    return True


def may_be_below(path: PathPattern, beginning: str) -> bool:
    """Return whether `path` may match `beginning`, or what is below it."""
    match path:
        case ExactPath(text):
            return text == beginning or text.startswith(f"{beginning}/")
        case PathPrefix(text):
            return _may_begin(Start(text), beginning)
        case Regex():
            return path.valid and any(_may_begin(start, beginning) for start in starts(path.pattern))
    return True


def _may_begin(start: Start, beginning: str) -> bool:
    """Return whether a subject with that start may begin with `beginning`."""
    return start.text.startswith(beginning) or (not start.ends and beginning.startswith(start.text))


def _may_fit(start: Start, template: str) -> bool:
    # `$` also matches before a final line break.
    texts = (start.text, f"{start.text}\n") if start.ends else (start.text,)
    return any(_fits(template, text, ends=start.ends) for text in texts)


def _fits(template: str, text: str, *, ends: bool) -> bool:
    """Return whether a path of the route begins with `text`, or equals it if `ends`."""
    pieces = _pieces(template)
    for index, piece in enumerate(pieces):
        if not text:
            return not ends
        if piece == ":path":
            return True  # what follows such a parameter is part of it
        if piece == ":":
            segment, slash, rest = text.partition("/")
            if not segment:
                return False
            text = slash + rest
        else:
            if not (text.startswith(piece) or (not ends and piece.startswith(text))):
                return False
            text = text[len(piece) :]
        if not text:
            return not ends or index == len(pieces) - 1
    return not text


@lru_cache
def _pieces(template: str) -> tuple[str, ...]:
    """Return the template as literal texts, with `:` for one segment and `:path` for several."""
    pieces: list[str] = []
    position = 0
    for found in _PARAMETER.finditer(template):
        pieces += [template[position : found.start()], found[1] or ":"]
        position = found.end()
    return tuple(piece for piece in (*pieces, template[position:]) if piece)
