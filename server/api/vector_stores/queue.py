"""The queue of ingestion, as the handlers of requests see it: the steps that their transactions need."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from server.api.vector_stores.links import Link, Status
from server.api.vector_stores.purges import Purge, PurgeNotes
from server.api.vector_stores.work import WorkQueue
from server.storage.database.database import Step
from server.storage.records.record import Record


class IngestionQueue:
    """Whatever is attached is ingested, and whatever goes is purged, by the workers and sweepers of any process.

    `woken` is set when there is something new to do.
    """

    def __init__(self, work: WorkQueue, notes: PurgeNotes) -> None:
        self.work = work
        self.notes = notes
        self.woken = asyncio.Event()
        self.purging = asyncio.Event()

    def entering(self, store: Record, link: Record) -> Sequence[Step]:
        """Return the steps of the transaction that makes a link, behind the step that inserts it."""
        return self.work.entering(store, link)

    def leaving(self, store: Record, link: Link) -> Sequence[Step]:
        """Return the steps of the transaction that removes a link."""
        # The part of an attempt under way has a note of its own.
        return self.notes.leaving(store, link) if link.status is Status.COMPLETED else ()

    def cancelling(self, link: Link) -> Sequence[Step]:
        """Return the steps of the transaction that cancels the ingestion of a link."""
        return [self.work.ending(link)]

    def dropping(self, store: Record) -> Sequence[Step]:
        """Return the steps of the transaction that removes a store."""
        return self.notes.dropping(store)

    async def purges(self, stores: Iterable[Record]) -> dict[str, Purge]:
        """Return how far the purges of these stores are, by the stores' ids."""
        return await self.notes.of(stores)

    def wake(self) -> None:
        """Have the workers of this process look for work now; others look within a second or two."""
        self.woken.set()
        self.purging.set()
