"""Vector stores as records: the stores themselves, the links to their files, and the batches of these."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from json import dumps
from typing import Final

from policy.vocabulary import Action
from server.api.models.catalogue import DefinedByConfiguration
from server.api.vector_stores.links import FILE_ID, Link, Status
from server.api.vector_stores.store_record import StoreExpired, has_expired, modern
from server.authz.permit import Permit
from server.authz.request_authorization import Gate
from server.storage.database.database import Overtaken, Step
from server.storage.records.body import Body
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.record import Json, Record
from server.storage.records.table import RecordTable

LINK_SUMS: Final = "links"
"""The series of migrations of the table of the links' sums."""

LARGEST_READ: Final = 500
"""Links that one statement reads with their bodies."""

_DOCUMENT: Final = "document"
"""The state under which the sums have texts without files."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The number of files of a store or a batch by their states, and the bytes that their chunks take."""

    counts: Mapping[Status, int] = field(default_factory=dict)
    bytes: int = 0

    @property
    def total(self) -> int:
        """The number of all files."""
        return sum(self.counts.values())


class VectorStores:
    """`records` are the stores as callers see them. `links` and `batches` belong to them and have no rules of their
    own: a caller gets them only after a permit for the store, and for the file of a link. `sums` is the name of the
    table of the links' sums, and `configured` holds the ids of stores that the configuration has.

    Besides what they name, the methods raise what `records` raises.
    """

    def __init__(
        self,
        records: GuardedStore,
        links: RecordTable,
        batches: RecordTable,
        sums: str,
        configured: Container[str] = (),
    ) -> None:
        self.records = records
        self.links = links
        self.batches = batches
        self._configured = configured
        self._stores = RecordTable(links.database, records.table)
        self._batch_sums = _BATCH_SUMS[links.database.kind].format(links.name, batches.name)
        self._sums = (
            f'SELECT store, state, links, bytes FROM "{sums}" '  # noqa: S608 - a checked name
            f"WHERE store IN {links.database.dialect.elements.format(links.database.dialect.parameter.format(1))}"
        )
        self._chunks = f'SELECT CAST(COALESCE(sum(chunks), 0) AS bigint) FROM "{sums}" WHERE store = ?1'  # noqa: S608 - as above

    async def readable(self, gate: Gate, identity: str) -> Record:
        """Return the store; raises NotFound."""
        return modern(await self.records.get(gate, identity))

    async def changeable(self, gate: Gate, identity: str) -> tuple[Record, Permit]:
        """Return a store that the caller may read and update, with the permit; raises NotFound, and AccessDenied where
        it may be read.
        """
        record, permit = await self.records.permitted(gate, identity, Action.UPDATE)
        return modern(record), permit

    async def fillable(self, gate: Gate, identity: str) -> tuple[Record, Permit]:
        """Return what `changeable` returns, for a change that shows nothing of the store: `update` is enough."""
        record, permit = await self.records.permitted(gate, identity, Action.UPDATE, shown=False)
        return modern(record), permit

    async def delete(self, gate: Gate, identity: str, beside: Callable[[Record], Sequence[Step]]) -> Record:
        """Return the deleted store, in one transaction with the steps that `beside` returns for it.

        Raises NotFound, AccessDenied where it may be read, and DefinedByConfiguration.
        """
        if identity in self._configured:
            await self.records.permit_unseen(gate, identity, Action.DELETE)
            raise DefinedByConfiguration
        return modern(await self.records.delete(gate, identity, beside=lambda record: beside(modern(record))))

    async def find(self, identity: str) -> Record | None:
        """Return the store, for the server's own work: no policy is asked."""
        found = await self._stores.chosen("id = ?1 AND expires_at IS NULL", identity, limit=1)
        return modern(found[0].record) if found else None

    async def from_configuration(self, limit: int) -> dict[str, Record]:
        """Return the stores that a configuration has made, by their ids."""
        found = await self._stores.chosen("origin = 'config' AND expires_at IS NULL", limit=limit)
        return {stored.id: modern(stored.record) for stored in found}

    async def insert(self, record: Record) -> None:
        """Insert the record of a store that no caller makes; raises AlreadyThere."""
        await self.links.database.write(self._stores.inserting(record))

    async def use(self, store: Record) -> None:
        """Note that a store is in use, which postpones its end; raises StoreExpired."""
        if has_expired(store):
            raise StoreExpired(store.id)
        now = int(time.time())
        if store.body["last_active_at"] < now:
            body = {**store.body, "last_active_at": now}
            # Another request that overtakes this one notes the same, or changes the end.
            with suppress(Overtaken):
                await self.links.database.write(self._stores.changing(store, body, store.facet, store.expires_at))

    async def filled_with(self, store: Record, dimensions: int, made_by: str | None) -> Record:
        """Return the store, whose vectors have that many dimensions and are made by the model of that fingerprint from
        now on, unless it has others already; None says nothing of the model.

        Raises NotFound.
        """
        first = {"dimensions": dimensions, "made_by": made_by}
        while any(value is not None and store.body.get(member) is None for member, value in first.items()):
            kept = {member: value for member, value in store.body.items() if value is not None}
            body = {**store.body, **first, **kept}
            with suppress(Overtaken):
                await self.links.database.write(self._stores.changing(store, body, store.facet, store.expires_at))
            found = await self.find(store.id)
            if found is None or found.ordering != store.ordering:
                raise NotFound(store.id)
            store = found
        return store

    async def chunks_of(self, store: Record) -> int:
        """Return the number of chunks of a store."""
        [(count,)] = await self.links.database.read(self._chunks, store.id)
        return int(count)

    async def sums(self, stores: Iterable[str]) -> dict[str, Sums]:
        """Return the sums of the files of each of these stores."""
        wanted = [*stores]
        rows = await self.links.database.read(self._sums, dumps(wanted)) if wanted else []
        found: dict[str, tuple[dict[Status, int], int]] = {identity: ({}, 0) for identity in wanted}
        for store, state, links, size in rows:
            counts, before = found[store]
            if state != _DOCUMENT:
                counts[Status(state)] = links
            found[store] = (counts, before + size)
        return {identity: Sums(counts, size) for identity, (counts, size) in found.items()}

    async def batch(self, store_id: str, identity: str) -> Record:
        """Return a batch of a store; raises NotFound."""
        found = await self.batches.chosen("id = ?1 AND parent = ?2", identity, store_id, limit=1)
        if not found:
            raise NotFound(identity)
        return found[0].record

    async def batch_sums(self, batch: Record) -> Sums:
        """Return the sums of those files of a batch that are still attached."""
        rows = await self.links.database.read(self._batch_sums, batch.id)
        return Sums({Status(status): count for status, count in rows})

    async def links_by_id(self, identities: Sequence[str]) -> dict[str, Link]:
        """Return the links of those of these records that exist, by their ids."""
        found = await self.links.find_all(identities)
        whole = await self.links.whole([stored.record for stored in found])
        return {record.id: Link(record) for record in whole}

    async def link(self, identity: str) -> Link | None:
        """Return the link of that record; None if there is none."""
        found = await self.links.chosen("id = ?1", identity, limit=1)
        return Link(found[0].record) if found else None

    async def links_of(
        self, store_id: str, *, status: Status, after: Link | None = None, limit: int = LARGEST_READ
    ) -> list[Link]:
        """Return links of a store in that state, oldest first, those behind `after`."""
        where, values = "parent = ?1 AND facet = ?2", [store_id, status.value]
        place = (0, "") if after is None else (after.record.ordering, after.id)
        found = await self.links.chosen(
            f"{where} AND ordering >= ?3 AND (ordering, id) > (?3, ?4)", *values, *place, limit=min(limit, LARGEST_READ)
        )
        return [Link(stored.record) for stored in found]

    async def links_to(self, file_id: str, *, after: Link | None = None, limit: int = LARGEST_READ) -> list[Link]:
        """Return links of all stores to a file, oldest first, those behind `after`."""
        place = (0, "") if after is None else (after.record.ordering, after.id)
        found = await self.links.chosen(
            f"{FILE_ID[self.links.database.kind]} = ?1 AND ordering >= ?2 AND (ordering, id) > (?2, ?3)",
            file_id,
            *place,
            limit=min(limit, LARGEST_READ),
        )
        return [Link(stored.record) for stored in found]

    async def to_completed(
        self, link: Link, part: int, chunks: int, usage_bytes: int, beside: Sequence[Step] = ()
    ) -> Link:
        """Note that the ingestion of a link has succeeded, in one transaction with `beside`; raises Overtaken."""
        members = {"part": part, "chunks": chunks, "bytes": usage_bytes, "last_error": None}
        return await self.changed(link, Status.COMPLETED, members, beside)

    async def to_failed(self, link: Link, code: str, message: str, beside: Sequence[Step] = ()) -> Link:
        """Note that the ingestion of a link has failed, in one transaction with `beside`; raises Overtaken."""
        members = {"chunks": 0, "bytes": 0, "last_error": {"code": code, "message": message}}
        return await self.changed(link, Status.FAILED, members, beside)

    async def to_cancelled(self, link: Link, beside: Sequence[Step] = ()) -> Link:
        """Note that the ingestion of a link is over before its end, as `to_failed`."""
        return await self.changed(link, Status.CANCELLED, {"chunks": 0, "bytes": 0}, beside)

    async def changed(self, link: Link, status: Status, members: Json, beside: Sequence[Step] = ()) -> Link:
        """Store the next version of a link in one transaction with `beside`; raises Overtaken if it is not the version
        that was read.
        """
        record = link.record
        body = Body.of({**record.body, **members})
        await self.links.database.write(self.links.changing(record, body, status.value, None), *beside)
        return Link(replace(record, body=body, facet=status.value, version=record.version + 1))

    async def refreshed(self, link: Link) -> Link:
        """Return the present version of a link; raises NotFound if it is gone, also where a new one has its id."""
        found = await self.link(link.id)
        if found is None or found.record.ordering != link.record.ordering:
            raise NotFound(link.file_id)
        return found


_BATCH_SUMS: Final = {
    "sqlite": 'SELECT facet, count(*) FROM "{0}" WHERE id IN (SELECT file.value FROM "{1}" AS batch, '
    "json_each(batch.body, '$.files') AS file WHERE batch.id = ?1) GROUP BY facet",
    "postgresql": 'SELECT facet, count(*) FROM "{0}" WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text('
    "CAST(batch.body AS jsonb) -> 'files') FROM \"{1}\" AS batch WHERE batch.id = ?1)) GROUP BY facet",
}
