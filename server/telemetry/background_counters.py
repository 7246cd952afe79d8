"""Metrics of responses in the background: how they ended, what waits, and what is being answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge

Look: TypeAlias = Callable[[], tuple[int, int]]
"""Returns the number of responses that wait for any process, and of those that this process answers."""

_ENDINGS: Final = ("completed", "failed", "incomplete")


class BackgroundCounters:
    """Counts the responses that this process has answered in the background, and shows what waits for any process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ended = Counter(
            "ostiary_background_responses",
            "Responses that were answered in the background, by their end.",
            ["ending"],
            registry=registry,
        )
        self._ended = {ending: ended.labels(ending) for ending in _ENDINGS}
        self._waiting = Gauge(
            "ostiary_background_responses_waiting",
            "Responses in the background that are not over.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._answering = Gauge(
            "ostiary_background_responses_in_progress",
            "Responses that are being answered in the background.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._look: Look | None = None

    def watch(self, look: Look) -> None:
        """Show what `look` returns from now on."""
        self._look = look

    def ended(self, ending: str) -> None:
        """Count a response that is over."""
        self._ended[ending].inc()

    def sample(self) -> None:
        """Update the gauges."""
        if self._look is not None:
            waiting, answering = self._look()
            self._waiting.set(waiting)
            self._answering.set(answering)
