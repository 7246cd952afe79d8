"""Lints of two policies that exclude each other: open routes without a permit, permits without an open route."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from policy.lints.overlaps import may_be_about, routes_of, routes_of_rule
from policy.lints.places import Places, listed
from policy.lints.reaches import type_of
from policy.resource_types import Ask
from policy.rules import AccessRule, Everything, PathPattern, RouteRule
from policy.served_routes import SERVED, ServedRoute
from policy.source.diagnostics import Findings, quoted
from policy.source.document import Scalar
from policy.tables import Tables
from policy.vocabulary import Action, Effect


def report_useless_routes(
    routes: Sequence[RouteRule],
    idle: Collection[int],
    access: Sequence[AccessRule],
    told: Collection[str],
    tables: Tables,
    places: Places,
    findings: Findings,
) -> None:
    """Warn of paths in permits whose routes all need an action that no access rule permits, once for each action.

    `idle` are the indices of route rules that never decide; `told` are types reported already.
    """
    closed = _closed(access, tables)
    known = {ask for ask in closed if ask[1] in told}
    for rule in routes:
        if rule.effect is Effect.FORBID or rule.index in idle:
            continue
        useless: dict[Scalar, None] = {}
        missing: dict[Ask, None] = {}
        for path, scalar in zip(rule.paths, places.scope(rule, "paths"), strict=True):
            lacking = _missing(path, rule.methods, closed)
            if not known.issuperset(lacking):
                useless[scalar] = None
                missing |= dict.fromkeys(lacking)
        if useless:
            known |= missing.keys()
            _report(list(useless), list(missing), findings)


def _report(useless: Sequence[Scalar], missing: Sequence[Ask], findings: Findings) -> None:
    """Warn of the paths of one rule."""
    actions = dict.fromkeys(action for action, _ in missing)
    kinds = dict.fromkeys(quoted(kind) for _, kind in missing)
    paths = listed([quoted(scalar.text) for scalar in useless])
    message = (
        f"{paths} {'is' if len(useless) == 1 else 'are'} open, but `access_policy` permits no caller to "
        f"{_or(list(actions))} any {_or(list(kinds))}, so every request there is refused or finds nothing"
    )
    action, kind = missing[0]
    hint = f"add a rule that permits `{action}` on {quoted(kind + '::*')}, or close the route"
    findings.warning("useless-route", useless[0].span, message, hint)


def report_useless_permits(
    access: Sequence[AccessRule],
    idle: Collection[int],
    routes: Sequence[RouteRule],
    tables: Tables,
    places: Places,
    findings: Findings,
) -> None:
    """Warn once of each type that access rules permit an action on while no open route serves it.

    Types that no route of this server serves are skipped. `idle` are the indices of access rules that never decide.
    """
    opened = set(_opened(routes))
    served = {ask for route in SERVED for ask in route.asks}
    told: set[str] = set()
    for rule in access:
        kind = type_of(rule.resource, tables)
        if rule.effect is Effect.FORBID or rule.index in idle or kind is None or kind in told:
            continue
        asked = {(action, kind) for action in rule.actions} & served
        if asked and asked.isdisjoint(opened):
            told.add(kind)
            verbs = _or([action for action in rule.actions if (action, kind) in asked])
            message = f"`route_policy` permits no route to {verbs} any {quoted(kind)}, so this rule opens nothing"
            # Those that need it come first: opening one of the others may not be what is meant.
            routes_about = sorted(SERVED, key=lambda route: asked.isdisjoint(route.needs))
            paths = dict.fromkeys(_pattern_of(route) for route in routes_about if not asked.isdisjoint(route.asks))
            hint = f"permit {_or([quoted(path) for path in list(paths)[:2]])} there, or remove this rule"
            findings.warning("useless-permit", rule.span, message, hint)


def _closed(access: Sequence[AccessRule], tables: Tables) -> frozenset[Ask]:
    """Return every action and type that routes need and no rule permits."""
    permits = [rule for rule in access if rule.effect is Effect.PERMIT]
    asks = {ask for route in SERVED for ask in route.needs}
    for rule in permits:
        asks -= {
            (action, kind)
            for action, kind in asks
            if action in rule.actions and may_be_about(rule.resource, kind, tables)
        }
        if not asks:
            break
    return frozenset(asks)


def _missing(path: PathPattern, methods: Sequence[str], closed: frozenset[Ask]) -> list[Ask]:
    """Return what the routes of a path need and don't get; empty if one of the routes gets all that it needs."""
    if not closed or isinstance(path, Everything):
        return []
    missing: dict[Ask, None] = {}
    for route in routes_of(path, methods):
        lacking = [ask for ask in route.needs if ask in closed]
        if not lacking:
            return []
        missing |= dict.fromkeys(lacking)
    return list(missing)


def _opened(routes: Sequence[RouteRule]) -> Iterator[Ask]:
    """Yield every action and type that the permitted routes may ask for."""
    for rule in routes:
        if rule.effect is Effect.PERMIT:
            for route in routes_of_rule(rule):
                yield from route.asks


def _pattern_of(route: ServedRoute) -> str:
    """Return a path pattern that matches the route and the paths below it."""
    head, parameter, _ = route.path.partition("{")
    return f"{head}*" if parameter else head


def _or(words: Sequence[str | Action]) -> str:
    return " or ".join(listed(list(words), most=4).rsplit(" and ", 1))
