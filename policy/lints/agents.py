"""Lint of agents that are served and that no caller can use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
from typing import Final

from policy.lints.overlaps import is_about_all, may_be_about, routes_of_rule
from policy.rules import AccessRule, Clause, Conditions, IsFromConfig, IsOwner, IsUnowned, RouteRule
from policy.source import document as yaml
from policy.source.diagnostics import Findings
from policy.tables import Tables
from policy.vocabulary import Action, Effect, type_of_record

_KIND: Final = type_of_record("responses")
_APIS: Final = ("agents", "responses")
_ROUTE: Final = ("POST", "/v1/responses")


def report_unused_agents(
    access: Sequence[AccessRule],
    idle: Collection[int],
    told: Collection[str],
    routes: Sequence[RouteRule] | None,
    tables: Tables,
    document: yaml.Mapping,
    findings: Findings,
) -> None:
    """Warn where `apis` serves agents, and no rule permits a caller to create responses, or no route to make one.

    `idle` are the indices of access rules that never decide; `told` are types reported already.
    """
    place = _place(document)
    if place is None:
        return
    if _KIND not in told and not any(
        rule.index not in idle and _lets_create(rule, tables) for rule in _heard(access, tables)
    ):
        message = (
            "agents are served, and no rule permits a caller to create responses, so every response that is to be "
            "stored is refused"
        )
        hint = f"permit `create` on `{_KIND}::*` to those who use agents"
        findings.warning("unused-agents", place.span, message, hint)
    if routes is not None and not any(_opens(rule) for rule in routes):
        message = f"agents are served, and `route_policy` permits no caller `{' '.join(_ROUTE)}`"
        hint = f"permit `{_ROUTE[1]}` and `{_ROUTE[1]}/*` there, or leave `{place.text}` out of `apis`"
        findings.warning("unused-agents", place.span, message, hint)


def _place(document: yaml.Mapping) -> yaml.Scalar | None:
    """Return the first entry of `apis` that serves agents."""
    entry = document.entries.get("apis")
    items = entry.node.items if entry is not None and isinstance(entry.node, yaml.Sequence) else ()
    return next((item for item in items if isinstance(item, yaml.Scalar) and item.text in _APIS), None)


def _heard(access: Sequence[AccessRule], tables: Tables) -> Iterator[AccessRule]:
    """Return the rules in front of one that forbids every caller to create any response."""
    return takewhile(lambda rule: not _closes(rule, tables), access)


def _closes(rule: AccessRule, tables: Tables) -> bool:
    return (
        rule.effect is Effect.FORBID
        and Action.CREATE in rule.actions
        and rule.principal is None
        and rule.issuer is None
        and rule.conditions is None
        and is_about_all(rule.resource, _KIND, tables)
    )


def _lets_create(rule: AccessRule, tables: Tables) -> bool:
    return (
        rule.effect is Effect.PERMIT
        and Action.CREATE in rule.actions
        and may_be_about(rule.resource, _KIND, tables)
        and not _is_never_about_new_ones(rule.conditions)
    )


def _is_never_about_new_ones(conditions: Conditions | None) -> bool:
    """Return whether these conditions never hold for what is to be created, which is its creator's."""
    return (
        conditions is not None
        and conditions.clause is Clause.WHEN
        and any(
            isinstance(each, IsUnowned | IsFromConfig) or (isinstance(each, IsOwner) and each.negated)
            for each in conditions.conditions
        )
    )


def _opens(rule: RouteRule) -> bool:
    return rule.effect is Effect.PERMIT and any(
        (served.method, served.path) == _ROUTE for served in routes_of_rule(rule)
    )
