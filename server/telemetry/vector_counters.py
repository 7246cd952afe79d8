"""Metrics of vector stores: what was ingested, what waits, and what is still to be purged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge

Waiting: TypeAlias = Callable[[], tuple[int, int]]
"""Returns the number of files that wait, and the age of the oldest chunk to be purged, in seconds."""

_ENDINGS: Final = ("completed", "failed")


class VectorCounters:
    """Counts the files that this process has ingested, and shows what waits for any process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        files = Counter(
            "ostiary_vector_files_ingested",
            "Files that were to be ingested, by their end.",
            ["ending"],
            registry=registry,
        )
        self._files = {ending: files.labels(ending) for ending in _ENDINGS}
        self._chunks = Counter("ostiary_vector_chunks_ingested", "Chunks of ingested files.", registry=registry)
        self._purged = Counter("ostiary_vector_purges", "Parts of vector stores that were purged.", registry=registry)
        self._waiting = Gauge(
            "ostiary_vector_files_waiting",
            "Files that are attached to vector stores and not ingested yet.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._age = Gauge(
            "ostiary_vector_purge_age_seconds",
            "Age of the oldest deletion whose bytes are still in an index.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._look: Waiting | None = None

    def watch(self, look: Waiting) -> None:
        """Show what `look` returns from now on."""
        self._look = look

    def ingested(self, ending: str, chunks: int) -> None:
        """Count a file whose ingestion has ended."""
        self._files[ending].inc()
        self._chunks.inc(chunks)

    def purged(self, parts: int) -> None:
        """Count parts whose bytes are gone."""
        self._purged.inc(parts)

    def sample(self) -> None:
        """Update the gauges."""
        if self._look is not None:
            waiting, age = self._look()
            self._waiting.set(waiting)
            self._age.set(age)
