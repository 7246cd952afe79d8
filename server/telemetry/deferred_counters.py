"""Metrics of work that callers don't wait for: how it ended, what waits, and what is under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge

Look: TypeAlias = Callable[[], tuple[int, int]]
"""Returns the numbers of the two gauges: of all work that is not over, and of what this process has under way."""

Named: TypeAlias = tuple[str, str]
"""The name of a metric, and its description."""


class DeferredCounters:
    """Counts the work that this process has ended, and shows what waits for any process."""

    def __init__(
        self, registry: CollectorRegistry, ended: Named, endings: Sequence[str], waiting: Named, under_way: Named
    ) -> None:
        counter = Counter(*ended, ["ending"], registry=registry)
        self._ended = {ending: counter.labels(ending) for ending in endings}
        self._waiting = Gauge(*waiting, registry=registry, multiprocess_mode="livemax")
        self._under_way = Gauge(*under_way, registry=registry, multiprocess_mode="livesum")
        self._look: Look | None = None

    @classmethod
    def of_responses(cls, registry: CollectorRegistry) -> DeferredCounters:
        """Return the metrics of responses in the background."""
        return cls(
            registry,
            ("ostiary_background_responses", "Responses that were answered in the background, by their end."),
            ("completed", "failed", "incomplete"),
            ("ostiary_background_responses_waiting", "Responses in the background that are not over."),
            ("ostiary_background_responses_in_progress", "Responses that are being answered in the background."),
        )

    @classmethod
    def of_batches(cls, registry: CollectorRegistry) -> DeferredCounters:
        """Return the metrics of batches."""
        return cls(
            registry,
            ("ostiary_batches", "Batches, by their end."),
            ("completed", "failed", "expired", "cancelled"),
            ("ostiary_batches_waiting", "Batches that are not over."),
            ("ostiary_batch_lines_in_progress", "Lines of batches that are being answered."),
        )

    def watch(self, look: Look) -> None:
        """Show what `look` returns from now on."""
        self._look = look

    def ended(self, ending: str) -> None:
        """Count work that is over."""
        self._ended[ending].inc()

    def sample(self) -> None:
        """Update the gauges."""
        if self._look is not None:
            waiting, under_way = self._look()
            self._waiting.set(waiting)
            self._under_way.set(under_way)
