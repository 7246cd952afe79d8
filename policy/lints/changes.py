"""Permits that let everyone change things."""

from __future__ import annotations

from collections.abc import Sequence

from policy.diagnostics import Findings
from policy.lints.places import Places
from policy.rules import AccessRule
from policy.vocabulary import Action, Effect


def report_unguarded_changes(rules: Sequence[AccessRule], places: Places, findings: Findings) -> None:
    """Warn of each permit to update or delete that asks nothing of the caller, at the action."""
    for rule in rules:
        if rule.effect is Effect.FORBID or rule.principal is not None or rule.conditions is not None:
            continue
        risky = [scalar for scalar in places.scope(rule, "actions") if scalar.text in (Action.UPDATE, Action.DELETE)]
        if risky:
            verbs = " and ".join(dict.fromkeys(scalar.text for scalar in risky))
            message = f"this rule lets every caller {verbs}, whoever owns the resource"
            hint = "add `when: user is owner`, another condition or a `principal`"
            findings.warning("unguarded-change", risky[0].span, message, hint)
