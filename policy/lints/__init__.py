"""Warnings about rules that are valid and probably not what was meant.

One module for each kind of mistake: `skipped` (a forbid that is let out), `decided` and `late` (rules that never
decide, forbids that come too late), `unguarded` (permits for everyone), `endings` (patterns that match more than they
seem), `paths` and `names` (paths and names that nothing has), `closed` (policies that shut each other out), `callers`
(attributes that no caller has, subjects that become roles), `subjects` (patterns that no resource matches),
`spelling` (words that differ in case alone), `mentions` (resources that no rule is about), `stores` (vector stores that
no rule lets anyone fill) and `agents` (agents that no rule lets anyone use). A lint is silent unless it is certain of
what it says.
"""

from __future__ import annotations

from collections.abc import Mapping as Environ
from dataclasses import dataclass

from policy.claims import read_claims
from policy.lints.agents import report_unused_agents
from policy.lints.callers import (
    Written,
    report_principals_of_any_issuer,
    report_subject_as_role,
    report_unknown_attributes,
    report_unknown_sharer,
)
from policy.lints.closed import report_useless_permits, report_useless_routes
from policy.lints.decided import report_idle_access_rules, report_idle_route_rules
from policy.lints.endings import report_wide_paths, report_wide_resources
from policy.lints.mentions import report_unmentioned_types
from policy.lints.names import report_unknown_names
from policy.lints.paths import report_unknown_routes
from policy.lints.places import Places
from policy.lints.skipped import report_skipped_forbids
from policy.lints.spelling import report_case
from policy.lints.stores import report_unfilled_stores
from policy.lints.subjects import report_unmatched_regexes
from policy.lints.unguarded import Callers, report_unguarded_permits
from policy.rules import PolicySet
from policy.source.diagnostics import Findings
from policy.source.document import Mapping


@dataclass(frozen=True, slots=True)
class _Known:
    """Findings that both access and route lints use: rules that never decide, types that no rule permits."""

    idle: frozenset[int] = frozenset()
    closed: tuple[str, ...] = ()


def report_lints(
    policies: PolicySet,
    auth: Mapping,
    document: Mapping,
    environ: Environ[str, str],
    findings: Findings,
) -> None:
    """Report warnings about the policies under `auth`, the section `server.auth` of `document`.

    The policies must hold no error. The built-in default policy is not checked.
    """
    access, routes = Places.of(auth, "access_policy"), Places.of(auth, "route_policy")
    claims = read_claims(auth, environ)
    of_access, of_routes = _Known(), _Known()
    if access is not None:
        of_access = _report_access(policies, access, document, environ, findings)
        attributes = None if claims is None else claims.attributes
        guarded = policies.guardrails is not None
        report_unguarded_permits(
            policies.access, of_access.idle, Callers(attributes, guarded), policies.tables, access, findings
        )
    if routes is not None and policies.routes is not None:
        of_routes = _report_routes(policies, routes, findings)
    if access is not None and routes is not None and policies.routes is not None and policies.authentication:
        rules = policies.access, policies.routes
        report_useless_routes(rules[1], of_routes.idle, rules[0], of_access.closed, policies.tables, routes, findings)
        report_useless_permits(rules[0], of_access.idle, rules[1], policies.tables, access, findings)
    written = _written(policies, routes, access)
    limits = _written(policies, limits=Places.of_limits(document))
    unknown = report_unknown_attributes([*written, *limits], claims, findings)
    report_case([*written, *limits], unknown, findings)
    report_unknown_sharer(document, claims, findings)
    if policies.authentication:
        report_unfilled_stores(policies.access, policies.routes, policies.tables, document, environ, findings)
        report_unused_agents(
            policies.access, of_access.idle, of_access.closed, policies.routes, policies.tables, document, findings
        )
        report_subject_as_role(written, claims, findings)
        if access is not None:
            report_principals_of_any_issuer(policies.access, policies.issuers, access, findings)


def _report_access(
    policies: PolicySet,
    places: Places,
    document: Mapping,
    environ: Environ[str, str],
    findings: Findings,
) -> _Known:
    rules = policies.access
    idle = report_idle_access_rules(rules, policies.tables, places, findings)
    report_wide_resources(rules, places, findings)
    report_unmatched_regexes(rules, policies.tables, places, findings)
    report_unknown_names(rules, places, document, environ, findings)
    return _Known(
        frozenset(idle), tuple(report_unmentioned_types(rules, policies.tables, places, document, environ, findings))
    )


def _report_routes(policies: PolicySet, places: Places, findings: Findings) -> _Known:
    rules = policies.routes or ()
    report_skipped_forbids(rules, policies.authentication, findings)
    idle = report_idle_route_rules(rules, places, findings)
    unknown = report_unknown_routes(rules, places, findings)
    report_wide_paths(rules, unknown, places, findings)
    return _Known(frozenset(idle))


def _written(
    policies: PolicySet, routes: Places | None = None, access: Places | None = None, limits: Places | None = None
) -> Written:
    """Return the rules whose places in the file are known, with these places."""
    sections = ((policies.routes, routes), (policies.access, access), (policies.limits, limits))
    return [(rule, places) for rules, places in sections if places for rule in rules or ()]
