"""The policy parser: the nodes of a file become the rules of both policies, or diagnostics."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as Environ
from difflib import SequenceMatcher
from functools import cache
from importlib.resources import files
from typing import Final

from policy.authentication import OLD_KEYS, about_old_keys, guardrails, is_configured, lenient_patterns
from policy.fields import kind_of, known_keys
from policy.issuers import read_issuers
from policy.lints import report_lints
from policy.quota_limits import read_limits
from policy.rule_parser import parse_rules
from policy.rules import AccessRule, PolicySet, RouteRule
from policy.scopes import ACCESS, ROUTES, Names, access_rule, route_rule
from policy.shields import read_shields
from policy.source.diagnostics import Findings, quoted
from policy.source.document import Mapping, Node, Scalar, parse_document
from policy.source.gc_pause import collector_at_rest
from policy.tables import read_tables

_POLICIES: Final = (ACCESS.policy, ROUTES.policy)
_AUTH_KEYS: Final = ("provider_config", *_POLICIES, "guardrails", "lenient_patterns", "require")

_NO_CONFIGURATION: Final = Names()

_NEARLY: Final = 0.75
"""The similarity from which a key counts as a misspelling of another one."""


def parse_access_policy(
    node: Node, findings: Findings, lenient: bool = False, names: Names = _NO_CONFIGURATION
) -> tuple[AccessRule, ...]:
    """Return the rules of an access policy; those with an error in them are reported and left out.

    `lenient` lets a `forbid` with an invalid pattern pass with a warning. A table that `names` lacks is an error in a
    `forbid`, and a warning in a `permit`; an issuer that it lacks is an error.
    """
    return parse_rules(node, ACCESS, lambda frame, own: access_rule(frame, lenient, names, own), findings)


def parse_route_policy(
    node: Node, findings: Findings, lenient: bool = False, names: Names = _NO_CONFIGURATION
) -> tuple[RouteRule, ...]:
    """Return the rules of a route policy; those with an error in them are reported and left out.

    `lenient` lets a `forbid` with an invalid pattern pass with a warning.
    """
    return parse_rules(node, ROUTES, lambda frame, own: route_rule(frame, lenient, names, own), findings)


@cache
def default_access_policy() -> tuple[AccessRule, ...]:
    """Return the rules of the built-in `default.yaml`, which hold where a configuration has no `access_policy`."""
    text = files("policy").joinpath("default.yaml").read_text(encoding="utf-8")
    findings = Findings()
    rules = parse_access_policy(parse_document(text, "default.yaml").entries[ACCESS.policy].node, findings)
    findings.raise_errors()
    return rules


@collector_at_rest()
def read_policies(document: Mapping, environ: Environ[str, str], findings: Findings) -> PolicySet | None:
    """Return the policies under `server.auth` of a whole configuration; None after an error, which goes to
    `findings`.
    """
    own = Findings()
    auth = _auth_section(document, own)
    authentication = is_configured(auth, environ, own)
    lenient = lenient_patterns(auth, environ, own)
    tables, issuers = read_tables(document, environ, own), read_issuers(auth, environ)
    names = Names(tables, issuers, read_shields(document, environ))
    access, routes = (auth.entries.get(policy) for policy in _POLICIES)
    policies = PolicySet(
        authentication=authentication,
        access_name=ACCESS.policy if access else "default_policy",
        access=parse_access_policy(access.node, own, lenient, names) if access else default_access_policy(),
        routes=parse_route_policy(routes.node, own, lenient, names) if routes else None,
        guardrails=guardrails(auth, own),
        limits=read_limits(_section(document, "server", Findings()), own),
        tables=names.tables,
        issuers=names.issuers,
    )
    if not authentication:
        _report_idle_shields(policies.access, own)
    if not own.has_errors:
        report_lints(policies, auth, document, environ, own)
    findings.extend(own)
    return None if own.has_errors else policies


def _report_idle_shields(rules: Collection[AccessRule], findings: Findings) -> None:
    """Report access rules that require shields where no access rule is asked about anything."""
    for rule in rules:
        if rule.shields:
            message = "this rule requires shields, and without authentication no access rule holds"
            findings.error("idle-shields", rule.span, message, "configure authentication, or write a route rule")


def _auth_section(document: Mapping, findings: Findings) -> Mapping:
    """Return the mapping `server.auth`, empty where the file has none; report policies in another place."""
    _report_misplaced(document, ("auth", *_POLICIES), findings)
    _report_misspelt(document, "server", "the configuration", findings)
    server = _section(document, "server", findings)
    _report_misplaced(server, _POLICIES, findings)
    _report_misspelt(server, "auth", "`server`", findings)
    auth = _section(server, "auth", findings)
    known_keys(auth, (*_AUTH_KEYS, *OLD_KEYS), "`server.auth`", findings)
    if old := [key for key in auth.entries if key in OLD_KEYS]:
        findings.error("misplaced-key", auth.entries[old[0]].key_span, *about_old_keys(old))
    provider = auth.entries.get("provider_config")
    if provider is not None and isinstance(provider.node, Mapping):
        _report_misplaced(provider.node, _POLICIES, findings)
    return auth


def _section(parent: Mapping, key: str, findings: Findings) -> Mapping:
    entry = parent.entries.get(key)
    if entry is not None and isinstance(entry.node, Mapping):
        return entry.node
    if entry is not None and not (isinstance(entry.node, Scalar) and entry.node.value is None):
        findings.error("not-a-mapping", entry.node.span, f"`{key}` takes a mapping, not {kind_of(entry.node)}")
    return Mapping({}, parent.span)


def _report_misplaced(mapping: Mapping, keys: Collection[str], findings: Findings) -> None:
    for key in keys:
        if key in mapping.entries:
            home = "server" if key == "auth" else "server.auth"
            message = f"`{key}` has no effect here: it belongs under `{home}`"
            findings.error("misplaced-key", mapping.entries[key].key_span, message, "move it there")


def _report_misspelt(mapping: Mapping, key: str, place: str, findings: Findings) -> None:
    """Report a key that is nearly `key`, where that is missing: the policies below it would count as not written."""
    if key in mapping.entries:
        return
    for written, entry in mapping.entries.items():
        if SequenceMatcher(None, key, written.lower()).ratio() >= _NEARLY:
            message = f"{quoted(written)} is not a key of {place}"
            findings.error("unknown-key", entry.key_span, message, f"did you mean `{key}`?")
