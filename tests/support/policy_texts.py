"""Short ways from the text of a policy to its rules and diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent, indent

from policy.parser import read_policies
from policy.rules import AccessRule, PolicySet, RouteRule
from policy.source.diagnostics import Diagnostic, Findings
from policy.source.document import parse_document

NAME = "config.yaml"


def read(text: str, environ: Mapping[str, str] | None = None) -> tuple[PolicySet | None, list[Diagnostic]]:
    """The policies of a whole configuration and everything that was found."""
    findings = Findings()
    policies = read_policies(parse_document(dedent(text), NAME), environ or {}, findings)
    return policies, findings.diagnostics


def read_auth(auth: str, environ: Mapping[str, str] | None = None) -> tuple[PolicySet | None, list[Diagnostic]]:
    """The same for what stands under `server.auth`."""
    return read("server:\n  auth:\n" + indent(dedent(auth).strip("\n"), "    ") + "\n", environ)


def access_rules(rules: str) -> tuple[tuple[AccessRule, ...], list[Diagnostic]]:
    """The rules of an access policy that holds no error, and the warnings."""
    policies, found = read_auth("access_policy:\n" + indent(dedent(rules).strip("\n"), "  "))
    assert policies is not None, found
    return policies.access, found


def route_rules(rules: str) -> tuple[tuple[RouteRule, ...], list[Diagnostic]]:
    """The rules of a route policy that holds no error, and the warnings."""
    policies, found = read_auth("route_policy:\n" + indent(dedent(rules).strip("\n"), "  "))
    assert policies is not None, found
    assert policies.routes is not None
    return policies.routes, found


def codes(found: list[Diagnostic]) -> list[str]:
    """The codes of diagnostics, in the order of their places."""
    return [one.code for one in sorted(found, key=lambda one: (one.span, one.message))]
