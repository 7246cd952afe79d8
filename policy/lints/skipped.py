"""Lints of conditional forbids that anonymous callers escape."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from policy.routes import METHODS, PUBLIC_ROUTES
from policy.rules import (
    Clause,
    Condition,
    Everything,
    ExactPath,
    HasValue,
    PathPattern,
    PathPrefix,
    Regex,
    RouteRule,
)
from policy.source.diagnostics import Findings, quoted
from policy.vocabulary import Effect

_ALL_METHODS: Final = tuple(method for method in METHODS if method != "HEAD")

_Key: TypeAlias = Everything | ExactPath | PathPrefix | str
"""A pattern without its place in the file; a regex is its text."""


def report_skipped_forbids(rules: Sequence[RouteRule], authentication: bool, findings: Findings) -> None:
    """Warn of each conditional `forbid` that an anonymous caller escapes into a wider, open `permit`.

    While authentication isn't configured, every conditional rule is skipped; while it is, only the public routes are
    open to a caller without a token.
    """
    unconditional = _Unconditional(rules)
    for rule in rules:
        if rule.effect is Effect.PERMIT or rule.conditions is None:
            continue
        if not authentication:
            story, paths, methods = "without authentication this rule is skipped", rule.paths, rule.methods
        elif _escaped_by_anonymous(rule):
            story, paths, methods = "a caller without a token escapes this rule", _public_paths(rule), ("GET",)
        else:
            continue
        for path in paths:
            opening = unconditional.opening(rule.index, path, methods or _ALL_METHODS)
            if opening is not None:
                name = f"`route_policy[{opening.index}]` (line {opening.span.line})"
                message = f"{story}, and {name} opens {_shown(path)}"
                hint = "forbid without a condition, or permit with one"
                findings.warning("conditional-forbid-skipped", rule.span, message, hint)


class _Unconditional:
    """The unconditional rules, indexed by what they cover, since policies may have thousands of them."""

    def __init__(self, rules: Sequence[RouteRule]) -> None:
        self._rules = rules
        self._indexes: dict[tuple[str, _Key], list[int]] = defaultdict(list)
        self._prefix_lengths: set[int] = set()
        for rule in rules:
            for path in rule.paths if rule.conditions is None else ():
                if isinstance(path, PathPrefix):
                    self._prefix_lengths.add(len(path.prefix))
                for method in rule.methods or _ALL_METHODS:
                    self._indexes[method, _key(path)].append(rule.index)

    def opening(self, index: int, path: PathPattern, methods: Sequence[str]) -> RouteRule | None:
        """Return the permit that decides all of `path` for one of `methods` once the rule at `index` is skipped."""
        for method in methods:
            later = [found for key in self._wider(path) if (found := self._first_after(index, method, key)) is not None]
            if later and self._rules[min(later)].effect is Effect.PERMIT:
                return self._rules[min(later)]
        return None

    def _first_after(self, index: int, method: str, key: _Key) -> int | None:
        indexes = self._indexes.get((method, key), [])
        place = bisect_right(indexes, index)
        return indexes[place] if place < len(indexes) else None

    def _wider(self, path: PathPattern) -> Iterator[_Key]:
        """Yield the keys that cover every path of `path`; a regex is covered by itself and by everything only."""
        yield Everything()
        yield _key(path)
        text = path.path if isinstance(path, ExactPath) else path.prefix if isinstance(path, PathPrefix) else ""
        yield from (PathPrefix(text[:length]) for length in self._prefix_lengths if 0 < length <= len(text))


def _key(path: PathPattern) -> _Key:
    return path.pattern if isinstance(path, Regex) else path


def _shown(path: PathPattern) -> str:
    match path:
        case Everything():
            return "every path"
        case ExactPath(text):
            return quoted(text)
        case PathPrefix(text):
            return quoted(text + "*")
        case Regex(pattern):
            return quoted("regex:" + pattern)


def _public_paths(rule: RouteRule) -> tuple[PathPattern, ...]:
    """Return the public routes that `rule` matches; a regex isn't tried."""
    if rule.methods and "GET" not in rule.methods:
        return ()
    public = [route.path for route in PUBLIC_ROUTES]
    return tuple(ExactPath(path) for path in public if any(_is_about(pattern, path) for pattern in rule.paths))


def _is_about(pattern: PathPattern, path: str) -> bool:
    match pattern:
        case Everything():
            return True
        case ExactPath(text):
            return path == text
        case PathPrefix(prefix):
            return path.startswith(prefix)
    return False


def _escaped_by_anonymous(rule: RouteRule) -> bool:
    """Return whether the rule's conditions fail for a caller without attributes."""
    if rule.conditions is None:
        return False
    holds = [_holds_for_anonymous(condition) for condition in rule.conditions.conditions]
    return all(holds) if rule.conditions.clause is Clause.UNLESS else not all(holds)


def _holds_for_anonymous(condition: Condition) -> bool:
    return isinstance(condition, HasValue) and condition.negated
