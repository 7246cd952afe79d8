"""Reaches: the subjects of rules, in a form that can be compared.

A reach is verbs times places. A verb is an action or a method; a place is one pattern for one principal, or one path
pattern. Both name everything that certainly contains them; patterns whose relation isn't obvious count as unrelated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Final, TypeAlias

from policy.expressions import literal_start
from policy.lints.languages import Start, starts, surely_matches
from policy.resource_types import RESOURCE_TYPES, TYPE_SYNONYMS
from policy.rules import (
    AccessRule,
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
from policy.tables import Tables
from policy.vocabulary import RECORD_PREFIX, Action

Key: TypeAlias = tuple[str, str | None, str | None]
"""A pattern without its place in the file, and the principal and the issuer that it is limited to."""

_ANY_METHOD: Final = "*"
_EVERYTHING: Final = "*"
_EVERY_RECORD: Final = f"of {RECORD_PREFIX}*"

EVERYWHERE: Final[Key] = (_EVERYTHING, None, None)
"""The place that contains all others."""

ALL_ACTIONS: Final = tuple(map(str, Action))
ALL_METHODS: Final = (_ANY_METHOD,)
"""The verbs that together contain all others."""


@dataclass(frozen=True, slots=True)
class Place:
    """`key` names it; `wider` are the keys of all places that contain it, its own included."""

    key: Key
    wider: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """The subject of a rule; each verb comes with the verbs that contain it, itself first.

    Each of `groups` holds the places of one pattern of the rule.
    """

    verbs: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[Place, ...], ...]

    @property
    def places(self) -> Iterator[Place]:
        """All places."""
        return chain.from_iterable(self.groups)


def access_reach(rule: AccessRule, tables: Tables) -> Reach:
    """Return the reach of an access rule; it has no places if the rule's pattern never matches."""
    verbs = tuple((str(action),) for action in rule.actions)
    if isinstance(rule.resource, Regex) and not rule.resource.valid:
        return Reach(verbs, ())
    callers = dict.fromkeys(product((rule.principal, None), (rule.issuer, None)))
    places = (
        Place(
            (_key(pattern), rule.principal, rule.issuer),
            tuple((key, *who) for key in _wider_resources(pattern, tables) for who in callers),
        )
        for pattern in _resources(rule.resource, tables)
    )
    return Reach(verbs, (tuple(places),))


class RouteReaches:
    """The reaches of route rules; the lengths of all prefixes are kept, so that finding wider ones is cheap."""

    def __init__(self, rules: Sequence[RouteRule]) -> None:
        paths = (plain for rule in rules for path in rule.paths if _is_valid(path) for plain in _paths(path))
        self._lengths = {len(path.prefix) for path in paths if isinstance(path, PathPrefix)}

    def of(self, rule: RouteRule) -> Reach:
        """Return the reach of one rule; patterns that never match have no place in it."""
        verbs = tuple((method, _ANY_METHOD) for method in rule.methods) or ((_ANY_METHOD,),)
        return Reach(verbs, tuple(tuple(self._places(path)) for path in rule.paths if _is_valid(path)))

    def _places(self, path: PathPattern) -> Iterator[Place]:
        for plain in _paths(path):
            yield Place((_key(plain), None, None), tuple((key, None, None) for key in self._wider(plain)))

    def _wider(self, path: PathPattern) -> Iterator[str]:
        yield _EVERYTHING
        yield _key(path)
        text = _start_of_path(path)
        yield from (_key(PathPrefix(text[:length])) for length in self._lengths if 0 < length <= len(text))


def _is_valid(path: PathPattern) -> bool:
    return not (isinstance(path, Regex) and not path.valid)


def type_of(pattern: ResourcePattern, tables: Tables) -> str | None:
    """Return the resource type of every match, `sql_record` for records of any table; None if it isn't certain."""
    match pattern:
        case OfType(type=kind) | ExactName(type=kind):
            return kind
        case EveryRecord():
            return RECORD_PREFIX.removesuffix("::")
        case Regex():
            started = _type_of_start(literal_start(pattern)) if pattern.valid else None
            return None if started is None else tables.canonical_type(started)
    return None


