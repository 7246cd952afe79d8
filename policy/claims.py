"""Claims mappings: the claim of a token that each attribute of a caller comes from."""

from __future__ import annotations

from collections.abc import Mapping as TextMapping
from dataclasses import dataclass
from typing import Final

from policy.source.diagnostics import Span
from policy.source.document import Mapping, Node, Scalar, Sequence
from policy.source.environment import has_expression, substitute

DEFAULT_CLAIMS: Final[TextMapping[str, str]] = {
    "sub": "roles",
    "roles": "roles",
    "groups": "teams",
    "teams": "teams",
    "projects": "projects",
    "namespaces": "namespaces",
}
"""Claim → attribute, where the configuration has no mapping of its own; one that it has replaces this as a whole."""

_DEFAULTS: Final[TextMapping[str, TextMapping[str, str]]] = {
    "oauth2_token": DEFAULT_CLAIMS,
    "kubernetes": {"username": "roles", "groups": "roles"},
    "github_token": {"login": "roles", "organizations": "teams"},
}
_SUBJECT_CLAIMS: Final[TextMapping[str, str]] = {
    "oauth2_token": "sub",
    "kubernetes": "username",
    "github_token": "login",
}
"""The claim that names the caller, by the type of provider."""


def default_claims(provider_type: str) -> TextMapping[str, str]:
    """Return the mapping (claim → attribute) of a provider of this type whose configuration has none."""
    return _DEFAULTS.get(provider_type, DEFAULT_CLAIMS)


def subject_claim(provider_type: str) -> str:
    """Return the claim that holds the caller's id, for a provider of this type."""
    return _SUBJECT_CLAIMS[provider_type]


@dataclass(frozen=True, slots=True)
class ClaimsMapping:
    """The mapping (claim → attribute) of one issuer; `span` is the mapping's place, or the issuer's where it has none.

    `issuer` is the name of an issuer in a list; None where it can't be determined or there is no list.
    """

    pairs: tuple[tuple[str, str], ...]
    is_default: bool
    span: Span
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that the configuration maps.

    `pairs` are (claim, attribute) over all issuers. `subject` is the claim that holds the caller's id, None if there is
    none. `mappings` holds one mapping for each issuer, in the order of the configuration.
    """

    pairs: tuple[tuple[str, str], ...]
    subject: str | None
    mappings: tuple[ClaimsMapping, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes that a caller can have, each once."""
        return tuple(dict.fromkeys(attribute for _, attribute in self.pairs))

    def attributes_of(self, issuer: str | None) -> frozenset[str]:
        """Return the attributes that callers of an issuer can have; those of all issuers where the mapping
        isn't known.
        """
        own = [mapping.pairs for mapping in self.mappings if issuer is not None and mapping.issuer == issuer]
        return frozenset(attribute for pairs in own or [self.pairs] for _, attribute in pairs)


def read_claims(auth: Mapping, environ: TextMapping[str, str]) -> Claims | None:
    """Return the claims under `server.auth`; None where they vary with the environment or are malformed."""
    entry = auth.entries.get("provider_config")
    if entry is None or not isinstance(entry.node, Mapping):
        return Claims(tuple(DEFAULT_CLAIMS.items()), None)
    provider = entry.node
    kind = provider.entries.get("type")
    name = (_text(kind.node, environ) if kind else None) or "oauth2_token"
    if name not in _DEFAULTS:
        return None  # these providers give callers attributes of any name
    found: list[ClaimsMapping] = []
    for place in _issuers(provider):
        named = place.entries.get("issuer") if place is not provider else None
        issuer = _text(named.node, environ) if named else None
        written = place.entries.get("claims_mapping")
        if written is None or (isinstance(written.node, Scalar) and written.node.value is None):
            span = entry.key_span if place is provider else place.span
            found.append(ClaimsMapping(tuple(_DEFAULTS[name].items()), True, span, issuer))
            continue
        mapping = _mapping(written.node)
        if mapping is None:
            return None
        found.append(ClaimsMapping(tuple(mapping.items()), False, written.key_span, issuer))
    pairs = tuple(dict.fromkeys(pair for mapping in found for pair in mapping.pairs))
    return Claims(pairs, _SUBJECT_CLAIMS[name], tuple(found))


def _issuers(provider: Mapping) -> list[Mapping]:
    """Return the mappings that may hold a `claims_mapping`: the provider itself, or each entry of its `issuers`."""
    listed = provider.entries.get("issuers")
    if listed is None or not isinstance(listed.node, Sequence):
        return [provider]
    return [item for item in listed.node.items if isinstance(item, Mapping)] or [provider]


def _mapping(node: Node) -> dict[str, str] | None:
    """Return the mapping as written; None where it varies with the environment or is malformed."""
    if not isinstance(node, Mapping):
        return None
    mapping: dict[str, str] = {}
    for claim, target in node.entries.items():
        if not isinstance(target.node, Scalar) or has_expression(target.node.text):
            return None
        mapping[claim] = target.node.text
    return mapping


def _text(node: Node, environ: TextMapping[str, str]) -> str | None:
    if not isinstance(node, Scalar):
        return None
    try:
        found = substitute(node.text, environ)
    except ValueError:  # reported where the provider is read
        return None
    return found if isinstance(found, str) else None
