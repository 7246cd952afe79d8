"""Building of what works on vector stores: searches, ingestion and purges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue
from server.api.models.embedding import Embedder
from server.api.vector_stores.filling import Filling
from server.api.vector_stores.findable import Findable
from server.api.vector_stores.ingestion import Ingestion
from server.api.vector_stores.purging import PurgeSweeper
from server.api.vector_stores.search import Search
from server.extraction.extractor import Extractor
from server.extraction.pieces import Unreadable
from server.http.deferred import DeferredRequests
from server.storage.records.record import Record
from server.storage.vectors.index import IndexUnavailable, VectorIndex
from server.telemetry.dependencies import Dependencies, Dependency
from server.telemetry.metrics import Metrics
from server.wiring.stores import Stores
from server.wiring.vectors import VectorIndexes

_LOOK_SECONDS = 600.0


class VectorWork:
    """All that works on the vector stores of `stores`, in the indexes of `vectors`; nothing where there are none."""

    def __init__(
        self,
        stores: Stores,
        vectors: VectorIndexes,
        asking: Asking,
        catalogue: Catalogue,
        deferred: DeferredRequests,
        dependencies: Dependencies,
        metrics: Metrics,
    ) -> None:
        """The reading of files is one of the `dependencies`."""
        self._vectors = vectors
        self._extractor = Extractor()
        self.embedder = Embedder(asking, catalogue)
        self.findable = Findable(stores.vector_stores, stores.files)
        self.search = Search(stores.vector_stores, self.findable, self.embedder, self.index_of)
        filling = Filling(stores.vector_stores, stores.file_store, self.embedder, self._extractor, self.index_of)
        counters = metrics.vectors
        self._ingestion = Ingestion(stores.vector_stores, stores.ingestion, filling, deferred, counters.ingested)
        self._purging = PurgeSweeper(
            stores.vector_stores, stores.ingestion, stores.file_table, self._index, counters.purged
        )
        if vectors.ids:
            counters.watch(lambda: (self._ingestion.waiting, self._purging.oldest))
            reading = dependencies.add(Dependency("extraction", self._probe, every=_LOOK_SECONDS))
            reading.strain = self._strain

    def index_of(self, store: Record) -> VectorIndex:
        """Return the index of a store; raise IndexUnavailable where its provider isn't configured."""
        return self._index(store.body["provider_id"])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ingest and purge for as long as the context lasts."""
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self._extractor.close)
            if self._vectors.ids:
                await opened.enter_async_context(self._purging.running())
                await opened.enter_async_context(self._ingestion.running())
            yield

    def _index(self, provider_id: str | None) -> VectorIndex:
        name = provider_id if provider_id is not None else self._vectors.default
        index = None if name is None else self._vectors.of(name)
        if index is None:
            what = "no index of vector stores" if name is None else f"no index `{name}`"
            raise IndexUnavailable(f"{what} is configured; configure it in `providers.vector_io`")
        return index

    async def _probe(self) -> str | None:
        """Return why no file can be read; None where files can be."""
        try:
            await self._extractor.check()
        except Unreadable as fault:
            return fault.message
        return None

    def _strain(self) -> str | None:
        """Return what the process that reads files could reach; None where it can reach nothing."""
        reachable = self._extractor.reachable
        return f"unsandboxed: the process that reads files can reach {', '.join(reachable)}" if reachable else None
