"""Lints of conditions about callers: attributes that no claim becomes, principals that any issuer can supply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from policy.claims import Claims, ClaimsMapping
from policy.issuers import Issuers
from policy.lints.places import Places
from policy.rules import AccessRule, Condition, HasValue, RouteRule, SharesWithOwner
from policy.source.diagnostics import Findings, did_you_mean, quoted
from policy.source.document import Mapping, Scalar
from policy.source.environment import has_expression

Written: TypeAlias = Sequence[tuple[AccessRule | RouteRule, Places]]
"""Every rule of the file, with the places of its policy."""

_ROLES = "roles"


def report_unknown_attributes(written: Written, claims: Claims | None, findings: Findings) -> set[str]:
    """Warn of each attribute in a condition that no claim becomes, at its first use; return these attributes.

    `claims` is None where callers may have any attribute.
    """
    if claims is None:
        return set()
    of_any = claims.attributes_of(None)
    told: set[tuple[str | None, str]] = set()
    for rule, _, condition, scalar in conditions_of(written):
        if not isinstance(condition, HasValue | SharesWithOwner):
            continue
        attribute, issuer = condition.attribute, rule.issuer if isinstance(rule, AccessRule) else None
        known = of_any if issuer is None else claims.attributes_of(issuer)
        if attribute not in of_any:
            issuer = None
        if attribute in known or (issuer, attribute) in told:
            continue
        told.add((issuer, attribute))
        caller = "caller" if issuer is None else f"caller of {quoted(issuer)}"
        message = f"no {caller} has the attribute {quoted(attribute)}, because no claim of a token becomes it"
        near = did_you_mean(attribute, known)
        link = " if not, " if near.endswith("?") else ", or " if near else ""
        hint = f"{near}{link}map a claim to it in `claims_mapping`"
        findings.warning("unknown-attribute", scalar.span, message, hint)
    return {attribute for _, attribute in told}


def report_unknown_sharer(document: Mapping, claims: Claims | None, findings: Findings) -> None:
    """Warn of a `server.fairness.by` that no claim becomes: with it, every caller would have shares of its own."""
    section = document
    for key in ("server", "fairness"):
        entry = section.entries.get(key)
        if entry is None or not isinstance(entry.node, Mapping):
            return
        section = entry.node
    by = section.entries.get("by")
    if claims is None or by is None or not isinstance(by.node, Scalar) or has_expression(by.node.text):
        return
    attribute, known = by.node.text, claims.attributes_of(None)
    if attribute not in known:
        message = f"no caller has the attribute {quoted(attribute)}, so each has shares of its own"
        findings.warning("unknown-attribute", by.node.span, message, did_you_mean(attribute, known))


def report_principals_of_any_issuer(
    rules: Sequence[AccessRule], issuers: Issuers, places: Places, findings: Findings
) -> None:
    """Warn once of a principal in a rule while the `iss` of tokens isn't checked."""
    if not issuers.uncertain or issuers.unresolved:
        return
    for rule in rules:
        for scalar in places.scope(rule, "principal"):
            message = f"{quoted(scalar.text)} may come from any issuer, because tokens are compared with none"
            findings.warning("any-issuer", scalar.span, message, "set `issuer` in `provider_config`")
            return


def report_subject_as_role(written: Written, claims: Claims | None, findings: Findings) -> None:
    """Warn once if a caller gets its own id as a role, and rules ask for roles."""
    if claims is None or claims.subject is None:
        return
    mapping = next((found for found in claims.mappings if (claims.subject, _ROLES) in found.pairs), None)
    if mapping is None:
        return
    for rule, places, condition, _ in conditions_of(written):
        if isinstance(condition, HasValue) and condition.attribute == _ROLES:
            name = quoted(condition.value)
            message = (
                f"the claim `{claims.subject}` becomes a role, so a caller named {name} holds the role {name}, "
                f"which {places.named(rule)} asks for"
            )
            hint = f"write {_without_subject(mapping, claims.subject)}"
            findings.warning("subject-is-role", mapping.span, message, hint)
            return


def _without_subject(mapping: ClaimsMapping, subject: str) -> str:
    if mapping.is_default:
        others = ", ".join(f"{claim}: {name}" for claim, name in mapping.pairs if claim != subject)
        return f"`claims_mapping: {{{others}}}`"
    return f"`{subject}: subjects`, and ask for `user with NAME in subjects` where a caller is meant"


def conditions_of(written: Written) -> Iterator[tuple[AccessRule | RouteRule, Places, Condition, Scalar]]:
    """Yield every condition with its rule, the places of the policy, and its own place."""
    for rule, places in written:
        conditions = rule.conditions.conditions if rule.conditions else ()
        for condition, scalar in zip(conditions, places.conditions(rule), strict=True):
            yield rule, places, condition, scalar
