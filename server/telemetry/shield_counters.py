"""Metrics of shields: what came of their checks."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class ShieldCounters:
    """Counts checks by shield, direction and outcome; the names come from the configuration, so they are few."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._checks = Counter(
            "ostiary_shield_checks",
            "Checks of texts by shields, by what came of them.",
            ["shield", "direction", "outcome"],
            registry=registry,
        )

    def checked(self, shield: str, direction: str, outcome: str) -> None:
        """Count a check."""
        self._checks.labels(shield, str(direction), outcome).inc()
