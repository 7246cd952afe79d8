"""What rules are about, in a form that can be compared.

A reach is verbs times places. A verb is an action or a method; a place is one pattern for one principal, or one path
pattern. Both name everything that certainly contains them; patterns whose relation isn't obvious count as unrelated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from policy.expressions import literal_start
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
from policy.vocabulary import RECORD_PREFIX, RESOURCE_TYPES, TYPE_SYNONYMS, Action

Key: TypeAlias = tuple[str, str | None]
"""A pattern without its place in the file, and the principal that it is limited to."""

_ANY_METHOD: Final = "*"
_EVERYTHING: Final = "*"
_EVERY_RECORD: Final = f"of {RECORD_PREFIX}*"

EVERYWHERE: Final[Key] = (_EVERYTHING, None)
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
    """What a rule is about; each verb comes with the verbs that contain it, itself first."""

    verbs: tuple[tuple[str, ...], ...]
    places: tuple[Place, ...]


def access_reach(rule: AccessRule, tables: Tables) -> Reach:
    """The reach of an access rule; it has no places if the rule's pattern never matches."""
    verbs = tuple((str(action),) for action in rule.actions)
    if isinstance(rule.resource, Regex) and not rule.resource.valid:
        return Reach(verbs, ())
    principals = (None,) if rule.principal is None else (rule.principal, None)
    wider = tuple((pattern, who) for pattern in _wider_resources(rule.resource, tables) for who in principals)
    return Reach(verbs, (Place((_key(rule.resource), rule.principal), wider),))


class RouteReaches:
    """The reaches of route rules; it knows the lengths of all prefixes, so that finding wider ones is cheap."""

    def __init__(self, rules: Sequence[RouteRule]) -> None:
        self._lengths = {len(path.prefix) for rule in rules for path in rule.paths if isinstance(path, PathPrefix)}

    def of(self, rule: RouteRule) -> Reach:
        """The reach of one rule; patterns that never match have no place in it."""
        verbs = tuple((method, _ANY_METHOD) for method in rule.methods) or ((_ANY_METHOD,),)
        paths = [path for path in rule.paths if not (isinstance(path, Regex) and not path.valid)]
        places = (Place((_key(path), None), tuple((key, None) for key in self._wider(path))) for path in paths)
        return Reach(verbs, tuple(places))

    def _wider(self, path: PathPattern) -> Iterator[str]:
        yield _EVERYTHING
        yield _key(path)
        text = _start_of_path(path)
        yield from (_key(PathPrefix(text[:length])) for length in self._lengths if 0 < length <= len(text))


def type_of(pattern: ResourcePattern, tables: Tables) -> str | None:
    """The resource type that every match has; `sql_record` for records of any table; None if that isn't certain."""
    match pattern:
        case OfType(type=kind) | ExactName(type=kind):
            return kind
        case EveryRecord():
            return RECORD_PREFIX.removesuffix("::")
        case Regex():
            started = _type_of_start(literal_start(pattern)) if pattern.valid else None
            return None if started is None else tables.canonical_type(started)
    return None


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
        case Everything() | Regex(pattern=".*" | "^.*"):
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
