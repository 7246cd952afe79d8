"""What rules are about, cut into regions that can be compared.

A region is one action on one pattern for one principal, or one method on one path pattern. `wider` names every region
that certainly contains it; patterns whose relation isn't obvious are taken to be unrelated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from policy.lints.expressions import literal_start
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
from policy.vocabulary import RECORD_PREFIX, RESOURCE_TYPES, TYPE_SYNONYMS, Action

ANY_METHOD: Final = "*"

Key: TypeAlias = tuple[str, str, str | None]
"""An action or a method, a pattern without its place in the file, and a principal."""

_EVERYTHING: Final = "*"
_EVERY_RECORD: Final = f"of {RECORD_PREFIX}*"

ALL_ACCESS: Final[tuple[Key, ...]] = tuple((action.value, _EVERYTHING, None) for action in Action)
ALL_ROUTES: Final[tuple[Key, ...]] = ((ANY_METHOD, _EVERYTHING, None),)
"""The regions that together contain every question."""


@dataclass(frozen=True, slots=True)
class Region:
    """`key` names it; `wider` are the keys of all regions that contain it, its own included."""

    key: Key
    wider: tuple[Key, ...]


def access_regions(rule: AccessRule) -> tuple[Region, ...]:
    """The regions of an access rule; none if its pattern never matches."""
    if isinstance(rule.resource, Regex) and not rule.resource.valid:
        return ()
    own, patterns = _key(rule.resource), tuple(_wider_resources(rule.resource))
    principals = dict.fromkeys((rule.principal, None))
    return tuple(
        Region((action, own, rule.principal), tuple((action, key, who) for key in patterns for who in principals))
        for action in map(str, rule.actions)
    )


class RouteRegions:
    """The regions of route rules; it knows the lengths of all prefixes, so that finding wider ones is cheap."""

    def __init__(self, rules: Sequence[RouteRule]) -> None:
        self._lengths = {len(path.prefix) for rule in rules for path in rule.paths if isinstance(path, PathPrefix)}

    def of(self, rule: RouteRule) -> tuple[Region, ...]:
        """The regions of one rule; patterns that never match have none."""
        paths = [path for path in rule.paths if not (isinstance(path, Regex) and not path.valid)]
        return tuple(
            Region(
                (method, _key(path), None),
                tuple((one, key, None) for key in self._wider(path) for one in _methods(method)),
            )
            for method in rule.methods or (ANY_METHOD,)
            for path in paths
        )

    def _wider(self, path: PathPattern) -> Iterator[str]:
        yield _EVERYTHING
        yield _key(path)
        text = _start_of_path(path)
        yield from (_key(PathPrefix(text[:length])) for length in self._lengths if 0 < length <= len(text))


def type_of(pattern: ResourcePattern) -> str | None:
    """The resource type that every match has; `sql_record` for records of any table; None if that isn't certain."""
    match pattern:
        case OfType(type=kind) | ExactName(type=kind):
            return kind
        case EveryRecord():
            return RECORD_PREFIX.removesuffix("::")
        case Regex():
            return _type_of_start(literal_start(pattern)) if pattern.valid else None
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


def _wider_resources(pattern: ResourcePattern) -> Iterator[str]:
    yield _EVERYTHING
    yield _key(pattern)
    kind = type_of(pattern)
    if kind is not None and kind.startswith(RECORD_PREFIX.removesuffix("::")):
        yield _EVERY_RECORD
    if kind is not None and not isinstance(pattern, EveryRecord):
        yield _key(OfType(kind))


def _methods(method: str) -> tuple[str, ...]:
    return (method,) if method == ANY_METHOD else (method, ANY_METHOD)


def _start_of_path(path: PathPattern) -> str:
    match path:
        case ExactPath(text) | PathPrefix(text):
            return text
        case Regex():
            return literal_start(path)
    return ""
