"""Where the attributes of callers come from: which claim of a token becomes which attribute."""

from __future__ import annotations

from collections.abc import Mapping as TextMapping
from dataclasses import dataclass
from typing import Final

from policy.diagnostics import Span
from policy.document import Mapping, Node, Scalar
from policy.environment import has_expression, substitute

DEFAULT_CLAIMS: Final[TextMapping[str, str]] = {
    "sub": "roles",
    "roles": "roles",
    "groups": "teams",
    "teams": "teams",
    "projects": "projects",
    "namespaces": "namespaces",
}
"""Claim → attribute, where the configuration has no mapping of its own; one that it has replaces this as a whole."""

_SUBJECT_CLAIMS: Final[TextMapping[str, str]] = {"oauth2_token": "sub", "kubernetes": "username"}
"""The claim that names the caller, by the type of provider."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the configuration says about claims.

    `mapping` is the one in force; `span` is where it stands, or else where the provider does. `subject` is the claim
    that names the caller, None where no claim does.
    """

    mapping: TextMapping[str, str]
    is_default: bool
    subject: str | None
    span: Span

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes that a caller can have, each once."""
        return tuple(dict.fromkeys(self.mapping.values()))


def read_claims(auth: Mapping, environ: TextMapping[str, str]) -> Claims | None:
    """The claims under `server.auth`; None where they can't be told, because they vary or are malformed."""
    entry = auth.entries.get("provider_config")
    if entry is None or not isinstance(entry.node, Mapping):
        return Claims(DEFAULT_CLAIMS, True, None, auth.span)
    provider = entry.node
    kind = provider.entries.get("type")
    subject = _SUBJECT_CLAIMS.get(_text(kind.node, environ) or "") if kind else None
    written = provider.entries.get("claims_mapping")
    if written is None or (isinstance(written.node, Scalar) and written.node.value is None):
        return Claims(DEFAULT_CLAIMS, True, subject, entry.key_span)
    if not isinstance(written.node, Mapping):
        return None
    mapping: dict[str, str] = {}
    for claim, target in written.node.entries.items():
        if not isinstance(target.node, Scalar) or has_expression(target.node.text):
            return None
        mapping[claim] = target.node.text
    return Claims(mapping, False, subject, written.key_span)


def _text(node: Node, environ: TextMapping[str, str]) -> str | None:
    if not isinstance(node, Scalar):
        return None
    try:
        found = substitute(node.text, environ)
    except ValueError:  # reported by whoever reads the provider
        return None
    return found if isinstance(found, str) else None
