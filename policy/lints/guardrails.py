"""Attributes that hand-written Rego asks for, held against the claims that callers come with."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Environ

from policy.claims import read_claims
from policy.source.diagnostics import Findings, Span, did_you_mean, quoted
from policy.source.document import Mapping


def report_attributes_of_guardrails(
    asked: Iterable[tuple[str, Span]], document: Mapping, environ: Environ[str, str], findings: Findings
) -> None:
    """Warn of each attribute that guardrails ask for and no claim becomes, where it is first asked for."""
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
