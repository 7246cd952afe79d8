"""Metrics of batches: how they ended, what waits, and what is being answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge

Look: TypeAlias = Callable[[], tuple[int, int]]
"""Returns the number of batches that are not over, and that of the lines that this process has under way."""

_ENDINGS: Final = ("completed", "failed", "expired", "cancelled")


class BatchCounters:
    """Counts the batches that this process has ended, and shows what waits for any process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ended = Counter("ostiary_batches", "Batches, by their end.", ["ending"], registry=registry)
        self._ended = {ending: ended.labels(ending) for ending in _ENDINGS}
        self._waiting = Gauge(
            "ostiary_batches_waiting", "Batches that are not over.", registry=registry, multiprocess_mode="livemax"
        )
        self._lines = Gauge(
            "ostiary_batch_lines_in_progress",
            "Lines of batches that are being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._look: Look | None = None

    def watch(self, look: Look) -> None:
        """Show what `look` returns from now on."""
        self._look = look

    def ended(self, ending: str) -> None:
        """Count a batch that is over."""
        self._ended[ending].inc()

    def sample(self) -> None:
        """Update the gauges."""
        if self._look is not None:
            waiting, lines = self._look()
            self._waiting.set(waiting)
            self._lines.set(lines)
