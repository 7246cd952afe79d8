"""Building of the routes of batches, and of what works on them."""

from __future__ import annotations

from server.api.batches.lines import LINES
from server.api.batches.routes import BatchRoutes
from server.api.batches.work import BatchWork
from server.api.batches.worker import AT_ONCE, FIRST, Batches
from server.api.responses.background.callers import Callers
from server.config.batches import BatchesSettings
from server.http.deferred import DeferredRequests
from server.json_input.reader import Reader
from server.telemetry.metrics import Metrics
from server.wiring.stores import Stores


class BatchServices:
    """Everything about the batches of `stores`; lines are run for callers who were there `longest` seconds ago."""

    def __init__(
        self,
        stores: Stores,
        callers: Callers,
        deferred: DeferredRequests,
        reader: Reader,
        metrics: Metrics,
        longest: int,
        settings: BatchesSettings,
    ) -> None:
        lines = settings.max_concurrent_requests_per_batch or LINES.each
        self.work = BatchWork(
            stores.batch_parts,
            stores.file_store,
            callers,
            deferred,
            reader,
            longest,
            lines,
            metrics.batches.ended,
        )
        self.worker = Batches(
            stores.batches,
            stores.batch_table,
            stores.batch_queue,
            self.work,
            settings.max_concurrent_batches or AT_ONCE,
            min(FIRST, settings.max_concurrent_batches or FIRST),
        )
        metrics.batches.watch(lambda: (self.worker.waiting, self.worker.lines))
        self.routes = BatchRoutes(
            stores.batches,
            stores.batch_table,
            stores.batch_parts,
            stores.file_store,
            stores.batch_queue,
            self.worker,
            reader,
        )
