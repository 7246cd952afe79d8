"""Ingestion: what is attached to vector stores is read, cut, embedded and indexed, in the background.

It is done as the caller who attached it, whom the policy is asked about again when each file starts: the route, the
store, the file and the model. One file of a caller is worked on at a time, and one that takes long makes room for those
of others. What a process leaves when it is killed is taken up by another, into a new part of the index, and the old
part is purged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from server.api.vector_stores.failures import Failure, failure_of
from server.api.vector_stores.file_places import Place, Places
from server.api.vector_stores.filling import Filled, Filling
from server.api.vector_stores.held import HeldLease
from server.api.vector_stores.links import Link, Status
from server.api.vector_stores.queue import IngestionQueue
from server.api.vector_stores.store import VectorStores
from server.api.vector_stores.work import MOST_TAKEN, Lease, has_waited
from server.authz.request_authorization import Gate
from server.background.ends import to_its_end
from server.background.pauses import about, until_woken
from server.background.tasks import BackgroundTasks, in_background
from server.extraction.pieces import Code, Unreadable
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.http.deferred import DeferredRequests, log_limit
from server.http.held_lease import LeaseLost
from server.quota.storage_limit import StorageExceeded
from server.storage.database.database import DatabaseUnavailable, Overtaken, Step
from server.storage.records.guarded import NotFound
from server.storage.records.record import Record
from server.storage.records.usage import OverLimit, kept_by, staying_within
from server.storage.records.waiting import Owner, asker_of, owner_of

POLL_SECONDS: Final = 5.0
"""Seconds between two looks for work that another process was given, about."""

MOST_COUNTED: Final = 10_000
"""Files that wait, as far as they are counted."""

_TRIES: Final = 5
_LATER_SECONDS: Final = 30
_SOON_SECONDS: Final = 2
_PAUSE: Final = 0.4

_log: Final = logging.getLogger("ostiary.vectors")


class Ingestion:
    """Ingests what waits in a queue; belongs to one event loop. `count` is told of each file that has ended.

    `waiting` is the number of files that were waiting when it last looked, up to `MOST_COUNTED`.
    """

    def __init__(
        self,
        stores: VectorStores,
        queue: IngestionQueue,
        filling: Filling,
        deferred: DeferredRequests,
        count: Callable[[str, int], None] = lambda _ending, _chunks: None,
    ) -> None:
        self._stores = stores
        self._queue = queue
        self._filling = filling
        self._deferred = deferred
        self._count = count
        self.waiting = 0
        self._tasks = BackgroundTasks()
        self._places = Places()
        self._after: Owner = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ingest for as long as the context lasts."""
        try:
            async with in_background("queue of ingestion", self._work_for_ever()):
                yield
        finally:
            await self._tasks.cancel()

    async def _work_for_ever(self) -> None:
        while True:
            self._queue.woken.clear()
            try:
                begun = await self._begin()
                if not begun:
                    self.waiting = await self._queue.work.rounds.waiting(MOST_COUNTED)
            except (DatabaseUnavailable, NoRoom) as fault:
                _log.warning("files that are attached to vector stores wait: %s", fault)
                begun = False
            if not begun:
                await until_woken(self._queue.woken, min(about(POLL_SECONDS), self._places.next_long))

    async def _begin(self) -> bool:
        """Begin with the next work, and return whether there is more to look for; false too where it waits for room."""
        queue, places = self._queue.work, self._places
        rounds = queue.rounds if places.take_long_ones else queue.short_rounds
        work = await rounds.next(self._after, places.owners)
        if work is None:
            return False
        before, owner = self._after, owner_of(work)
        self._after = owner
        store = await self._stores.find(work.facet)
        if store is None:
            # The store is being removed, and the work goes with its link.
            await queue.rounds.postpone(work, _LATER_SECONDS)
            return True
        if not self._filling.is_ready(store):
            await queue.rounds.postpone(work, _SOON_SECONDS)
            # Others may have files for another index, and this one may be about to open.
            asyncio.get_running_loop().call_later(_PAUSE, self._queue.woken.set)
            return False
        if places.are_taken:
            places.make_room()
            self._after = before
            return False
        lease = await queue.take(work, store)
        if lease is None:
            return False  # another process was faster
        place = places.take(owner, has_waited=has_waited(work))
        self._tasks.start("ingestion of a file", self._ingest(place, lease, store))
        return True

    async def _ingest(self, place: Place, lease: Lease, store: Record) -> None:
        place.task = asyncio.current_task()
        CURRENT.set(self._deferred.caller(*asker_of(lease.work)))
        held = HeldLease(self._queue.work, lease)
        try:
            await self._attempt(held, store)
        except asyncio.CancelledError:
            await to_its_end(self._give_back(held, makes_room=place.is_leaving))
            raise
        except LeaseLost:
            await self._write(*self._queue.work.losing(held.lease))
        except (DatabaseUnavailable, NoRoom) as fault:
            # What is left undone is taken up once the lease is over.
            _log.warning("the ingestion of a file stops: %s", fault)
        finally:
            self._places.leave(place)
            self._queue.wake()

    async def _attempt(self, held: HeldLease, store: Record) -> None:
        """Ingest a link once, and write down what has come of it; raises LeaseLost and DatabaseUnavailable."""
        link = await self._stores.link(held.lease.work.parent or "")
        if link is None or link.status is not Status.IN_PROGRESS:
            await self._write(*self._queue.work.failing(held.lease))
            return
        _, address = asker_of(held.lease.work)
        gate = self._deferred.gate(link.owner, "POST", _path(store, link), address=address)
        try:
            _check_tries(held.lease)
            async with held.renewed():
                filled = await self._filling.filled(gate, held.lease.part, store, link, held.begin)
            await self._complete(gate, held.lease, link, filled)
        except (LeaseLost, DatabaseUnavailable):
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, the caller reads of it, and others go on
            await log_limit(gate, fault)
            await self._end(held.lease, link, failure_of(fault, gate.request_id))

    async def _complete(self, gate: Gate, lease: Lease, link: Link, filled: Filled) -> None:
        """Note that the link is ingested; raises StorageExceeded where its owner may not keep so much."""
        limit = gate.storage_limit_of(link.owner)
        steps = [*self._queue.work.finishing(lease), *([] if limit is None else [staying_within(limit, link.owner)])]
        try:
            done = await self._changed(
                link, lambda now: self._stores.to_completed(now, lease.part, filled.chunks, filled.bytes, steps)
            )
        except OverLimit:
            assert limit is not None  # noqa: S101 - the step that raises it has the limit
            used = await kept_by(self._stores.links.database, link.owner)
            raise StorageExceeded(limit, used, of_bytes=limit.bytes is not None) from None
        if done:
            self._count(Status.COMPLETED, filled.chunks)
        else:
            await self._write(*self._queue.work.failing(lease))

    async def _end(self, lease: Lease, link: Link, failure: Failure) -> None:
        """Note that the attempt has failed, or that another one is made later."""
        pause = failure.pause(lease.tries)
        if pause is not None:
            _log.info("the ingestion of `%s` is tried again in %d s: %s", link.file_id, pause, failure.message)
            await self._write(*self._queue.work.pausing(lease, pause))
            return
        steps = self._queue.work.failing(lease)
        if await self._changed(
            link, lambda now: self._stores.to_failed(now, failure.code.value, failure.message, steps)
        ):
            self._count(Status.FAILED, 0)
        else:
            await self._write(*steps)

    async def _changed(self, link: Link, change: Callable[[Link], Awaitable[Link]]) -> bool:
        """Return whether the change of a link is made: not where it is gone, over, or another process's."""
        for _ in range(_TRIES):
            try:
                await change(link)
            except Overtaken:
                # The caller may have changed its attributes in the meantime.
                try:
                    link = await self._stores.refreshed(link)
                except NotFound:
                    return False
                if link.status is not Status.IN_PROGRESS:
                    return False
            else:
                return True
        return False

    async def _give_back(self, held: HeldLease, *, makes_room: bool) -> None:
        """Let the work be taken up again, by another process at once unless it takes long and `makes_room` for others.

        Neither a shutdown nor the room for others is an attempt.
        """
        lease = replace(held.lease, tries=held.lease.tries - 1)
        with suppress(DatabaseUnavailable, NoRoom):
            await self._write(*self._queue.work.pausing(lease, 0, takes_long=makes_room))

    async def _write(self, *steps: Step) -> None:
        """Run the steps, unless others have done so."""
        with suppress(Overtaken):
            await self._stores.links.database.write(*steps)


def _path(store: Record, link: Link) -> str:
    """Return the path of the request that attached the link."""
    return f"/v1/vector_stores/{store.id}/{'files' if link.batch is None else 'file_batches'}"


def _check_tries(lease: Lease) -> None:
    """Raise Unreadable for a link whose ingestion has ended the process too often."""
    if lease.tries > MOST_TAKEN:
        raise Unreadable(Code.SERVER_ERROR, "the server stopped again and again while it ingested the file")
