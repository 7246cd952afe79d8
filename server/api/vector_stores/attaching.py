"""The ways in which files get into a vector store and out of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from typing import Final

from policy.vocabulary import Principal
from server.api.vector_stores.links import MOST_LINKS, Link, NewLink, Status, link_id
from server.api.vector_stores.queue import IngestionQueue
from server.api.vector_stores.store import VectorStores
from server.authz.permit import Permit
from server.authz.request_authorization import Gate
from server.quota.storage_limit import StorageLimit, Stored
from server.storage.database.database import AlreadyThere, Overtaken, ParentGone
from server.storage.records.body import Body
from server.storage.records.guarded import Contended, GuardedStore, NotFound
from server.storage.records.record import Draft, Json, Record
from server.storage.records.usage import having_at_most

AT_ONCE: Final = 25
"""Files that are attached in one transaction."""

_TRIES: Final = 5
_OVER: Final = (Status.FAILED, Status.CANCELLED)


class NotReadable(Exception):
    """The file at `index` of those that a request names is missing, or the caller may not read it."""

    def __init__(self, index: int, identity: str) -> None:
        super().__init__(identity)
        self.index = index
        self.identity = identity


class NotServed(Exception):
    """This server has no index that files could be taken into."""


class Attaching:
    """Attaches `files` to stores, for callers who may read the files and update the store; raises NotServed unless
    vector stores are `served` here.

    Besides what they name, the methods raise what the guarded stores raise.
    """

    def __init__(self, stores: VectorStores, files: GuardedStore, ingestion: IngestionQueue, *, served: bool) -> None:
        self._stores = stores
        self._files = files
        self._ingestion = ingestion
        self._served = served

    async def check(self, gate: Gate, file_ids: Sequence[str]) -> None:
        """Raise NotReadable for the first file that the caller may not read, and NotServed."""
        if not self._served:
            raise NotServed
        readable = await self._files.readable_among(gate, file_ids)
        for index, identity in enumerate(file_ids):
            if identity not in readable:
                raise NotReadable(index, identity)

    async def attach(self, gate: Gate, store: Record, permit: Permit, new: Sequence[NewLink]) -> list[Link]:
        """Return the links to these files, which the caller may read, in their order; the caller owns the new ones.

        A file that is attached already keeps its link, unless its ingestion has failed or was cancelled: that begins
        anew. Raises StoreExpired, TooManyParts, Contended, StorageExceeded, and NotFound for a store that is gone.
        """
        await self._stores.use(store)
        found: list[Link] = []
        owner = permit.caller
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            found += await self._attach_some(store, owner, gate.storage_limit, some)
        self._ingestion.wake()
        return found

    async def _attach_some(
        self, store: Record, owner: Principal | None, limit: StorageLimit | None, new: Sequence[NewLink]
    ) -> list[Link]:
        for _ in range(_TRIES):
            there = await self._stores.links_by_id([each.id(store) for each in new])
            over = [link for link in there.values() if link.status in _OVER]
            missing = [each for each in new if _is_missing(there.get(each.id(store)))]
            if not missing:
                return [there[each.id(store)] for each in new]
            records = [each.draft(store).owned_by(owner) for each in missing]
            steps = [self._stores.records.holding(store.id)]
            for link in over:
                steps += [self._stores.links.removing_this(link.record), *self._ingestion.leaving(store, link)]
            for record in records:
                steps += [self._stores.links.inserting(record), *self._ingestion.entering(store, record)]
            steps.append(having_at_most(MOST_LINKS, self._stores.links.name, store.id))
            with suppress(AlreadyThere, Overtaken):
                try:
                    await self._stores.records.write(limit, owner, Stored(len(records), 1), *steps)
                except ParentGone:
                    raise NotFound(store.id) from None
                made = {record.id: Link(record) for record in records}
                return [made.get(each.id(store)) or there[each.id(store)] for each in new]
        raise Contended

    async def fill(self, gate: Gate, store: Record, permit: Permit, new: Sequence[NewLink]) -> None:
        """Attach the first files to a store that the same request has made, which goes again where that fails."""
        try:
            await self.attach(gate, store, permit, new)
        except BaseException:
            await self._stores.records.withdraw(store, self._ingestion.dropping(store))
            raise

    async def describe(self, gate: Gate, link: Link, attributes: Json) -> Link:
        """Return the link with these attributes in the place of its own; raises NotFound, and StorageExceeded if the
        caller's own link would grow beyond what it may keep.
        """
        for _ in range(_TRIES):
            record = link.record
            body = Body.of({**record.body, "attributes": attributes})
            more = body.size - record.body.size
            limit = gate.storage_limit_of(record.owner) if more > 0 else None
            with suppress(Overtaken):
                changing = self._stores.links.changing(record, body, record.facet, None)
                await self._stores.records.write(limit, record.owner, Stored(0, max(1, more)), changing)
                return Link(replace(record, body=body, version=record.version + 1))
            link = await self._stores.refreshed(link)
        raise Contended

    async def attach_batch(self, gate: Gate, store: Record, permit: Permit, new: Sequence[NewLink]) -> Record:
        """Return a new batch of these files, which the caller may read; raises as `attach` does."""
        await self._stores.use(store)
        batch = f"vsfb_{token_hex(24)}"
        owner = permit.caller
        body = Body.of({"files": [each.id(store) for each in new], "cancelled": False})
        record = Draft(batch, body, parent=store.id).owned_by(owner)
        # Room for all of it: what follows is done in steps.
        more = Stored(len(new) + 1, body.size)
        try:
            await self._stores.records.check_limit(gate.storage_limit, owner, more)
            await self._stores.records.write(
                gate.storage_limit,
                owner,
                more,
                self._stores.records.holding(store.id),
                self._stores.batches.inserting(record),
            )
        except ParentGone:
            raise NotFound(store.id) from None
        await self.attach(gate, store, permit, [each.of_batch(batch) for each in new])
        return record

    async def cancel(self, batch: Record) -> Record:
        """Return the batch after those of its files whose ingestion was under way have been cancelled."""
        for _ in range(_TRIES):
            if batch.body["cancelled"]:
                break
            body = Body.of({**batch.body, "cancelled": True})
            with suppress(Overtaken):
                await self._stores.batches.database.write(self._stores.batches.changing(batch, body, "", None))
                batch = await self._stores.batch(str(batch.parent), batch.id)
                break
            batch = await self._stores.batch(str(batch.parent), batch.id)
        after: Link | None = None
        while links := await self._stores.links_of(str(batch.parent), status=Status.IN_PROGRESS, after=after):
            for link in links:
                if link.batch == batch.id:
                    # One that has come to its end since stays as it is.
                    with suppress(Overtaken):
                        await self._stores.to_cancelled(link, self._ingestion.cancelling(link))
            after = links[-1]
        self._ingestion.wake()
        return batch

    async def detach(self, store: Record, file_id: str) -> None:
        """Remove the link to a file; raises NotFound."""
        for _ in range(_TRIES):
            link = await self._stores.link(link_id(store, file_id))
            if link is None:
                raise NotFound(file_id)
            removing = self._stores.links.removing_this(link.record)
            with suppress(Overtaken):
                await self._stores.links.database.write(removing, *self._ingestion.leaving(store, link))
                self._ingestion.wake()
                return
        raise Contended

    async def delete_store(self, gate: Gate, identity: str) -> Record:
        """Return the deleted store; raises NotFound, and AccessDenied where it may be read."""
        store = await self._stores.delete(gate, identity, self._ingestion.dropping)
        self._ingestion.wake()
        return store


def _is_missing(link: Link | None) -> bool:
    return link is None or link.status in _OVER