def _resources(pattern: ResourcePattern, tables: Tables) -> tuple[ResourcePattern, ...]:
    """Return patterns that together match the same; those of a regex for types or single names."""
    if not isinstance(pattern, Regex):
        return (pattern,)
    plain = [_resource(start, pattern, tables) for start in starts(pattern.pattern)]
    return (pattern,) if None in plain else tuple(found for found in plain if found is not None)


def _resource(start: Start, pattern: Regex, tables: Tables) -> ResourcePattern | None:
    """Return the type or name that is exactly what `pattern` matches with that start; None if there is none."""
    text = start.text
    kind = _type_of_start(text)
    if start.ends:
        name = None if kind is None else _name_in(text, kind)
        exact = kind is not None and name and re.match(pattern.pattern, text)
        return ExactName(tables.canonical_type(kind), name) if exact and kind and name else None
    if not surely_matches(pattern.pattern, text):
        return None
    if text in ("", RECORD_PREFIX):
        return EveryRecord() if text else Everything()
    return OfType(tables.canonical_type(kind)) if kind is not None and _name_in(text, kind) == "" else None


def _name_in(text: str, kind: str) -> str | None:
    """Return the text behind the type in a subject; None where `text` is shorter."""
    heads = (f"{spelling}::" for spelling in (kind, *TYPE_SYNONYMS))
    return next((text.removeprefix(head) for head in heads if text.startswith(head)), None)


def _paths(path: PathPattern) -> tuple[PathPattern, ...]:
    """Return patterns that together match the same; those of a regex for single paths and path prefixes."""
    if not isinstance(path, Regex):
        return (path,)
    plain = [_path(start, path) for start in starts(path.pattern)]
    return (path,) if None in plain else tuple(found for found in plain if found is not None)


def _path(start: Start, path: Regex) -> PathPattern | None:
    """Return the path or prefix that is exactly what `path` matches with that start; None if there is none."""
    text = start.text
    matches_itself = re.match(path.pattern, text) is not None
    if start.ends:
        return ExactPath(text) if matches_itself else None
    if not surely_matches(path.pattern, text):
        return None
    if not text:
        return Everything()
    # No path but `/` ends in a slash, so that a path with such a prefix is longer than it.
    return PathPrefix(text) if matches_itself or text.endswith("/") else None


def _type_of_start(start: str) -> str | None:
    kind, separator, rest = start.partition("::")
    if not separator:
        return None
    if start.startswith(RECORD_PREFIX):
        table, separator, _ = rest.partition("::")
        return RECORD_PREFIX + table if separator else kind
    canonical = TYPE_SYNONYMS.get(kind, kind)
    return canonical if canonical in RESOURCE_TYPES else None


def _key(pattern: ResourcePattern | PathPattern) -> str:
    match pattern:
        case Everything():
            return _EVERYTHING
        case EveryRecord():
            return _EVERY_RECORD
        case OfType(kind):
            return f"of {kind}"
        case ExactName(kind, name):
            return f"is {kind}::{name}"
        case ExactPath(path):
            return f"is {path}"
        case PathPrefix(prefix):
            return f"below {prefix}"
        case Regex(text):
            return f"matches {text}"


def _wider_resources(pattern: ResourcePattern, tables: Tables) -> Iterator[str]:
    yield _EVERYTHING
    yield _key(pattern)
    kind = type_of(pattern, tables)
    if kind is not None and kind.startswith(RECORD_PREFIX.removesuffix("::")):
        yield _EVERY_RECORD
    if kind is not None and not isinstance(pattern, EveryRecord):
        yield _key(OfType(kind))


def _start_of_path(path: PathPattern) -> str:
    match path:
        case ExactPath(text) | PathPrefix(text):
            return text
        case Regex():
            return literal_start(path)
    return ""
