"""Lints of guardrails: attributes that hand-written Rego asks for and that no claim becomes."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Environ

from policy.claims import read_claims
from policy.source.diagnostics import Findings, Span, did_you_mean, quoted
from policy.source.document import Mapping


def report_attributes_of_guardrails(
    asked: Iterable[tuple[str, Span]], document: Mapping, environ: Environ[str, str], findings: Findings
) -> None:
    """Warn of each attribute in guardrails that no claim becomes, at its first use."""
    auth = document
    for key in ("server", "auth"):
        entry = auth.entries.get(key)
        if entry is None or not isinstance(entry.node, Mapping):
            return
        auth = entry.node
    claims = read_claims(auth, environ)
    if claims is None:
        return
    told = set(claims.attributes)
    for attribute, span in sorted(asked, key=lambda one: one[1]):
        if attribute not in told:
            told.add(attribute)
            message = f"no caller has the attribute {quoted(attribute)}, because no claim of a token becomes it"
            findings.warning("unknown-attribute", span, message, did_you_mean(attribute, claims.attributes))
