"""What a policy says without meaning it: warnings about rules that are valid.

One module for each kind of mistake: `skipped` (a forbid that is let out), `decided` (rules that never decide),
`endings` (patterns that match more than they seem), `callers` (attributes that nobody has, subjects that become
roles), `changes` (permits for everyone to change things) and `mentions` (resources that no rule is about). A lint is
silent unless it is certain of what it says.
"""

from __future__ import annotations

from collections.abc import Mapping as Environ

from policy.diagnostics import Findings
from policy.document import Mapping
from policy.lints.callers import report_subject_as_role, report_unknown_attributes
from policy.lints.changes import report_unguarded_changes
from policy.lints.decided import report_idle_access_rules, report_idle_route_rules
from policy.lints.endings import report_wide_paths, report_wide_resources
from policy.lints.mentions import report_unmentioned_types
from policy.lints.places import Places
from policy.lints.skipped import report_skipped_forbids
from policy.rules import PolicySet


def report_lints(
    policies: PolicySet, auth: Mapping, document: Mapping, environ: Environ[str, str], findings: Findings
) -> None:
    """Warn of what the policies under `auth`, the section `server.auth` of `document`, say without meaning it.

    The policies must hold no error. The shipped default policy is not looked at.
    """
    access = Places.of(auth, "access_policy")
    routes = Places.of(auth, "route_policy")
    if access is not None:
        report_idle_access_rules(policies.access, policies.tables, access, findings)
        report_wide_resources(policies.access, access, findings)
        report_unguarded_changes(policies.access, access, findings)
        report_unmentioned_types(policies.access, policies.tables, access, document, findings)
    if routes is not None and policies.routes is not None:
        report_skipped_forbids(policies.routes, policies.authentication, findings)
        report_idle_route_rules(policies.routes, routes, findings)
        report_wide_paths(policies.routes, routes, findings)
    written = [
        (rule, places)
        for rules, places in ((policies.routes, routes), (policies.access, access))
        if places
        for rule in rules or ()
    ]
    report_unknown_attributes(written, auth, environ, findings)
    if policies.authentication:
        report_subject_as_role(written, auth, environ, findings)
