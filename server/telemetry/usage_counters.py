"""Metrics of the usage of models, by provider and model; who used them is in no metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter

_PARTS: Final = ("prompt", "completion", "cached", "total")


class Used(Protocol):
    """Counts that only grow."""

    requests: int
    failed: int
    cancelled: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    total_tokens: int


class UsageCounters:
    """Follows counts that are kept elsewhere, since a request has no time for metrics of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ostiary_model_requests",
            "Requests for which a model was asked, by their end.",
            ["provider", "model", "ending"],
            registry=registry,
        )
        self._tokens = Counter(
            "ostiary_model_tokens",
            "Tokens of requests to models: as budgets charge them (total), and as providers report them.",
            ["provider", "model", "kind"],
            registry=registry,
        )
        self._reached: dict[tuple[Counter, tuple[str, ...]], int] = {}

    def sample(self, totals: Mapping[tuple[str, str], Used]) -> None:
        """Bring the metrics up to these counts by provider and model."""
        for model, used in [*totals.items()]:
            failed, cancelled = used.failed, used.cancelled
            ended = {"failed": failed, "cancelled": cancelled, "answered": used.requests - failed - cancelled}
            for ending, count in ended.items():
                self._reach(self._requests, (*model, ending), count)
            for kind in _PARTS:
                self._reach(self._tokens, (*model, kind), getattr(used, f"{kind}_tokens"))

    def _reach(self, counter: Counter, labels: tuple[str, ...], total: int) -> None:
        before = self._reached.get((counter, labels), 0)
        child = counter.labels(*labels)
        if total > before:
            child.inc(total - before)
            self._reached[counter, labels] = total
