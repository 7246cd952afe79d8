"""What a policy says without meaning it: warnings about rules that are valid."""

from __future__ import annotations

from collections.abc import Sequence

from policy.diagnostics import Findings, quoted
from policy.routes import PUBLIC_ROUTES
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
from policy.vocabulary import Effect


def report_skipped_forbids(rules: Sequence[RouteRule], authentication: bool, findings: Findings) -> None:
    """Warn of each conditional `forbid` that a caller without an identity escapes into a later, open `permit`.

    While authentication isn't configured, every conditional rule is skipped; while it is, only the public routes are
    open to a caller without a token.
    """
    for rule in rules:
        if rule.effect is not Effect.FORBID or rule.conditions is None:
            continue
        if not authentication:
            opening = _opening(rule, rule.paths, rules)
            if opening is not None:
                message = f"without authentication this rule is skipped, and {_name(opening)} opens its paths"
                _warn(rule, message, findings)
        elif _escaped_by_anonymous(rule):
            public = [ExactPath(route.path) for route in PUBLIC_ROUTES if not rule.methods or "GET" in rule.methods]
            shared = [path for path in public if any(_covers(pattern, path) for pattern in rule.paths)]
            opening = _opening(rule, shared, rules)
            if opening is not None:
                paths = ", ".join(quoted(path.path) for path in shared)
                message = f"a caller without a token escapes this rule, and {_name(opening)} opens {paths}"
                _warn(rule, message, findings)


def _warn(rule: RouteRule, message: str, findings: Findings) -> None:
    hint = "forbid without a condition, or permit with one"
    findings.warning("conditional-forbid-skipped", rule.span, message, hint)


def _name(rule: RouteRule) -> str:
    return f"`route_policy[{rule.index}]` (line {rule.span.line})"


def _opening(forbid: RouteRule, paths: Sequence[PathPattern], rules: Sequence[RouteRule]) -> RouteRule | None:
    """The first unconditional permit that decides about one of `paths` once `forbid` is skipped."""
    later = [rule for rule in rules[forbid.index + 1 :] if rule.conditions is None and _share_methods(rule, forbid)]
    for path in paths:
        for rule in later:
            if rule.effect is Effect.PERMIT and any(_overlap(path, pattern) for pattern in rule.paths):
                return rule
            if any(_covers(pattern, path) for pattern in rule.paths):
                break
    return None


def _escaped_by_anonymous(rule: RouteRule) -> bool:
    """Whether the rule's conditions let go of a caller who has no attributes."""
    if rule.conditions is None:
        return False
    holds = [_holds_for_anonymous(condition) for condition in rule.conditions.conditions]
    return all(holds) if rule.conditions.clause is Clause.UNLESS else not all(holds)


def _holds_for_anonymous(condition: Condition) -> bool:
    return isinstance(condition, HasValue) and condition.negated


def _share_methods(one: RouteRule, other: RouteRule) -> bool:
    return not one.methods or not other.methods or bool(set(one.methods) & set(other.methods))


def _overlap(one: PathPattern, other: PathPattern) -> bool:
    return _covers(one, other) or _covers(other, one)


def _covers(wide: PathPattern, narrow: PathPattern) -> bool:
    """Whether every path of `narrow` is one of `wide`; a regex is taken to cover nothing but itself."""
    match wide, narrow:
        case Everything(), _:
            return True
        case PathPrefix(prefix), ExactPath(text) | PathPrefix(text):
            return text.startswith(prefix)
        case Regex(pattern), Regex(other):
            return pattern == other
    return wide == narrow
