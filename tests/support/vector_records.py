"""Vector stores as records, with their links, their work and their notes, in a database of a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from policy.vocabulary import Principal
from server.api.vector_stores.links import Link, NewLink
from server.api.vector_stores.purges import PurgeNotes
from server.api.vector_stores.queue import IngestionQueue
from server.api.vector_stores.store import LINK_SUMS, VectorStores
from server.api.vector_stores.store_record import NewStore
from server.api.vector_stores.work import WorkQueue
from server.storage.database.counting import LINKS, UNCOUNTED
from server.storage.database.database import Database
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.guarded import GuardedStore
from server.storage.records.record import Draft, Record
from server.storage.records.removal import Removals
from server.storage.records.table import RecordTable


@dataclass(frozen=True)
class VectorRecords:
    """The tables of one database."""

    stores: VectorStores
    queue: IngestionQueue
    removals: Removals

    async def new_store(self, identity: str, owner: Principal | None = None, **members: Any) -> Record:
        """A store; `members` are those of a `NewStore`."""
        table = RecordTable(self.stores.links.database, self.stores.records.table)
        record = Draft(identity, NewStore(**{"embedding_model": "words", **members}).body()).owned_by(owner)
        await table.database.write(table.inserting(record))
        return record

    async def attach(self, store: Record, new: NewLink, owner: Principal | None = None) -> Link:
        """A link that waits to be ingested."""
        record = new.draft(store).owned_by(owner)
        links = self.stores.links
        await links.database.write(links.inserting(record), *self.queue.entering(store, record))
        return Link(record)

    async def detach(self, store: Record, link: Link) -> None:
        """Remove a link."""
        links = self.stores.links
        await links.database.write(links.removing_this(link.record), *self.queue.leaving(store, link))


async def vector_records(database: Database) -> VectorRecords:
    """The tables, made where they are missing."""
    await bring_up_to_date(database, "stores")
    await bring_up_to_date(database, "links", "stores", LINKS)
    await bring_up_to_date(database, "batches", "stores")
    await bring_up_to_date(database, "sums", "links", series=LINK_SUMS)
    await bring_up_to_date(database, "work", "links", UNCOUNTED)
    await bring_up_to_date(database, "purges", counting=UNCOUNTED)
    stores, links, batches = (RecordTable(database, name) for name in ("stores", "links", "batches"))
    removals = Removals(stores, links, batches)
    guarded = GuardedStore(stores, "vector_store", removals=removals)
    notes = PurgeNotes(RecordTable(database, "purges"))
    queue = IngestionQueue(WorkQueue(RecordTable(database, "work"), notes), notes)
    return VectorRecords(VectorStores(guarded, links, batches, "sums"), queue, removals)
