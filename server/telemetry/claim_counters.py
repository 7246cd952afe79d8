"""Metrics of mapped claims in valid tokens."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter


class ClaimCounters:
    """Counts the claims of valid tokens (`server.authn.tally.ClaimTotals`); labels come from the configuration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._claims = Counter(
            "ostiary_token_claims",
            "Good tokens by whether they have a value for a mapped claim.",
            ["issuer", "claim", "found"],
            registry=registry,
        )
        self._bare = Counter(
            "ostiary_tokens_without_attributes",
            "Good tokens with a value for none of the mapped claims but the caller's name.",
            ["issuer"],
            registry=registry,
        )

    def expect(self, issuer: str, claims: Collection[str]) -> None:
        """Show these claims of an issuer from the start, at zero."""
        self._bare.labels(issuer)
        for claim in claims:
            self._claims.labels(issuer, claim, "yes")
            self._claims.labels(issuer, claim, "no")

    def count(self, issuer: str, claim: str, found: bool) -> None:
        """Count a valid token that has, or lacks, that claim."""
        self._claims.labels(issuer, claim, "yes" if found else "no").inc()

    def count_bare(self, issuer: str) -> None:
        """Count a valid token whose only mapped claim is that of its caller's name."""
        self._bare.labels(issuer).inc()
